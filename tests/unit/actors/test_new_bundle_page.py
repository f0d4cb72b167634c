"""What docs/policies.md says a new rule is told about the actions before it, row by row, at an owner."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from unit.actors.test_past_at_owner import Story

from actors.past_journal import forget_history
from policies.past.retention import HISTORY_US

PAGE = (Path(__file__).parents[3] / "docs" / "policies.md").read_text()
SECTION = PAGE.split("\n## A new bundle sees the past\n")[1].split("\n## ")[0]
ROWS = [row for row, _ in re.findall(r"^\| (.+?) \| (.+?) \|$", SECTION, re.MULTILINE)][1:]


def rule(keys: str) -> str:
    return f"  - {{id: r, {keys}}}\n"


def read(story: Story) -> None:
    story.do("crm.read", id="7")


def scan(story: Story) -> None:
    story.report(story.do("dlp.scan"), witness=True)


def create(story: Story) -> None:
    story.do("bank.create", iban="GB33BUKB20201555555555")


def pay(story: Story) -> None:
    story.do("bank.pay", to="GB33", amount=1)


def long_ago(story: Story) -> None:
    story.do("dlp.scan")
    story.bench.world.pass_s(HISTORY_US / 1e6 + 1)
    story.bench.renew_lease()
    forget_history(story.bench.owner.journal, now_us=story.bench.world.wall_us, limit=1000)


def denials(story: Story) -> None:
    story.activate(rule("on: {tool: bank.pay}, then: deny"))
    for _ in range(3):
        pay(story)


SEND: tuple[str, dict[str, Any]] = ("mail.send", {"to": "a@b.example"})
PAY: tuple[str, dict[str, Any]] = ("bank.pay", {"to": "DE89", "amount": 1})
WITNESSED = "on: {tool: mail.send}, past: not once done(scanned), witness: gateway, then: deny"
CREATED = "past: pays and once created, by: {created: args.iban, pays: args.to}, then: deny"
COUNT = "on: {tool: bank.pay}, limit: {count: actions, per: 1h, above: 1}, then: deny"
KEYED = "on: {tool: bank.pay}, limit: {count: actions, per: 1h, key: args.to, above: 1}, then: deny"
LARGE = "on: {tool: bank.pay}, when: args.amount > 0.5, limit: {count: actions, above: 1}, then: deny"
DENIED = "on: {tool: bank.pay}, limit: {count: denials, above: 1}, then: deny"
SUM = "on: {tool: bank.pay}, limit: {sum: args.amount, per: 1h, above: 500}, then: deny"

CASES: list[tuple[str, Callable[[Story], None], str, tuple[str, dict[str, Any]], str, str]] = [
    ("an atom that is all `on`", read, "past: leaves and once reads, then: deny", SEND, "deny", "deny"),
    ("an atom that is all `on`", scan, "past: leaves and once reads, then: deny", SEND, "allow", "allow"),
    ("an atom with `when`", pay, "past: leaves and once large, then: deny", SEND, "deny", "allow"),
    ("`done(…)`, `witness`", scan, WITNESSED, SEND, "allow", "allow"),
    ("`done(…)`, `witness`", read, WITNESSED, SEND, "deny", "deny"),
    ("a key of `by`", create, CREATED, PAY, "deny", "deny"),
    ("a key of `by`", read, CREATED, PAY, "allow", "allow"),
    ("`count: actions`", pay, COUNT, PAY, "deny", "deny"),
    ("`count: actions`", read, COUNT, PAY, "allow", "allow"),
    ("`count: actions`", pay, KEYED, PAY, "deny", "deny"),
    ("`count: actions`", pay, LARGE, PAY, "deny", "allow"),
    ("`count: denials`", denials, DENIED, PAY, "allow", "allow"),
    ("`sum`", pay, SUM, PAY, "deny", "deny"),
    ("`sum`", read, SUM, PAY, "allow", "allow"),
    (
        "anything before the record",
        long_ago,
        "past: leaves and once reads, then: deny",
        SEND,
        "deny",
        "allow",
    ),
]


@pytest.mark.parametrize(("row", "before", "keys", "action", "strict", "lenient"), CASES)
@pytest.mark.parametrize("leniently", [False, True], ids=["strict", "lenient"])
def test_a_new_rule_is_told_what_the_page_says(
    tmp_path: Path,
    row: str,
    before: Callable[[Story], None],
    keys: str,
    action: tuple[str, dict[str, Any]],
    strict: str,
    lenient: str,
    leniently: bool,
) -> None:
    assert row in ROWS
    story = Story(tmp_path / "host-000.db")
    before(story)
    story.activate(rule(keys), lenient=leniently)
    tool, arguments = action
    assert story.do(tool, **arguments).effect == (lenient if leniently else strict)


def test_every_row_of_the_page_is_tried() -> None:
    assert list(dict.fromkeys(row for row, *_ in CASES)) == ROWS


@pytest.mark.parametrize(
    "changed",
    [
        "on: {tool: bank.pay}, limit: {sum: args.amount, per: 1h, above: 400}, then: escalate, because: more",
        "on: {tool: bank.pay}, limit: {sum: args.amount, per: 1h, above: 400}, then: deny, controls: [sox/x]",
    ],
)
def test_what_says_the_same_keeps_what_it_knows(tmp_path: Path, changed: str) -> None:
    story = Story(tmp_path / "host-000.db", rule(SUM))
    pay(story)
    story.activate(rule(changed).replace("id: r", "id: renamed"))
    assert story.do("bank.pay", to="DE89", amount=399).effect == "allow"
    assert story.do("bank.pay", to="DE89", amount="0.01").effect in changed
