"""`controlplane policy simulate` over actions that rules rewrote: what the record tells of them and what not."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from typer.testing import Result
from unit.service.in_process_plane import in_process_plane

Run = Callable[..., Result]

POLICY = """\
kind: Catalog
tools:
  note.keep: {effects: [write], data: [], boundary: internal, args: {text: {type: string}, size: {type: integer}}}
  note.read: {effects: [read], data: [], boundary: internal, args: {}}
---
kind: Policy
name: desk
rules:
  - {id: all, then: allow}
  - {id: no-cards, on: {tool: note.keep}, then: modify, modify: [{at: /text, redact: card-number}]}
"""
MODIFIES = POLICY.splitlines(keepends=True)[-1]


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    with in_process_plane(tmp_path_factory.mktemp("plane")) as plane:
        plane.activate(POLICY)
        plane.register()
        for tool, arguments, effect in (
            ("note.keep", {"text": "hello"}, "allow"),
            ("note.keep", {"text": "4111 1111 1111 1111", "size": 3}, "modify"),
            ("note.read", {}, "allow"),
        ):
            assert plane.ask(tool=tool, arguments=arguments).json["context"]["effect"] == effect
        plane.decision_rows()
        yield plane.evidence


@pytest.fixture
def simulated(run: Run, table: Path, tmp_path: Path) -> Callable[..., dict[str, Any]]:
    def simulate(candidate: str, *, known: bool = True) -> dict[str, Any]:
        (tmp_path / "was.yaml").write_text(POLICY)
        (tmp_path / "candidate.yaml").write_text(candidate)
        words = ("--recorded", str(tmp_path / "was.yaml")) if known else ()
        done = run(
            "policy", "simulate", "--bundle", tmp_path / "candidate.yaml", "--table", table,
            "--data", tmp_path / "none", "--json", *words,
        )  # fmt: skip
        assert done.exit_code == 0, done.output
        return dict(json.loads(done.stdout))

    return simulate


Simulate = Callable[..., dict[str, Any]]


def counts(found: dict[str, Any]) -> tuple[int, int, int]:
    return found["unchanged"], found["changed"], found["undecided"]


def test_the_bundle_that_decided_changes_nothing(simulated: Simulate) -> None:
    assert counts(simulated(POLICY)) == (3, 0, 0)
    renamed = simulated(POLICY.replace("id: no-cards", "id: cards"))
    assert counts(renamed) == (3, 0, 0)


def test_without_it_what_could_be_rewritten_is_undecided(simulated: Simulate) -> None:
    found = simulated(POLICY, known=False)
    assert counts(found) == (1, 0, 2)
    assert [one["rule"] for one in found["doubts"]] == ["desk/no-cards"]


def test_another_rewriting_is_undecided_where_it_could_match(simulated: Simulate) -> None:
    found = simulated(POLICY + MODIFIES.replace("no-cards", "no-mails").replace("card-number", "email"))
    assert counts(found) == (1, 0, 2)


def test_what_was_rewritten_by_a_rule_that_is_gone_is_undecided(simulated: Simulate) -> None:
    found = simulated(POLICY.replace(MODIFIES, ""))
    assert counts(found) == (2, 0, 1)
    assert [one["rule"] for one in found["doubts"]] == ["(arguments)"]


def test_what_no_argument_changes_is_decided(simulated: Simulate) -> None:
    found = simulated(POLICY + "  - {id: none, on: {tool: note.keep}, then: deny}\n")
    assert counts(found) == (1, 2, 0)
    assert {(one["was"], one["would_be"]) for one in found["shifts"]} == {
        ("allow", "deny"),
        ("modify", "deny"),
    }


def test_rules_judge_what_was_rewritten_as_far_as_the_record_shows_it(simulated: Simulate) -> None:
    sized = "  - {id: sized, on: {tool: note.keep}, when: has(args.size), then: escalate}\n"
    # That a note came without a size is known, and of which size the other was is not.
    assert counts(simulated(POLICY + sized)) == (2, 0, 1)
