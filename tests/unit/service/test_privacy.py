"""Arguments in evidence as the catalog says, through the real doors: kept, digested, encrypted, revealed, erased."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from unit.service.in_process_plane import InProcessPlane, in_process_plane, question

from actors.placement import CONTROL_STORE
from controlplane.privacy.data_keys import EFFECTIVE_S, KEPT_S
from controlplane.service.management import privacy
from evidence import merkle
from evidence.query import query
from evidence.record import canonical_bytes, leaf_hash

BUNDLE = """
kind: Catalog
tools:
  crm.update:
    system: crm
    effects: [write]
    boundary: internal
    data: [pii]
    args:
      customer: {type: string, role: target}
      email: {type: email, role: destination}
      kind: {type: string, role: content}
      note: {type: string, role: content}
      people: {type: list, role: content}
    evidence:
      subject: customer:/customer
      arguments:
        /customer: digest
        /email: encrypt
        /kind: keep
        /people/*/name: {encrypt: actor}
systems: {crm: {}}
data: {pii: {}}
---
kind: Policy
name: p
rules:
  - {id: all, then: allow}
  - {id: large, on: {tool: crm.update}, when: args.kind == "large", then: escalate, approve: {by: [role:desk]}}
  - {id: clean, on: {tool: crm.update}, then: modify, modify: [{at: /note, redact: card-number}]}
"""
QUIET = BUNDLE + "---\nkind: Bundle\nname: quiet\nevidence: {keep: nothing}\n"
ARGUMENTS = {
    "customer": "c-17",
    "email": "anna@mail.example",
    "kind": "address",
    "note": "rang twice",
    "people": [{"name": "Otto Meier"}],
}


@pytest.fixture
def plane(tmp_path: Path) -> Iterator[InProcessPlane]:
    with in_process_plane(tmp_path) as running:
        running.activate(BUNDLE)
        running.register()
        yield running


def decide(plane: InProcessPlane, **changes: Any) -> str:
    answer = plane.ask("bot", "crm.update", arguments=ARGUMENTS | changes)
    assert answer.status == 200, answer
    return str(answer.json["context"]["id"])


def rows(plane: InProcessPlane) -> list[dict[str, Any]]:
    return [row for row in plane.decision_rows() if row["tool_name"] == "crm.update"]


def kept(plane: InProcessPlane) -> Any:
    return json.loads(rows(plane)[-1]["arguments"])


def events(plane: InProcessPlane, kind: str) -> list[dict[str, Any]]:
    plane.decision_rows()  # waits until all has landed
    sql = f"SELECT * FROM evidence WHERE event_type = '{kind}' ORDER BY log_id, seq"
    return query(str(plane.evidence), sql).to_pylist()


def reveal(plane: InProcessPlane, decision: str, **more: Any) -> Any:
    plane.decision_rows()
    return plane.send("POST", f"/v1/evidence/{decision}/reveal", {"reason": "complaint 4711"}, **more)


def erase(plane: InProcessPlane, subject: str = "customer:c-17", **more: Any) -> Any:
    return plane.send("POST", "/v1/evidence/erasures", {"subject": subject}, **more)


def test_a_row_keeps_each_argument_as_the_catalog_says(plane: InProcessPlane) -> None:
    decide(plane)
    found = kept(plane)
    assert found["kind"] == {"$keep": "address"}
    assert found["note"] == "string(10)"
    assert found["customer"]["is"] == "string(4)" and len(found["customer"]["$digest"]) == 64
    assert found["email"]["is"] == "string(17)" and found["email"]["$encrypt"].keys() == {
        "key",
        "nonce",
        "text",
    }
    text = rows(plane)[-1]["arguments"]
    assert "anna" not in text and "Otto" not in text and "c-17" not in text
    # Two subjects, two keys.
    assert found["people"][0]["name"]["$encrypt"]["key"] != found["email"]["$encrypt"]["key"]


def test_equal_subjects_share_a_key_and_equal_values_a_digest(plane: InProcessPlane) -> None:
    decide(plane)
    decide(plane, email="otto@mail.example")
    first, second = (json.loads(row["arguments"]) for row in rows(plane))
    assert first["customer"] == second["customer"]
    assert first["email"]["$encrypt"]["key"] == second["email"]["$encrypt"]["key"]
    assert first["email"]["$encrypt"]["text"] != second["email"]["$encrypt"]["text"]


def test_what_a_rule_rewrites_is_kept_as_rewritten(plane: InProcessPlane) -> None:
    decide(plane, note="card 4111 1111 1111 1111")
    (row,) = rows(plane)
    assert row["decision"] == "modify"
    assert "$encrypt" in json.loads(row["arguments"])["email"]
    assert "4111" not in row["arguments"]


def test_one_without_its_subject_is_masked(plane: InProcessPlane) -> None:
    answer = plane.ask("bot", "crm.update", arguments={"email": "anna@mail.example", "kind": "x"})
    assert answer.permits
    assert kept(plane) == {"email": "string(17)", "kind": {"$keep": "x"}}


def test_an_uncatalogued_tool_and_an_unlisted_argument_are_masked(plane: InProcessPlane) -> None:
    plane.ask("bot", "crm.other", arguments={"kind": "x", "email": "y"})
    assert json.loads(plane.decision_rows()[-1]["arguments"]) == {"kind": "string(1)", "email": "string(1)"}
    decide(plane, extra="z")
    assert kept(plane)["extra"] == "string(1)"


def test_while_keys_cannot_be_had_it_is_decided_and_masked(plane: InProcessPlane) -> None:
    plane.hold(CONTROL_STORE, "call")
    answer = plane.ask("bot", "crm.update", arguments=ARGUMENTS)
    plane.let_go(CONTROL_STORE, "call")
    assert answer.permits
    found = kept(plane)
    assert found["email"] == "string(17)" and found["people"] == [{"name": "string(10)"}]
    assert found["kind"] == {"$keep": "address"} and "$digest" in found["customer"]


def test_a_dry_run_makes_no_key(plane: InProcessPlane) -> None:
    asked = len(plane.actors.calls)
    plane.ask("bot", "crm.update", arguments=ARGUMENTS, dry_run=True)
    assert (CONTROL_STORE, "call") not in plane.actors.calls[asked:]


def test_a_batch_asks_once_for_all_its_keys(plane: InProcessPlane) -> None:
    asked = len(plane.actors.calls)
    items = [question("bot", "crm.update", arguments=ARGUMENTS | {"customer": f"c-{n}"}) for n in range(40)]
    answer = plane.send("POST", "/access/v1/evaluations", {"evaluations": items})
    assert all(one["decision"] for one in answer.json["evaluations"])
    assert plane.actors.calls[asked:].count((CONTROL_STORE, "call")) <= 2
    found = [json.loads(row["arguments"])["email"]["$encrypt"]["key"] for row in rows(plane)]
    assert len(set(found)) == 40


def test_a_bundle_can_have_evidence_keep_nothing_in_clear(plane: InProcessPlane) -> None:
    plane.activate(QUIET)
    decide(plane)
    found = kept(plane)
    assert found["kind"] == "string(7)"
    assert "$digest" in found["customer"] and "$encrypt" in found["email"]


def test_approvers_and_channels_see_what_they_saw_before(plane: InProcessPlane) -> None:
    answer = plane.ask("bot", "crm.update", arguments=ARGUMENTS | {"kind": "large"})
    asked = {"binding_token": answer.json["context"]["access_request"]["binding_token"]}
    task = plane.send("POST", "/v1/approvals", asked)
    assert task.json["masked_arguments"]["kind"] == "string(5)"
    assert task.json["masked_arguments"]["email"] == "string(17)"
    (row,) = events(plane, "approval_requested")
    assert "$" not in row["arguments"] and "large" not in row["arguments"]


def test_names_inside_what_is_encrypted_are_in_no_row_and_on_no_screen(plane: InProcessPlane) -> None:
    arguments = ARGUMENTS | {"kind": "large", "email": {"anna@mail.example": ["a", "b"]}}
    answer = plane.ask("bot", "crm.update", arguments=arguments)
    asked = {
        "binding_token": answer.json["context"]["access_request"]["binding_token"],
        "arguments": arguments,
    }
    task = plane.send("POST", "/v1/approvals", asked)
    assert task.json["masked_arguments"]["email"] == "object(1)"
    _, desk = plane.make_key(role="approver", subjects=["user:anna"])
    principal = {"type": "user", "id": "anna", "roles": ["desk"]}
    assert plane.send("POST", "/v1/principals", principal).status in (200, 201)
    plane.renew_leases()
    body = {"narrow": {"/email/anna@mail.example": ["a"]}}
    narrowed = plane.send("POST", f"/v1/approvals/{task.json['id']}/approve", body, key=desk)
    assert narrowed.status == 200, narrowed
    assert narrowed.json["masked_arguments"]["email"] == "object(1)"
    for row in [*rows(plane), *events(plane, "approval_requested"), *events(plane, "approval_granted")]:
        assert "anna" not in row["arguments"]


def test_revealing_shows_the_values_and_leaves_its_event_first(plane: InProcessPlane) -> None:
    decision = decide(plane)
    shown = reveal(plane, decision)
    assert shown.status == 200, shown
    assert shown.json == {
        "decision": decision,
        "arguments": {"/email": "anna@mail.example", "/people/0/name": "Otto Meier"},
        "unreadable": [],
    }
    (event,) = events(plane, "arguments_revealed")
    details = json.loads(event["details"])
    assert details["decision"] == decision and details["reason"] == "complaint 4711"
    assert details["revealed"] == ["/email", "/people/0/name"] and details["by"]
    assert event["agent_id"] == "bot" and event["tool_name"] == "crm.update"
    assert "anna" not in json.dumps(details)


def test_who_may_reveal_and_erase(plane: InProcessPlane) -> None:
    decision = decide(plane)
    _, auditor = plane.make_key(role="auditor")
    _, agent = plane.make_key(role="agent", agents=["bot"])
    assert reveal(plane, decision, key=auditor).status == 200
    assert erase(plane, key=auditor).status == 403
    assert reveal(plane, decision, key=agent).status == 403
    assert erase(plane, key=agent).status == 403
    assert len(events(plane, "arguments_revealed")) == 1
    assert plane.send("POST", f"/v1/evidence/{decision}/reveal", {}).status == 400
    assert plane.send("POST", f"/v1/evidence/{decision}/reveal", {"reason": " "}).status == 400


def test_what_is_not_encrypted_or_not_there_is_not_revealed(plane: InProcessPlane) -> None:
    plain = plane.ask("bot", "crm.update", arguments={"kind": "x"}).json["context"]["id"]
    assert reveal(plane, plain).code == "nothing_encrypted"
    for unknown in ("01a20461-44aa-761c-8000-029521cbf8a7", "nonsense"):
        assert reveal(plane, unknown).status == 404
    assert events(plane, "arguments_revealed") == []


def test_nothing_is_shown_where_the_event_cannot_be_written(plane: InProcessPlane) -> None:
    decision = decide(plane)
    plane.decision_rows()
    assert plane.store._control is not None

    def fails(**_: Any) -> None:
        raise OSError("disk full")

    plane.store._control.data_keys.record_reveal = fails  # type: ignore[method-assign]
    shown = reveal(plane, decision)
    assert shown.status == 503 and b"anna" not in shown.body


def test_a_ciphertext_of_another_row_of_the_same_agent_and_tool_is_not_shown(
    plane: InProcessPlane, monkeypatch: pytest.MonkeyPatch
) -> None:
    decide(plane)
    decision = decide(plane, email="otto@mail.example")
    first, second = rows(plane)
    columns = privacy.find_event(str(plane.evidence), decision, privacy._COLUMNS)
    assert columns is not None and columns["arguments"] == second["arguments"]
    moved = columns | {"arguments": first["arguments"]}
    monkeypatch.setattr(privacy, "find_event", lambda *_: moved)
    shown = reveal(plane, decision)
    assert shown.json["arguments"] == {} and b"anna" not in shown.body
    assert {one["because"] for one in shown.json["unreadable"]} == {
        "it was altered, or moved from another row"
    }


def test_an_erased_subject_opens_for_nobody_and_every_leaf_stays(plane: InProcessPlane) -> None:
    decision = decide(plane)
    plane.decision_rows()
    before = query(str(plane.evidence), "SELECT * FROM evidence ORDER BY log_id, seq").to_pylist()
    erased = erase(plane)
    assert erased.status == 200, erased
    assert erased.json["erased"] is True and erased.json["gone"] is True
    assert erased.json["effective_within_s"] == EFFECTIVE_S and len(erased.json["not_reached"]) == 3
    shown = reveal(plane, decision)
    assert shown.json["arguments"] == {"/people/0/name": "Otto Meier"}
    assert shown.json["unreadable"] == [{"pointer": "/email", "because": "its key was destroyed"}]
    # INVARIANT (proofs): the rows that were there are byte for byte what they were, and so are their leaves.
    after = query(str(plane.evidence), "SELECT * FROM evidence ORDER BY log_id, seq").to_pylist()
    positions = {(row["log_id"], row["seq"]): row for row in after}
    for row in before:
        now = positions[row["log_id"], row["seq"]]
        assert now == row and recomputed(now) == row["leaf_hash"]
    # A proof of the encrypted decision, made before, holds against a leaf that is recomputed after.
    (told,) = [row for row in before if row["event_id"] == decision]
    log = [row["leaf_hash"] for row in before if row["log_id"] == told["log_id"]]
    proof = merkle.inclusion_proof(log, told["seq"])
    leaf = recomputed(positions[told["log_id"], told["seq"]])
    merkle.verify_inclusion(index=told["seq"], size=len(log), leaf=leaf, proof=proof, root=merkle.root(log))
    grown = [recomputed(row) for row in after if row["log_id"] == told["log_id"]]
    merkle.verify_consistency(
        size1=len(log),
        size2=len(grown),
        root1=merkle.root(log),
        root2=merkle.root(grown),
        proof=merkle.consistency_proof(grown, len(log)),
    )


def recomputed(row: dict[str, Any]) -> bytes:
    """A row's leaf, from its columns alone."""
    covered = {
        name: value
        for name, value in row.items()
        if value is not None and name not in ("ingest_time", "leaf_hash", "event_date")
    }
    covered["event_time"] = int(row["event_time"].timestamp() * 1_000_000 + 0.5)
    return leaf_hash(canonical_bytes(covered))  # type: ignore[arg-type]


def test_an_erasure_names_nobody_and_is_told_once(plane: InProcessPlane) -> None:
    decide(plane)
    first, second = erase(plane), erase(plane)
    assert [first.json["erased"], second.json["erased"]] == [True, False]
    (event,) = events(plane, "subject_erased")
    assert "c-17" not in json.dumps(event, default=str)
    assert json.loads(event["details"])["subject"] == first.json["subject_digest"]
    assert json.loads(event["details"])["reason"] == "erasure_request"
    assert plane.send("POST", "/v1/evidence/erasures", {"subject": "nobody"}).status == 400
    bad = {"subject": "customer:c-17", "reason": "Anna wants it"}
    assert plane.send("POST", "/v1/evidence/erasures", bad).status == 400


def test_after_an_erasure_the_subject_gets_another_key(plane: InProcessPlane) -> None:
    first = decide(plane)
    erase(plane)
    second = decide(plane)
    keys = [json.loads(row["arguments"])["email"]["$encrypt"]["key"] for row in rows(plane)]
    assert keys[0] != keys[1]
    assert "/email" not in reveal(plane, first).json["arguments"]
    assert reveal(plane, second).json["arguments"]["/email"] == "anna@mail.example"


def test_another_replica_uses_an_erased_key_no_longer_than_it_may(plane: InProcessPlane) -> None:
    other = plane.do(plane.new_replica)
    body = question("bot", "crm.update", arguments=ARGUMENTS)

    def ask_other() -> str:
        plane.run(other._fleet.refresh())
        answer = plane.send("POST", "/access/v1/evaluation", body, application=other)
        assert answer.permits, answer
        return str(answer.json["context"]["id"])

    ask_other()
    erase(plane)
    stale = ask_other()
    plane.clocks.pass_s(KEPT_S + 1)
    plane.renew_leases()
    fresh = ask_other()
    assert "/email" not in reveal(plane, stale).json["arguments"]
    assert reveal(plane, fresh).json["arguments"]["/email"] == "anna@mail.example"


def test_a_ciphertext_that_was_moved_to_another_row_does_not_open(
    plane: InProcessPlane, monkeypatch: pytest.MonkeyPatch
) -> None:
    from controlplane.service.management import privacy

    decision = decide(plane)
    original = privacy.find_event

    def of_another_agent(*arguments: Any) -> Any:
        row = original(*arguments)
        assert row is not None
        return row | {"agent_id": "other"}

    monkeypatch.setattr(privacy, "find_event", of_another_agent)
    shown = reveal(plane, decision)
    assert shown.json["arguments"] == {} and "altered" in shown.json["unreadable"][0]["because"]
    assert events(plane, "arguments_revealed") == []


def test_keys_survive_a_restart_of_the_store(plane: InProcessPlane) -> None:
    decision = decide(plane)
    plane.decision_rows()
    plane.restart_store()
    plane.renew_leases()
    assert reveal(plane, decision).json["arguments"]["/email"] == "anna@mail.example"
