"""One governed action through the real thing: HTTP, replica, owner, journal, table."""

from __future__ import annotations

import subprocess
import time

import httpx
import pytest
from integration.plane import Running, decode, wait_until

from evidence.commit_metadata import LogEntry
from evidence.delta.reading import open_dataset
from evidence.durability import log_file
from evidence.note import PublicKey, parse_notes

pytestmark = pytest.mark.ray


def ask(
    running: Running, key: str, agent: str, tool: str = "ledger.pay", **context: object
) -> httpx.Response:
    body = {
        "subject": {"type": "agent", "id": agent},
        "action": {"name": "call"},
        "resource": {"type": "tool", "id": tool},
        "context": context,
    }
    with running.http(key) as http:
        return http.post("/access/v1/evaluation", json=body, headers={"X-Request-ID": "req-1"})


def test_an_allowed_action_is_answered_landed_and_shown(running: Running, bot: tuple[str, str]) -> None:
    agent, key = bot
    client = running.client(key)
    allowed = client.decide(agent=agent, tool="ledger.pay", arguments={"to": "DE89", "amount": 12.5})
    assert allowed.allowed and allowed.effect == "allow"
    client.outcome(allowed.id, "succeeded", result={"receipt": 7})
    denied = client.decide(agent=agent, tool="ledger.pay", arguments={"to": "DE89", "amount": 2000})
    assert not denied.allowed
    running.wait_until_landed()
    rows = running.table_rows(
        f"SELECT event_type, decision, rule_ids, controls, outcome, arguments FROM evidence"
        f" WHERE agent_id = '{agent}' ORDER BY log_id, seq"
    )
    assert [(r["event_type"], r["decision"], r["outcome"]) for r in rows] == [
        ("agent_registered", None, None),
        ("decision", "allow", None),
        ("outcome", None, "succeeded"),
        ("decision", "deny", None),
    ]
    assert rows[3]["rule_ids"] == ["spine/too-much"] and rows[3]["controls"] == ["sox/itgc"]
    assert "DE89" not in str(rows)
    shown = client.request("GET", f"/v1/decisions/{allowed.id}")
    assert shown["decision"] is True and shown["outcome"]["status"] == "succeeded"


def test_what_landed_is_signed_by_the_deployments_key(running: Running, bot: tuple[str, str]) -> None:
    agent, key = bot
    assert not decode(ask(running, key, agent, arguments={"to": "a", "amount": 5000}))["decision"]
    running.wait_until_landed()
    settings = running.settings
    vkey = PublicKey.parse((settings.evidence_table.parent / "keys.vkey").read_text())
    evidence = running.client().request("GET", "/v1/status")["evidence"]
    assert (evidence["evidence_name"], evidence["key_id"]) == (vkey.name, vkey.id.hex())
    newest = log_file(settings.evidence_table, evidence["checkpoint_version"])
    found = LogEntry.parse(newest.read_bytes())
    assert found.evidence is not None and found.evidence.checkpoints
    assert all(note.signed_by(vkey.named(note.origin)) for note in found.evidence.checkpoints)
    kept = list((settings.evidence_table.parent / "checkpoint-files").glob(f"*/*/{newest.stem}.notes"))
    assert [parse_notes(path.read_text()) for path in kept] == [list(found.evidence.notes)]

    def recorded() -> bool:
        rows = open_dataset(str(settings.evidence_table.with_name("checkpoints"))).to_table().to_pylist()
        return set(map(str, found.evidence.notes)) <= {row["note"] for row in rows}  # type: ignore[union-attr]

    wait_until(recorded, timeout_s=10, what="the checkpoints to be recorded")


def test_the_answer_echoes_the_request_id_and_names_the_bundle(
    running: Running, bot: tuple[str, str]
) -> None:
    agent, key = bot
    response = ask(running, key, agent, arguments={"to": "a", "amount": 1})
    assert response.headers["x-request-id"] == "req-1"
    context = decode(response)["context"]
    active = running.client().request("GET", "/v1/bundles")["active"]
    assert context["bundle"] == active
    assert context["session"].startswith("ses_")


