"""`controlplane policy`: lint, coverage, diff and the schema."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import jsonschema
import pytest
from typer.testing import Result
from unit.cli.fake_control_plane import FakeControlPlane

Run = Callable[..., Result]

POLICY = """\
kind: Catalog
tools:
  crm.read: {system: crm, effects: [read], data: [pii], boundary: internal}
  mail.send: {system: mail, effects: [send], data: [], boundary: external}
---
kind: Policy
name: mailing
define:
  reads: {on: {data: pii}}
rules:
  - {id: all, on: {}, then: allow}
  - {id: no-pii-out, on: {effect: send}, past: "once[24h] reads", then: deny}
"""
STORY = """\
kind: Test
name: mailing
sessions: {s1: {agent: mailer}}
cases:
  - name: mail goes
    steps:
      - {session: s1, at: 0s, tool: mail.send, expect: allow}
"""
READS = "      - {session: s1, at: 1s, tool: crm.read, expect: allow}\n"
LEAKS = "      - {session: s1, at: 2s, tool: mail.send, expect: deny, rules: [mailing/no-pii-out]}\n"
DIGEST = "sha256:" + "ab" * 32


@pytest.fixture
def policy(tmp_path: Path) -> Path:
    path = tmp_path / "policy.yaml"
    path.write_text(POLICY)
    return path


def edited(path: Path, was: str, is_: str) -> Path:
    assert was in POLICY
    other = path.with_name("edited.yaml")
    other.write_text(POLICY.replace(was, is_))
    return other


@pytest.mark.parametrize(
    ("was", "is_", "plain", "strict"),
    [
        ("", "", 0, 0),
        ("define:\n", "define:\n  unused: {on: {tool: mail.send}}\n", 0, 1),
        ("{effect: send}", "{effect: read, boundary: external}", 1, 1),
        ("then: deny", "thn: deny", 1, 1),
    ],
)
def test_lint_fails_on_errors_and_with_strict_on_warnings(
    run: Run, policy: Path, was: str, is_: str, plain: int, strict: int
) -> None:
    file = edited(policy, was, is_)
    assert run("policy", "lint", file).exit_code == plain
    assert run("policy", "lint", file, "--strict").exit_code == strict
    report = json.loads(run("policy", "lint", file, "--json").stdout)
    assert (report["errors"] > 0) == bool(plain)
    assert (report["errors"] + report["warnings"] > 0) == bool(strict)


def test_a_finding_is_a_line_with_place_level_code_and_hint(run: Run, policy: Path) -> None:
    file = edited(policy, "define:\n", "define:\n  unused: {on: {tool: mail.send}}\n")
    first, last = run("policy", "lint", file).stdout.splitlines()
    assert first == (
        f"{file}:9:3: warning: no rule's `past` speaks of this atom in define `mailing/unused` "
        "[unused_define]; leave it out"
    )
    assert last == "0 errors, 1 warning"
    (found,) = json.loads(run("policy", "lint", file, "--json").stdout)["findings"]
    assert (found["file"], found["line"], found["column"], found["code"]) == (
        str(file),
        9,
        3,
        "unused_define",
    )


def test_lint_shows_shortest_pasts_on_request(run: Run, policy: Path) -> None:
    assert "crm.read" not in run("policy", "lint", policy).stdout
    shown = run("policy", "lint", policy, "--traces").stdout
    assert "true after   0s crm.read (reads); 0s mail.send (none of the atoms)" in shown
    (formula,) = json.loads(run("policy", "lint", policy, "--json").stdout)["formulas"]
    assert formula["rule"] == "mailing/no-pii-out"
    assert [one["place"] for one in formula["matches"]] == ["crm.read", "mail.send"]


@pytest.mark.parametrize(
    ("steps", "minimum", "status"),
    [("", "50", 1), (READS, "50", 0), (READS, "51", 1), (READS + LEAKS, "100", 0)],
)
def test_stories_must_reach_enough(run: Run, policy: Path, steps: str, minimum: str, status: int) -> None:
    story = policy.with_name("story.yaml")
    story.write_text(STORY + steps)
    assert run("policy", "test", policy, story).exit_code == 0
    done = run("policy", "test", policy, story, "--min-coverage", minimum)
    assert done.exit_code == status, done.output
    assert (f"less than {minimum} % was reached" in done.stderr) == bool(status)


def test_coverage_names_rules_and_atoms(run: Run, policy: Path) -> None:
    story = policy.with_name("story.yaml")
    story.write_text(STORY)
    shown = run("policy", "test", policy, story).stdout
    assert "reached: 1 of 2 rules (50 %), 0 of 1 atoms (0 %)" in shown
    assert "rules that no step reached: mailing/no-pii-out" in shown
    assert "atoms that no step made true: mailing/reads" in shown
    report = json.loads(run("policy", "test", policy, story, "--json").stdout)
    assert report["never_matched"] == ["mailing/no-pii-out"]
    assert report["never_held"] == ["mailing/reads"]
    assert report["reached"] == {
        "rules": {"reached": 1, "of": 2, "percent": 50.0},
        "atoms": {"reached": 0, "of": 1, "percent": 0.0},
    }
    assert report["coverage"] == {"mailing/all": 1, "mailing/no-pii-out": 0}


def test_diff_shows_what_changes_and_what_is_remembered(run: Run, policy: Path) -> None:
    other = edited(policy, "once[24h]", "once[48h]")
    shown = run("policy", "diff", policy, other).stdout.splitlines()
    assert "~ rule mailing/no-pii-out" in shown
    assert "    past: once[24h] reads -> once[48h] reads" in shown
    assert "new        past: once[2d] reads  (mailing/no-pii-out)" in shown
    assert "forgotten  past: once[1d] reads  (mailing/no-pii-out)" in shown
    found = json.loads(run("policy", "diff", policy, other, "--json").stdout)
    assert found["same"] is False
    assert found["changes"] == [
        {
            "kind": "rule",
            "name": "mailing/no-pii-out",
            "change": "changed",
            "clauses": [{"key": "past", "old": "once[24h] reads", "new": "once[48h] reads"}],
        }
    ]
    same = run("policy", "diff", policy, policy)
    assert same.exit_code == 0
    assert same.stdout.startswith("the same bundle: sha256:")


def test_diff_takes_what_belongs_to_both_sides_beside_them(run: Run, policy: Path) -> None:
    sets = "---\nkind: Bundle\nname: b\nparameters: {agent-safety: {stop: deny}}\n"
    other = policy.with_name("with-pack.yaml")
    other.write_text(POLICY + sets)
    assert "it is a pack: name it beside your files" in run("policy", "diff", policy, other).stderr
    shown = run("policy", "diff", policy, other, "--with", "pack:agent-safety")
    assert shown.exit_code == 0, shown.output
    assert "~ rule agent-safety/off-task" in shown.stdout
    assert "    then: escalate -> deny" in shown.stdout


def test_a_pack_that_is_named_like_a_file_is_told_of(run: Run, policy: Path) -> None:
    assert "the pack is named `pack:agent-safety`" in run("policy", "lint", policy, "agent-safety").stderr


@pytest.mark.parametrize("name", ["active", "abab", DIGEST])
def test_diff_takes_stored_bundles_from_the_control_plane(
    ask: Run, remote: FakeControlPlane, policy: Path, name: str
) -> None:
    remote.answer("GET", "/v1/bundles", {"active": DIGEST, "bundles": [{"digest": DIGEST}]})
    sources = [{"name": "stored.yaml", "text": POLICY.replace("24h", "12h")}]
    remote.answer("GET", f"/v1/bundles/{DIGEST}", {"digest": DIGEST, "sources": sources})
    done = ask("policy", "diff", name, policy)
    assert done.exit_code == 0, done.output
    assert "past: once[12h] reads -> once[24h] reads" in done.stdout


def test_diff_says_what_cannot_be_read(ask: Run, remote: FakeControlPlane, policy: Path) -> None:
    remote.answer("GET", "/v1/bundles", {"active": None, "bundles": []})
    assert "no bundle is active" in ask("policy", "diff", "active", policy).stderr
    assert "cannot read" in ask("policy", "diff", policy, "nowhere.yaml").stderr


def test_the_schema_is_printed_for_editors(run: Run, policy: Path) -> None:
    schema = json.loads(run("policy", "schema").stdout)
    jsonschema.Draft202012Validator.check_schema(schema)
    assert "past" in schema["$defs"]["RuleDocument"]["properties"]
