"""Argument types, presence and what a condition makes of a value that is not of its type."""

from __future__ import annotations

from typing import Any

import pytest
from unit.policies.policy_texts import action, bundle_of, policy, prepared, verdict_on

from policies.argument_values import readers_of
from policies.catalog import ARGUMENT_TYPES, ArgumentType
from policies.effect import Effect

CERTAIN, NO, FAILED = (True, True), (False, False), (True, False)
TYPES = "".join(f"x_{type_}: {{type: {type_}}}, " for type_ in ARGUMENT_TYPES)
CATALOG = f"kind: Catalog\ntools: {{t: {{args: {{{TYPES} y: {{type: string}}}}}}}}\n"

# Type → (a value, a condition that holds for it, values that are of another type).
ANOTHER: dict[str, tuple[Any, str, list[Any]]] = {
    "boolean": (True, "== true", ["true", "True", 1, 1.0, [True], {}, None]),
    "decimal": (13, "== 13.0", ["1_3", " 13", "13 ", "+13", "013", "13.", ".13", "0x0d", "１３", "nan", "1e999", [13],
                                {"v": 13}, True, None]),
    "number": (13, "== 13.0", ["1_3", " 13", "\t13", "13\n", [13], True, None]),
    "integer": (13, "== 13.0", ["1_3", " 13", 13.5, "13.5", 2.0**53, "9007199254740993", [13], True, None]),
    "string": ("EVIL", '== "EVIL"', [["EVIL"], {"v": "EVIL"}, 1, True, None]),
    "iban": ("EVIL", 'in ["EVIL", "WORSE"]', [["EVIL"], {"iban": "EVIL"}, 7, None]),
    "email": ("a@b", '== "a@b"', [["a@b"], None]),
    "url": ("a", '== "a"', [["a"], None]),
    "date": ("a", '== "a"', [["a"], 0, None]),
    "datetime": ("a", '== "a"', [["a"], 0, None]),
    "list": (["EVIL"], '== ["EVIL"]', ["EVIL", {"0": "EVIL"}, None]),
    "object": ({"a": 1}, "== {'a': 1.0}", [[1], "{}", None]),
}  # fmt: skip
PAIRS = [(type_, value) for type_, (_, _, others) in ANOTHER.items() for value in others]


def truth(when: str, arguments: dict[str, Any]) -> tuple[bool, bool]:
    bundle = bundle_of(
        CATALOG, policy(f"id: a\n    on: {{tool: t}}\n    then: deny\n    when: >-\n      {when}")
    )
    found = prepared(bundle, action("t", arguments))
    return bool(found.possibly), bool(found.certainly)


def test_every_type_but_any_is_in_the_tables() -> None:
    assert {*ANOTHER, "any"} == set(ARGUMENT_TYPES)
    catalogued = {type_: ArgumentType(type=type_) for type_ in ARGUMENT_TYPES}
    assert readers_of(catalogued, None).keys() == ANOTHER.keys()


@pytest.mark.parametrize("type_", ANOTHER)
def test_a_value_of_its_type_is_compared(type_: str) -> None:
    value, comparison, _ = ANOTHER[type_]
    assert truth(f"args.x_{type_} {comparison}", {f"x_{type_}": value}) == CERTAIN
    assert truth(f"!(args.x_{type_} {comparison})", {f"x_{type_}": value}) == NO


@pytest.mark.parametrize(("type_", "value"), PAIRS)
def test_a_value_of_another_type_fails_the_condition_however_it_asks(type_: str, value: object) -> None:
    _, comparison, _ = ANOTHER[type_]
    name = f"x_{type_}"
    for when in (
        f"args.{name} {comparison}",
        f"!(args.{name} {comparison})",
        f'args["{name}"] {comparison}',
        f"args[?'{name}'].hasValue() && args.{name} {comparison}",
        f"has(args.{name})",
        f"!has(args.{name})",
        f"args.{name} {comparison} || true",
        "size(args) == 1",
        f'args.exists(name, name == "{name}")',
    ):
        assert truth(when, {name: value}) == FAILED, when