def test_a_second_outcome_and_an_outcome_of_a_deny_are_conflicts(
    running: Running, bot: tuple[str, str]
) -> None:
    agent, key = bot
    allowed = decode(ask(running, key, agent, arguments={"to": "a", "amount": 1}))["context"]["id"]
    denied = decode(ask(running, key, agent, arguments={"to": "a", "amount": 5000}))["context"]["id"]
    with running.http(key) as http:
        assert http.post(f"/v1/decisions/{allowed}/outcome", json={"status": "failed"}).status_code == 200
        again = http.post(f"/v1/decisions/{allowed}/outcome", json={"status": "failed"})
        assert (again.status_code, decode(again)["error"]["code"]) == (409, "outcome_already_reported")
        never = http.post(f"/v1/decisions/{denied}/outcome", json={"status": "succeeded"})
        assert (never.status_code, decode(never)["error"]["code"]) == (409, "not_permitted")


def test_an_idempotency_key_gives_the_same_decision_once_and_refuses_other_arguments(
    running: Running, bot: tuple[str, str]
) -> None:
    agent, key = bot
    first = decode(ask(running, key, agent, arguments={"to": "a", "amount": 1}, idempotency_key="k1"))[
        "context"
    ]
    second = decode(ask(running, key, agent, arguments={"to": "a", "amount": 1}, idempotency_key="k1"))[
        "context"
    ]
    assert second["id"] == first["id"] and second["replayed"] is True
    other = ask(running, key, agent, arguments={"to": "a", "amount": 2}, idempotency_key="k1")
    assert (other.status_code, decode(other)["error"]["code"]) == (409, "idempotency_conflict")
    with running.http(key) as http:
        http.post(f"/v1/decisions/{first['id']}/outcome", json={"status": "succeeded"})
    spent = decode(ask(running, key, agent, arguments={"to": "a", "amount": 1}, idempotency_key="k1"))
    assert spent["decision"] is False and spent["context"]["reason_code"] == "idempotency_key_spent"


def test_a_dry_run_never_permits_and_leaves_no_row(running: Running, bot: tuple[str, str]) -> None:
    agent, key = bot
    answer = decode(ask(running, key, agent, arguments={"to": "a", "amount": 1}, dry_run=True))
    assert answer["decision"] is False
    assert answer["context"]["dry_run"] is True and answer["context"]["effect"] == "allow"
    running.wait_until_landed()
    assert running.table_rows(
        f"SELECT count(*) AS n FROM evidence WHERE agent_id = '{agent}' AND event_type = 'decision'"
    ) == [{"n": 0}]


def test_batches_follow_all_three_semantics(running: Running, bot: tuple[str, str]) -> None:
    agent, key = bot

    def item(amount: int) -> dict[str, object]:
        return {"context": {"arguments": {"to": "a", "amount": amount}}}

    def decisions(semantic: str, amounts: list[int]) -> list[bool]:
        body = {
            "subject": {"type": "agent", "id": agent},
            "action": {"name": "call"},
            "resource": {"type": "tool", "id": "ledger.pay"},
            "evaluations": [item(amount) for amount in amounts],
            "options": {"evaluations_semantic": semantic},
        }
        with running.http(key) as http:
            found = decode(http.post("/access/v1/evaluations", json=body))["evaluations"]
        return [each["decision"] for each in found]

    assert decisions("execute_all", [1, 5000, 2]) == [True, False, True]
    assert decisions("deny_on_first_deny", [1, 5000, 2]) == [True, False]
    assert decisions("permit_on_first_permit", [5000, 6000, 2, 3]) == [False, False, True]
    running.wait_until_landed()
    # What a short circuit cut off was neither evaluated nor recorded.
    assert running.table_rows(
        f"SELECT count(*) AS n FROM evidence WHERE agent_id = '{agent}' AND event_type = 'decision'"
    ) == [{"n": 3 + 2 + 3}]


