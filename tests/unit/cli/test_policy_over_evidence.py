"""`controlplane policy simulate` over what a control plane recorded."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from typer.testing import Result
from unit.service.in_process_plane import InProcessPlane, in_process_plane

Run = Callable[..., Result]

POLICY = """\
kind: Catalog
tools:
  crm.read: {system: crm, effects: [read], data: [pii], boundary: internal, args: {id: {type: string}}}
  mail.send:
    {system: mail, effects: [send], data: [], boundary: external, args: {to: {type: email}, size: {type: integer}}}
  pay.send: {effects: [pay], data: [], boundary: external, args: {amount: {type: decimal}}}
---
kind: Policy
name: desk
define:
  reads: {on: {data: pii}}
rules:
  - {id: all, on: {}, then: allow}
  - {id: large, on: {tool: pay.send}, when: args.amount > 100, then: deny, because: too much}
  - {id: cap, on: {tool: pay.send}, limit: {sum: args.amount, per: 24h, above: 150}, then: escalate}
"""
NO_PII_OUT = '  - {id: no-pii-out, on: {effect: send}, past: "once[24h] reads", then: deny}\n'


@dataclass
class Recorded:
    """A table, and the decisions in it by what was asked."""

    table: Path
    decisions: dict[str, str]


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Recorded]:
    decisions: dict[str, str] = {}
    with in_process_plane(tmp_path_factory.mktemp("plane")) as plane:
        plane.activate(POLICY)
        plane.register("desk-1", labels=["prod"])
        plane.register("desk-2")
        plane.register("desk-3")
        first, second = (open_session(plane, f"desk-{number}") for number in (1, 2))

        def ask(name: str, agent: str, session: str | None, tool: str, **arguments: Any) -> str:
            body = {
                "subject": {"type": "agent", "id": agent},
                "action": {"name": "call"},
                "resource": {"type": "tool", "id": tool},
                "context": {"arguments": arguments, **({"session": session} if session else {})},
            }
            answer = plane.send("POST", "/access/v1/evaluation", body).json
            decisions[name] = answer["context"]["id"]
            return str(answer["context"]["effect"])

        assert ask("mail before", "desk-1", first, "mail.send", to="a@b.example", size=3) == "allow"
        assert ask("read", "desk-1", first, "crm.read", id="7") == "allow"
        plane.send("POST", f"/v1/decisions/{decisions['read']}/outcome", {"status": "succeeded"})
        assert ask("mail after", "desk-1", first, "mail.send", to="a@b.example", size=9) == "allow"
        assert ask("other's mail", "desk-2", second, "mail.send", to="a@b.example", size=3) == "allow"
        assert ask("small", "desk-2", second, "pay.send", amount=90) == "allow"
        assert ask("large", "desk-2", second, "pay.send", amount=120) == "deny"
        assert ask("capped", "desk-2", second, "pay.send", amount="61") == "escalate"
        assert ask("unlisted", "desk-2", second, "pay.send", amount=1, note="x") == "deny"
        assert ask("no session", "desk-2", "ses_forged", "crm.read") == "deny"
        delegated = plane.send("POST", "/v1/delegations", {"session": first, "to": "desk-3"}).json
        child = plane.send("POST", "/v1/sessions", {"agent": "desk-3", "parent": delegated["token"]}).json
        assert (
            ask("delegate's mail", "desk-3", child["session"], "mail.send", to="a@b.example", size=3)
            == "allow"
        )
        plane.decision_rows()
        yield Recorded(plane.evidence, decisions)


def open_session(plane: InProcessPlane, agent: str) -> str:
    return str(plane.send("POST", "/v1/sessions", {"agent": agent}).json["session"])


@pytest.fixture
def simulated(run: Run, recorded: Recorded, tmp_path: Path) -> Callable[..., dict[str, Any]]:
    """Simulate edits of the policy; `known`: with the bundle that decided at hand."""
    was = tmp_path / "was.yaml"
    was.write_text(POLICY)

    def simulate(
        *edits: tuple[str, str], add: str = "", known: bool = True, words: tuple[str, ...] = ()
    ) -> dict[str, Any]:
        text = POLICY
        for old, new in edits:
            assert old in text
            text = text.replace(old, new)
        candidate = tmp_path / "candidate.yaml"
        candidate.write_text(text + add)
        if known:
            words = (*words, "--recorded", str(was))
        done = run(
            "policy", "simulate", "--bundle", candidate, "--table", recorded.table, "--data", tmp_path / "none",
            "--json", *words,
        )  # fmt: skip
        assert done.exit_code == 0, done.output
        return dict(json.loads(done.stdout))

    return simulate


Simulate = Callable[..., dict[str, Any]]


def test_the_bundle_that_decided_changes_nothing(simulated: Simulate) -> None:
    found = simulated()
    assert (found["decisions"], found["unchanged"], found["changed"], found["undecided"]) == (9, 9, 0, 0)
    assert found["not_judged"] == {"unknown_session": 1}
    assert found["missing_bundles"] == []


def test_without_it_what_reads_arguments_is_undecided_and_nothing_is_guessed(simulated: Simulate) -> None:
    found = simulated(known=False)
    # Of payments nothing is known; the rest, and what the catalog refuses, is decided all the same.
    assert (found["unchanged"], found["changed"], found["undecided"]) == (6, 0, 3)
    assert {one["rule"] for one in found["doubts"]} == {"desk/large", "desk/cap"}
    assert len(found["missing_bundles"]) == 1
    assert any("are not at hand" in line for line in found["unknown"])


def test_a_new_rule_about_the_past_judges_by_sessions_and_workflows(
    simulated: Simulate, recorded: Recorded
) -> None:
    found = simulated(add=NO_PII_OUT)
    assert (found["changed"], found["undecided"]) == (2, 0)
    # Its own mail, and that of the agent to whom it delegated.
    after = [recorded.decisions[name] for name in ("mail after", "delegate's mail")]
    assert found["shifts"] == [
        {"was": "allow", "would_be": "deny", "count": 2, "samples": after, "rule": None, "of": "all"}
    ]
    own = simulated(add=NO_PII_OUT.replace("then: deny", "scope: session, then: deny"))
    assert own["shifts"][0]["samples"] == after[:1]
    assert {(one["of"], one["rule"]) for one in found["rules"]} == {
        ("new", "desk/no-pii-out"),
        ("recorded", "desk/all"),
    }


def test_outcomes_count(simulated: Simulate) -> None:
    # It was allowed and has succeeded: the mail after it passes, the others would not.
    rule = NO_PII_OUT.replace("once[24h] reads", "not once[24h] done(reads)")
    found = simulated(add=rule)
    assert (found["shifts"][0]["count"], found["undecided"]) == (2, 0)


def test_another_threshold_of_the_same_account_is_decided_by_what_stood_there(simulated: Simulate) -> None:
    found = simulated(("above: 150", "above: 151"))
    assert [(one["was"], one["would_be"]) for one in found["shifts"]] == [("escalate", "allow")]
    assert found["undecided"] == 0


def test_another_condition_on_a_hidden_argument_is_undecided(simulated: Simulate, recorded: Recorded) -> None:
    found = simulated(add="  - {id: big-mail, on: {tool: mail.send}, when: args.size > 5, then: deny}\n")
    assert found["undecided"] == 4
    (doubt,) = found["doubts"]
    assert doubt["rule"] == "desk/big-mail"
    assert recorded.decisions["mail before"] in doubt["samples"]


def test_a_verdict_that_no_hidden_value_changes_is_decided(simulated: Simulate) -> None:
    found = simulated(
        ("{id: all, on: {}, then: allow}", "{id: all, on: {tool: crm.read}, then: allow}"), known=False
    )
    shifts = {(one["was"], one["would_be"]): one["count"] for one in found["shifts"]}
    # Whatever the amounts, nothing allows a payment any more; it may still be escalated first.
    assert shifts == {("allow", "deny"): 4}
    assert found["undecided"] == 3


def test_facts_of_registrations_are_known(simulated: Simulate) -> None:
    found = simulated(add="  - {id: prod, on: {agent_label: prod}, then: deny}\n")
    assert found["shifts"][0]["count"] == 3


def test_the_period_is_what_is_judged_and_what_was_before_is_past(
    simulated: Simulate, recorded: Recorded
) -> None:
    now = simulated(
        add=NO_PII_OUT, words=("--since", "2099-01-01T00:00:00Z", "--until", "2099-01-02T00:00:00Z")
    )
    assert (now["decisions"], now["before"]) == (0, 0)
    past = simulated(add=NO_PII_OUT, words=("--until", "24h"))
    assert past["decisions"] == 0


def test_people_read_totals_rules_and_what_cannot_be_known(
    run: Run, recorded: Recorded, tmp_path: Path
) -> None:
    candidate, was = tmp_path / "c.yaml", tmp_path / "w.yaml"
    candidate.write_text(POLICY + NO_PII_OUT)
    was.write_text(POLICY)
    done = run(
        "policy",
        "simulate",
        "--bundle",
        candidate,
        "--recorded",
        was,
        "--table",
        recorded.table,
        "--data",
        tmp_path,
    )
    assert done.exit_code == 0, done.output
    assert "9 decisions: 7 as they were, 2 changed, 0 undecided" in done.stdout
    assert "not judged, because no bundle decides it: unknown_session 1" in done.stdout
    assert "desk/no-pii-out" in done.stdout
    assert "what cannot be known" in done.stdout


@pytest.mark.parametrize("since", ["yesterday", "2026-01-01", "0h"])
def test_a_moment_that_is_none_is_a_usage_error(
    run: Run, recorded: Recorded, tmp_path: Path, since: str
) -> None:
    (tmp_path / "c.yaml").write_text(POLICY)
    done = run(
        "policy", "simulate", "--bundle", tmp_path / "c.yaml", "--table", recorded.table, "--since", since
    )
    assert done.exit_code == 2, done.output