@pytest.mark.parametrize(("type_", "value"), PAIRS)
def test_a_deny_rule_is_not_escaped_by_sending_another_type(type_: str, value: object) -> None:
    _, comparison, _ = ANOTHER[type_]
    rule = f"id: stop\n    then: deny\n    when: >-\n      args.x_{type_} {comparison}"
    bundle = bundle_of(CATALOG, policy("{id: everyday, then: allow}", rule))
    verdict = verdict_on(bundle, action("t", {f"x_{type_}": value}))
    assert (verdict.effect, verdict.uncertain) == (Effect.DENY, ("p/stop",))


@pytest.mark.parametrize(("type_", "value"), PAIRS)
def test_an_allow_rule_is_not_reached_by_sending_another_type(type_: str, value: object) -> None:
    _, comparison, _ = ANOTHER[type_]
    for when in (f"!(args.x_{type_} {comparison})", f"has(args.x_{type_})"):
        bundle = bundle_of(CATALOG, policy(f"id: a\n    then: allow\n    when: >-\n      {when}"))
        assert verdict_on(bundle, action("t", {f"x_{type_}": value})).reason_code == "default_deny"


@pytest.mark.parametrize("text", ["13", "13.0", "1.3e1", "130E-1", "-0.5", "0", "0.0"])
def test_a_decimals_text_is_a_number(text: str) -> None:
    assert truth(f"args.x_decimal == {float(text)}", {"x_decimal": text}) == CERTAIN


def test_only_the_conditions_that_read_the_argument_fail() -> None:
    arguments = {"x_boolean": "true", "y": "fine"}
    assert truth('args.y == "fine"', arguments) == CERTAIN
    assert truth('args.y == "other"', arguments) == NO
    assert truth('subject.id == "bot"', arguments) == CERTAIN


@pytest.mark.parametrize("value", [None, 1, "1", [1], {"a": None}, True])
def test_an_argument_without_a_type_takes_whatever_is_sent(value: object) -> None:
    assert truth("has(args.x_any) && size(args) == 1", {"x_any": value}) == CERTAIN
    assert truth("args.x_any == null", {"x_any": value}) == (CERTAIN if value is None else NO)


def test_each_tool_has_types_of_its_own_for_one_condition() -> None:
    catalog = (
        "kind: Catalog\ntools: {a: {args: {x: {type: string}}}, b: {args: {x: {type: decimal}}}, c: {}}\n"
    )
    bundle = bundle_of(catalog, policy("{id: r, then: deny, when: args.x == 1}"))
    found = {tool: prepared(bundle, action(tool, {"x": "1"})) for tool in "abc"}
    assert [(one.possibly, one.certainly) for one in found.values()] == [(0, 0), (1, 1), (0, 0)]


REQUIRING = """\
kind: Catalog
tools:
  pay: {args: {to: {type: iban, required: true}, amount: {type: decimal, required: true}, note: {required: false}}}
  pay.*: {args: {to: {required: true}}}
"""


@pytest.mark.parametrize(
    ("tool", "arguments", "missing"),
    [
        ("pay", {"to": "DE89", "amount": 1}, None),
        ("pay", {"to": "DE89", "amount": 1, "note": "hi"}, None),
        ("pay", {"to": "DE89"}, "amount"),
        ("pay", {}, "amount"),
        ("pay", {"amount": 1}, "to"),
        ("pay.now", {}, "to"),
        ("pay.now", {"to": None}, None),
    ],
)
def test_an_action_without_a_required_argument_is_refused_whatever_the_rules_say(
    tool: str, arguments: dict[str, Any], missing: str | None
) -> None:
    bundle = bundle_of(REQUIRING, policy("{id: a, then: allow}"))
    for _ in range(2):  # the second time from the memo
        found = prepared(bundle, action(tool, arguments))
        if missing is None:
            assert found.refusal is None
            continue
        assert found.refusal == "missing_argument"
        assert found.detail == (
            f"tool `{tool}` requires the argument `{missing}`; arguments belong in `context.arguments`"
        )
        verdict = verdict_on(bundle, action(tool, arguments))
        assert (verdict.effect, verdict.reason_code) == (Effect.DENY, "missing_argument")


def test_an_argument_that_is_listed_nowhere_is_told_before_one_that_is_missing() -> None:
    bundle = bundle_of(REQUIRING, policy("{id: a, then: allow}"))
    assert prepared(bundle, action("pay", {"memo": 1})).refusal == "unlisted_argument"