def test_sessions_are_opened_used_and_ended_by_a_gateway(running: Running, bot: tuple[str, str]) -> None:
    agent, key = bot
    gateway = running.client().request(
        "POST", "/v1/keys", {"role": "gateway", "agents": ["bot-*"], "grants": ["workflows", "witness"]}
    )["key"]
    client = running.client(gateway)
    session = client.open_session(agent, task="pay the March invoices")
    allowed = client.decide(
        agent=agent, tool="ledger.pay", arguments={"to": "a", "amount": 1}, session=session
    )
    assert allowed.allowed
    with running.http(key) as http:
        refused = http.post(f"/v1/sessions/{session}/end", json={})
        assert refused.status_code == 403
    client.end_session(session)
    after = client.decide(agent=agent, tool="ledger.pay", arguments={"to": "a", "amount": 1}, session=session)
    assert not after.allowed and after.reason_code == "session_ended"


@pytest.mark.parametrize(
    ("session", "code"),
    [("ses_" + "A" * 43, "unknown_session"), ("nonsense", "unknown_session")],
)
def test_a_forged_session_is_denied(running: Running, bot: tuple[str, str], session: str, code: str) -> None:
    agent, key = bot
    answer = decode(ask(running, key, agent, arguments={"to": "a", "amount": 1}, session=session))
    assert answer["decision"] is False and answer["context"]["reason_code"] == code


def test_a_dedicated_agent_has_an_owner_of_its_own_and_cannot_move(running: Running) -> None:
    client = running.client()
    made = client.request("POST", "/v1/agents", {"id": "loner", "isolation": "dedicated"})
    assert made["lives_with"].startswith("agent-")
    wait_until(
        lambda: client.decide(agent="loner", tool="ledger.pay", arguments={"to": "a", "amount": 1}).allowed,
        timeout_s=10,
        what="the dedicated owner to decide",
    )
    with running.http() as http:
        moved = http.post("/v1/agents", json={"id": "loner", "isolation": "hosted"})
        assert (moved.status_code, decode(moved)["error"]["code"]) == (409, "isolation_fixed")
    running.wait_until_landed()
    logs = running.table_rows("SELECT DISTINCT log_id FROM evidence WHERE agent_id = 'loner'")
    assert any(row["log_id"].startswith("agent-") for row in logs)


def test_an_agents_graph_shows_what_it_declared_and_what_it_did(
    running: Running, bot: tuple[str, str]
) -> None:
    agent, key = bot
    running.client(key).decide(agent=agent, tool="ledger.pay", arguments={"to": "a", "amount": 1})
    shown = running.client().request("GET", f"/v1/agents/{agent}")
    calls = {
        edge["to"][1]: (edge["declared"], edge["observed"])
        for edge in shown["graph"]["edges"]
        if edge["key"] == "can_call"
    }
    assert calls == {"ledger.read": (True, False), "ledger.pay": (False, True)}


@pytest.mark.parametrize(
    ("header", "status"),
    [(None, 401), ("Bearer nonsense", 401), ("Bearer cp_aaaa_bbbb", 401), ("Basic eDp5", 401)],
)
def test_without_a_good_key_nothing_is_answered(running: Running, header: str | None, status: int) -> None:
    headers = {} if header is None else {"Authorization": header}
    response = httpx.post(f"{running.url}/access/v1/evaluation", json={}, headers=headers, trust_env=False)
    assert response.status_code == status


def test_a_key_speaks_only_for_its_agent_and_opens_only_its_doors(
    running: Running, bot: tuple[str, str]
) -> None:
    agent, key = bot
    running.client().request("POST", "/v1/agents", {"id": "somebody-else"})
    foreign = ask(running, key, "somebody-else", arguments={"to": "a", "amount": 1})
    assert (foreign.status_code, decode(foreign)["error"]["code"]) == (403, "foreign_subject")
    with running.http(key) as http:
        for method, path in (("POST", "/v1/keys"), ("GET", "/v1/status"), ("POST", "/v1/bundles")):
            refused = http.request(method, path, json={} if method == "POST" else None)
            assert (refused.status_code, decode(refused)["error"]["code"]) == (403, "role_not_permitted"), (
                path
            )
    allowed = decode(ask(running, key, agent, arguments={"to": "a", "amount": 1}))["context"]["id"]
    stranger = running.client().request("POST", "/v1/keys", {"role": "agent", "agents": ["somebody-else"]})[
        "key"
    ]
    with running.http(stranger) as http:
        assert http.get(f"/v1/decisions/{allowed}").status_code == 404
        assert http.post(f"/v1/decisions/{allowed}/outcome", json={"status": "succeeded"}).status_code == 404


