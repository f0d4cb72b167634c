"""`controlplane policy explain` over what a control plane recorded."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from typer.testing import Result
from unit.cli.fake_control_plane import FakeControlPlane
from unit.service.in_process_plane import in_process_plane

Run = Callable[..., Result]

POLICY = """\
kind: Catalog
tools:
  crm.read: {system: crm, effects: [read], data: [pii], boundary: internal, args: {id: {type: string}}}
  mail.send: {system: mail, effects: [send], data: [], boundary: external, args: {to: {type: email}}}
  dlp.scan: {effects: [], data: [], boundary: internal, args: {}}
  note.keep: {effects: [write], data: [], boundary: internal, args: {text: {type: string}}}
  pay.send: {effects: [pay], data: [], boundary: external, args: {to: {type: iban}, amount: {type: decimal}}}
---
kind: Policy
name: desk
define:
  reads: {on: {data: pii}}
  scans: {on: {tool: dlp.scan}}
  pays: {on: {tool: pay.send}}
rules:
  - {id: all, on: {agent: "desk.*"}, then: allow}
  - {id: unscanned, on: {effect: send}, past: "not done(scans) since[24h] reads", then: deny, because: scan first}
  - {id: twice, on: {tool: pay.send}, past: "pays and previous once pays", by: {pays: args.to},
     permitted_is_done: true, then: escalate}
  - {id: cap, on: {tool: pay.send}, limit: {sum: args.amount, per: 24h, above: 150}, then: deny}
  - {id: no-cards, on: {tool: note.keep}, when: args.text.size() > 3, then: modify,
     modify: [{at: /text, redact: card-number}], because: no card numbers in notes}
  - {id: watch, on: {tool: crm.read}, mode: monitor, then: deny}
