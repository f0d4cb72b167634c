"""A table that takes no evidence: owners decide up to their bound, then not at all, and go on by themselves."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from integration.plane import Running, brought_up, controlplane, decode, wait_until

from actors.ids import agent_key
from actors.placement import host_of
from controlplane.limits import Limits
from controlplane.settings import Settings

pytestmark = pytest.mark.ray

BOUND = 200
ITEMS = 25


@pytest.fixture
def bounded(tmp_path: Path) -> Iterator[Running]:
    """A control plane of its own, whose journals hold few rows."""
    data = tmp_path / "cp"
    Limits(evidence_backlog=BOUND).write(Settings.create_or_open(data, hosts=2).limits)
    with brought_up(data, hosts=2) as plane:
        yield plane


def agent_of(host: int) -> str:
    return next(
        name for n in range(100) if host_of(agent_key("default", "agent", name := f"bot-{n}"), 2) == host
    )


def ask(http: httpx.Client, agent: str, items: int = 1) -> httpx.Response:
    body: dict[str, object] = {
        "subject": {"type": "agent", "id": agent},
        "action": {"name": "call"},
        "resource": {"type": "tool", "id": "ledger.pay"},
        "context": {"arguments": {"to": "a", "amount": 1}},
    }
    if items > 1:
        return http.post("/access/v1/evaluations", json=body | {"evaluations": [{}] * items})
    return http.post("/access/v1/evaluation", json=body)


def fill(http: httpx.Client, agent: str) -> list[str]:
    """Ask until the owner refuses. Returns: the ids of what it decided."""
    decided: list[str] = []
    for _ in range(10 * BOUND // ITEMS):
        answers = decode(ask(http, agent, ITEMS))["evaluations"]
        ids = [answer["context"]["id"] for answer in answers if answer["decision"]]
        decided += ids
        if not ids:
            errors = {(a["context"]["error"]["status"], a["context"]["error"]["code"]) for a in answers}
            assert errors == {(503, "evidence_backlog")}
            return decided
    raise AssertionError(f"{len(decided)} decisions, and it goes on")


def wait_until_ready_says(plane: Running, hosts: dict[str, str]) -> None:
    """The service stays where it is (200), so that an operator can ask it; what it says may be half a second old."""

    def it_does() -> bool:
        ready = httpx.get(f"{plane.url}/readyz", trust_env=False)
        assert (ready.status_code, ready.json()["status"] != "starting") == (200, True)
        return bool(ready.json()["hosts"] == hosts)

    wait_until(it_does, timeout_s=5, what=f"/readyz to say {hosts}")


def test_owners_stop_at_their_bound_and_go_on_once_evidence_lands(bounded: Running) -> None:
    first, second = agent_of(0), agent_of(1)
    client = bounded.client()
    for agent in (first, second):
        client.request("POST", "/v1/agents", {"id": agent})
    session = client.open_session(first, task="pay")
    bounded.wait_until_landed()
    table, aside = bounded.settings.evidence_table, bounded.settings.data / "aside"
    table.rename(aside)
    table.write_text("no folder")
    with bounded.http() as http:
        decided = fill(http, first)
        assert BOUND - ITEMS < len(decided) < BOUND + ITEMS

        refused = ask(http, first)
        assert (refused.status_code, decode(refused)["error"]["code"]) == (503, "evidence_backlog")
        assert "`controlplane status`" in decode(refused)["error"]["message"]
        assert int(refused.headers["retry-after"]) >= 1
        for path, body in (
            ("/v1/sessions", {"agent": first}),
            (f"/v1/sessions/{session}/task", {"task": "more"}),
            (f"/v1/sessions/{session}/end", {}),
            (f"/v1/decisions/{decided[0]}/outcome", {"status": "succeeded"}),
        ):
            refused = http.post(path, json=body)
            assert (refused.status_code, decode(refused)["error"]["code"]) == (503, "evidence_backlog"), path

        # The other host has room, and its agents notice nothing.
        allowed = decode(ask(http, second))
        assert allowed["decision"] is True
        wait_until_ready_says(bounded, {"host-000": "evidence_backlog", "host-001": "ready"})
        status = decode(http.get("/v1/status"))
        full = status["hosts"][0]
        assert (full["ready"], full["reason"], full["evidence_backlog"]) == (False, "evidence_backlog", BOUND)
        assert full["pending_rows"] == len(decided) >= BOUND
        wait_until(
            lambda: bool(decode(http.get("/v1/status"))["evidence"]["trouble"]["table"]),
            timeout_s=10,
            what="the evidence writer to say what is in its way",
        )
        wait_until(
            lambda: (
                'controlplane_alarm{code="evidence_landing_failed",about=""} 1' in http.get("/metrics").text
            ),
            timeout_s=20,
            what="the alarm",
        )
        shown = controlplane("status", data=bounded.settings.data, check=False)
        (line,) = [line for line in shown.stdout.splitlines() if line.startswith("host-000")]
        assert shown.returncode == 1 and "evidence_backlog" in line and str(BOUND) in line
        assert "alarms: evidence_landing_failed" in shown.stdout.splitlines()[0]
        assert "alarm evidence_landing_failed since" in shown.stdout
        other = controlplane("up", "--evidence-backlog", "500", data=bounded.settings.data, check=False)
        assert other.returncode == 1 and f"a backlog of {BOUND} rows" in other.stderr

        # With all of them full nothing is decided, and an operator is still answered.
        decided += [allowed["context"]["id"], *fill(http, second)]
        wait_until_ready_says(bounded, {"host-000": "evidence_backlog", "host-001": "evidence_backlog"})
        assert client.request(
            "DELETE", f"/v1/keys/{client.request('POST', '/v1/keys', {'role': 'auditor'})['id']}"
        )

        table.unlink()
        aside.rename(table)
        for agent in (first, second):
            wait_until(
                lambda agent=agent: bool(
                    (answer := decode(ask(http, agent))).get("decision")
                    and decided.append(answer["context"]["id"]) is None
                ),
                timeout_s=30,
                what=f"`{agent}` to be decided for again",
            )
        assert http.post(f"/v1/sessions/{session}/end", json={}).status_code == 200
    bounded.wait_until_landed()
    rows = bounded.table_rows("SELECT event_id FROM evidence WHERE event_type = 'decision'")
    assert sorted(row["event_id"] for row in rows) == sorted(decided)
    told = bounded.table_rows("SELECT details FROM evidence WHERE reason_code = 'evidence_landing_failed'")
    assert [json.loads(row["details"])["alarm"] for row in told][:1] == ["began"]