def test_a_revoked_key_is_refused_within_its_lease(running: Running) -> None:
    client = running.client()
    made = client.request("POST", "/v1/keys", {"role": "auditor"})
    with running.http(made["key"]) as http:
        assert http.get("/v1/keys").status_code == 200
        client.request("DELETE", f"/v1/keys/{made['id']}")
        wait_until(
            lambda: http.get("/v1/keys").status_code == 401, timeout_s=2.5, what="the key to be refused"
        )


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b"", 400),
        (b"{", 400),
        (b"[]", 400),
        (b'{"subject":1}', 400),
        (b'{"a":1,"a":2}', 400),
        (b'{"a":NaN}', 400),
        (b'{"a":9007199254740993}', 400),
        (b'{"a":"\\u0000"}', 400),
        (b"[" * 5000, 400),
        (b'{"a":"' + b"x" * (1 << 20) + b'"}', 413),
    ],
)
def test_bad_input_is_a_clear_4xx(running: Running, body: bytes, status: int) -> None:
    with running.http() as http:
        response = http.post("/access/v1/evaluation", content=body)
    assert response.status_code == status, response.text
    assert decode(response)["error"]["message"]


def test_an_unknown_agent_and_an_unknown_tool_are_denied_with_evidence(
    running: Running, bot: tuple[str, str]
) -> None:
    agent, key = bot
    nobody = decode(ask(running, running.key, "nobody-registered-me", arguments={"to": "a", "amount": 1}))
    assert (nobody["decision"], nobody["context"]["reason_code"]) == (False, "unknown_agent")
    unknown = decode(ask(running, key, agent, tool="ledger.erase", arguments={}))
    assert (unknown["decision"], unknown["context"]["reason_code"]) == (False, "uncatalogued_resource")
    unlisted = decode(ask(running, key, agent, arguments={"to": "a", "amount": 1, "sudo": True}))
    assert (unlisted["decision"], unlisted["context"]["reason_code"]) == (False, "unlisted_argument")
    running.wait_until_landed()
    rows = running.table_rows("SELECT reason_code FROM evidence WHERE agent_id = 'nobody-registered-me'")
    assert rows == [{"reason_code": "unknown_agent"}]


def test_a_bundle_with_a_type_error_is_refused_with_its_place(running: Running) -> None:
    text = "kind: Policy\nname: p\nrules:\n  - id: r\n    when: 1 + true\n    then: deny\n"
    with running.http() as http:
        response = http.post("/v1/bundles", json={"sources": [{"name": "bad.yaml", "text": text}]})
    error = decode(response)["error"]
    assert response.status_code == 400 and error["code"] == "invalid_bundle"
    assert error["errors"][0]["file"] == "bad.yaml" and error["errors"][0]["line"] == 5


def test_the_decision_endpoint_listens_on_loopback_only(running: Running) -> None:
    listening = subprocess.run(["ss", "-ltnH"], capture_output=True, text=True, check=True).stdout
    own = [
        line.split()[3]
        for line in listening.splitlines()
        if line.split()[3].endswith(f":{running.settings.port}")
    ]
    assert own == [f"127.0.0.1:{running.settings.port}"]


def test_the_metadata_names_the_endpoints(running: Running) -> None:
    found = httpx.get(f"{running.url}/.well-known/authzen-configuration", trust_env=False).json()
    assert found["access_evaluation_endpoint"] == f"{running.url}/access/v1/evaluation"
    assert httpx.get(f"{running.url}/healthz", trust_env=False).json() == {"status": "alive"}
    assert httpx.get(f"{running.url}/readyz", trust_env=False).json()["status"] == "ready"


def test_evidence_lands_within_the_landing_interval(running: Running, bot: tuple[str, str]) -> None:
    agent, key = bot
    asked_s = time.monotonic()
    ask(running, key, agent, arguments={"to": "a", "amount": 1})
    running.wait_until_landed(timeout_s=10)
    assert running.table_rows(f"SELECT count(*) AS n FROM evidence WHERE agent_id = '{agent}'")[0]["n"] == 2
    assert asked_s < time.monotonic()