"""


@dataclass
class Recorded:
    table: Path
    digest: str
    decisions: dict[str, str]


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Recorded]:
    decisions: dict[str, str] = {}
    with in_process_plane(tmp_path_factory.mktemp("plane")) as plane:
        digest = plane.activate(POLICY)
        for agent in ("desk.1", "stranger"):
            plane.register(agent)
        session = str(plane.send("POST", "/v1/sessions", {"agent": "desk.1"}).json["session"])

        def ask(name: str, tool: str, agent: str = "desk.1", **arguments: Any) -> str:
            context = {"arguments": arguments} | ({"session": session} if agent == "desk.1" else {})
            body = {
                "subject": {"type": "agent", "id": agent},
                "action": {"name": "call"},
                "resource": {"type": "tool", "id": tool},
                "context": context,
            }
            answer = plane.send("POST", "/access/v1/evaluation", body).json
            decisions[name] = answer["context"]["id"]
            return str(answer["context"]["effect"])

        def report(name: str, status: str) -> None:
            plane.send("POST", f"/v1/decisions/{decisions[name]}/outcome", {"status": status})

        assert ask("mail before", "mail.send", to="a@b.example") == "allow"
        assert ask("read", "crm.read", id="7") == "allow"
        assert ask("mail", "mail.send", to="a@b.example") == "deny"
        assert ask("scan", "dlp.scan") == "allow"
        assert ask("mail while scanning", "mail.send", to="a@b.example") == "deny"
        report("scan", "succeeded")
        assert ask("mail after", "mail.send", to="a@b.example") == "allow"
        assert ask("pay", "pay.send", to="DE89", amount=100) == "allow"
        assert ask("pay too much", "pay.send", to="AT61", amount="50.5") == "deny"
        assert ask("note", "note.keep", text="4111 1111 1111 1111") == "modify"
        assert ask("not for you", "crm.read", agent="stranger", id="7") == "deny"
        assert ask("nobody", "crm.read", agent="unregistered", id="7") == "deny"
        plane.decision_rows()
        yield Recorded(plane.evidence, digest, decisions)


@pytest.fixture
def explained(run: Run, recorded: Recorded, tmp_path: Path) -> Callable[[str], dict[str, Any]]:
    files = tmp_path / "policy.yaml"
    files.write_text(POLICY)

    def explain(name: str) -> dict[str, Any]:
        words = ("policy", "explain", recorded.decisions[name], "--table", recorded.table, "--bundle", files)
        done = run(*words, "--json")
        assert done.exit_code == 0, done.output
        assert run(*words).exit_code == 0
        return dict(json.loads(done.stdout))

    return explain


Explain = Callable[[str], dict[str, Any]]


def rule(explained: dict[str, Any], name: str) -> dict[str, Any]:
    (found,) = [one for one in explained["rules"] if one["rule"] == f"desk/{name}"]
    return dict(found)


@pytest.mark.parametrize(
    ("name", "truth", "witness"),
    [
        ("mail before", False, None),
        ("mail", True, "read"),
        ("mail while scanning", True, "read"),
        ("mail after", False, "scan"),
    ],
)
def test_the_earlier_decision_that_made_a_formula_so_is_named(
    explained: Explain, recorded: Recorded, name: str, truth: bool, witness: str | None
) -> None:
    past = rule(explained(name), "unscanned")["past"]
    assert past["recorded"] is truth
    assert past["tree"]["truth"] is truth
    assert past["notes"] == []
    made_so = past["tree"]["witness"]
    assert (None if made_so is None else past["actions"][made_so]["id"]) == (
        None if witness is None else recorded.decisions[witness]
    )


def test_it_is_told_step_by_step(explained: Explain, recorded: Recorded) -> None:
    past = rule(explained("mail after"), "unscanned")["past"]
    by_id = {
        past["actions"][step["position"]]["id"]: {one["text"]: one["truth"] for one in step["changes"]}
        for step in past["steps"]
    }
    formula = "not done(scans) since[1d] reads"
    assert by_id[recorded.decisions["read"]][formula] is True
    assert by_id[recorded.decisions["scan"]][formula] is False
    assert {one["id"]: one["outcome"] for one in past["actions"]} == {
        recorded.decisions["read"]: "not reported",
        recorded.decisions["scan"]: "succeeded",
        recorded.decisions["mail after"]: "being decided",
    }


def test_a_budget_shows_its_level(explained: Explain) -> None:
    found = explained("pay too much")
    assert rule(found, "cap")["limit"] == {"level": "150.5", "above": "150"}
    assert rule(found, "cap")["reported"] is True


def test_masked_keys_are_said_to_be_masked_and_what_was_found_then_stands(explained: Explain) -> None:
    past = rule(explained("pay too much"), "twice")["past"]
    # Two accounts: for the second one nothing had been paid before, which the masked table cannot show.
    assert past["recorded"] is False
    assert past["tree"]["truth"] is True
    assert any("values of `by` are masked" in note for note in past["notes"])
    assert any("when it was decided it was false" in note for note in past["notes"])


def test_where_nothing_allowed_it_says_what_kept_rules_from_matching(explained: Explain) -> None:
    found = explained("not for you")
    assert found["decision"]["reason_code"] == "default_deny"
    (clause,) = rule(found, "all")["clauses"]
    assert (clause["key"], clause["standing"], clause["found"]) == ("agent", "fails", ["stranger"])


def test_monitored_rules_are_shown(explained: Explain) -> None:
    found = rule(explained("read"), "watch")
    assert (found["monitored"], found["reported"]) == (True, False)


def test_what_was_rewritten_is_told_with_the_rule_that_did(
    explained: Explain, run: Run, recorded: Recorded
) -> None:
    found = explained("note")
    assert found["decision"]["reason_code"] == "rule_modify"
    modifying = rule(found, "no-cards")
    assert (modifying["effect"], modifying["reported"]) == ("modify", True)
    assert [(one["key"], one["standing"]) for one in modifying["clauses"]] == [
        ("tool", "holds"),
        ("when", "holds"),
    ]
    lines = run(
        "policy", "explain", recorded.decisions["note"], "--table", recorded.table
    ).stdout.splitlines()
    assert "rewritten before it was decided: redact card-number at /text, 1×" in lines


def test_people_read_it_as_a_tree(run: Run, recorded: Recorded, tmp_path: Path) -> None:
    (tmp_path / "p.yaml").write_text(POLICY)
    done = run(
        "policy",
        "explain",
        recorded.decisions["mail"],
        "--table",
        recorded.table,
        "--bundle",
        tmp_path / "p.yaml",
    )
    lines = [" ".join(line.split()) for line in done.stdout.splitlines()]
    assert lines[0] == "deny (rule_deny)"
    assert "desk/unscanned: deny, reported" in lines
    assert "holds on effect: send (it is send)" in lines
    assert "past, over its workflow: not done(scans) since[1d] reads was true" in lines
    (true,) = [line for line in lines if line.startswith("true not done(scans) since[1d] reads by")]
    assert recorded.decisions["read"] in true and "crm.read" in true


def test_a_limit_is_told_with_what_it_would_take(run: Run, recorded: Recorded, tmp_path: Path) -> None:
    (tmp_path / "p.yaml").write_text(POLICY)
    words = ("--table", recorded.table, "--bundle", tmp_path / "p.yaml")
    shown = run("policy", "explain", recorded.decisions["pay"], *words).stdout
    assert "  limit: level 100; it matches above 150" in shown.splitlines()


def test_what_no_rule_decided_is_told_in_words(run: Run, recorded: Recorded, tmp_path: Path) -> None:
    (tmp_path / "p.yaml").write_text(POLICY)
    words = ("--table", recorded.table, "--bundle", tmp_path / "p.yaml")
    shown = run("policy", "explain", recorded.decisions["nobody"], *words).stdout
    assert "no such agent is registered" in shown
    assert "no rule allows this" in run("policy", "explain", recorded.decisions["not for you"], *words).stdout


def test_the_bundle_comes_from_the_control_plane(
    ask: Run, remote: FakeControlPlane, recorded: Recorded
) -> None:
    remote.answer("GET", f"/v1/bundles/{recorded.digest}", {"sources": [{"name": "p.yaml", "text": POLICY}]})
    done = ask("policy", "explain", recorded.decisions["mail"], "--table", recorded.table, "--json")
    assert json.loads(done.stdout)["bundle_at_hand"] is True


def test_without_the_bundle_the_row_is_told(run: Run, recorded: Recorded, tmp_path: Path) -> None:
    words = ("policy", "explain", recorded.decisions["mail"], "--table", recorded.table, "--data", tmp_path)
    shown = run(*words).stdout
    assert "desk/unscanned: scan first" in shown
    assert "the bundle that decided is not at hand" in shown
    assert json.loads(run(*words, "--json").stdout)["rules"] == []


def test_another_bundle_and_another_decision_are_refused(
    run: Run, recorded: Recorded, tmp_path: Path
) -> None:
    (tmp_path / "p.yaml").write_text(POLICY.replace("24h", "12h"))
    words = ("policy", "explain", recorded.decisions["mail"], "--table", recorded.table)
    assert "the decision was made with" in run(*words, "--bundle", tmp_path / "p.yaml").stderr
    missing = run("policy", "explain", "x' or 'a' = 'a", "--table", recorded.table)
    assert missing.exit_code == 1
    assert "no decision `x' or 'a' = 'a` in the evidence table" in missing.stderr
