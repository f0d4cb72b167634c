from __future__ import annotations

import pytest
from unit.policies.policy_texts import CATALOG, action, bundle_of, errors_of, policy, truth_of

from policies import cel
from policies.cel_types import Arguments, check_condition

CERTAIN, NO, FAILED = (True, True), (False, False), (True, False)
TRANSFER = "{tool: payments.transfer}"


@pytest.mark.parametrize("amount", [12000, 12000.5, "12000", "12000.50", "1.2e4"])
@pytest.mark.parametrize(
    ("when", "expected"),
    [
        ("args.amount > 10000", CERTAIN),
        ("args.amount > 10000.0", CERTAIN),
        ("args.amount < 10000", NO),
        ("10000 < args.amount", CERTAIN),
        ("args.amount == 3", NO),
        ("args.amount != 3", CERTAIN),
        ("args.amount * 2.0 > 20000.0", CERTAIN),
        ("args[\"amount\"] > 10000", CERTAIN),
        ("has(args.amount) && args.amount >= 12000.0", CERTAIN),
    ],
)  # fmt: skip
def test_a_number_compares_alike_however_it_was_sent(
    amount: object, when: str, expected: tuple[bool, bool]
) -> None:
    assert truth_of(TRANSFER, when, action(arguments={"amount": amount})) == expected


@pytest.mark.parametrize("three", [3, 3.0, "3", "3.00"])
def test_three_equals_three(three: object) -> None:
    assert truth_of(TRANSFER, "args.amount == 3", action(arguments={"amount": three})) == CERTAIN


@pytest.mark.parametrize(
    "amount",
    ["twelve", "1_000", "nan", "inf", "1e999", "", " 12", "12 EUR", "１２", None, [12], {"v": 1}, True],
)
def test_what_is_no_number_fails_instead_of_comparing(amount: object) -> None:
    assert truth_of(TRANSFER, "args.amount > 10000", action(arguments={"amount": amount})) == FAILED
    assert truth_of(TRANSFER, "args.amount < 10000", action(arguments={"amount": amount})) == FAILED


def test_a_number_deep_inside_arguments_is_a_double_too() -> None:
    lines = [{"price": 3}, {"price": 4.5}]
    asked = action(arguments={"lines": lines})
    assert truth_of(TRANSFER, "args.lines.exists(l, l.price == 3)", asked) == CERTAIN
    assert truth_of(TRANSFER, "args.lines[1].price > 4", asked) == CERTAIN
    assert truth_of(TRANSFER, "size(args.lines) == 2", asked) == CERTAIN


@pytest.mark.parametrize(
    ("when", "subject", "expected"),
    [
        ('"treasury" in subject.roles', {"roles": ("treasury",)}, CERTAIN),
        ('"treasury" in subject.groups', {}, NO),
        ('"prod" in subject.labels', {"labels": ("prod",)}, CERTAIN),
        ('subject.owner == "ann"', {"owner": "ann"}, CERTAIN),
        ('subject.owner == "ann"', {}, FAILED),
        ("subject.attributes.level >= 3", {"attributes": {"level": 3}}, CERTAIN),
        ("subject.attributes.level >= 3", {}, FAILED),
        ("subject.attributes.?level.orValue(0.0) >= 3.0", {}, NO),
        ('subject.id == "bot" && subject.type == "agent" && action.name == "call"', {}, CERTAIN),
        ('resource.id == "payments.transfer" && resource.type == "tool"', {}, CERTAIN),
        ('resource.system == "core-banking" && resource.jurisdiction == "CH"', {}, CERTAIN),
        ('resource.boundary == "external" && "pay" in resource.effects', {}, CERTAIN),
        ("size(resource.data) == 0", {}, CERTAIN),
        ('resource.properties.ip == "::1"', {}, FAILED),
        ('context.channel == "chat"', {}, FAILED),
        ('now < timestamp("1970-01-01T00:00:01Z")', {}, CERTAIN),
        ("now.getDayOfWeek() == 4", {}, CERTAIN),
        ("context.x", {}, FAILED),
    ],
)
def test_conditions_read_registered_and_catalogued_facts_by_name(
    when: str, subject: dict[str, object], expected: tuple[bool, bool]
) -> None:
    assert truth_of(TRANSFER, when, action(**subject)) == expected  # type: ignore[arg-type]


@pytest.mark.parametrize("name", ["system", "effects", "data", "boundary", "jurisdiction"])
def test_a_fact_that_the_catalog_leaves_open_fails_the_condition(name: str) -> None:
    assert truth_of("{}", f"size(resource.{name}) > 0", action("vague")) == FAILED


def test_an_error_behind_a_decided_disjunction_is_no_error() -> None:
    assert truth_of("{}", 'args.x > 1 || subject.id == "bot"', action("vague")) == CERTAIN
    assert truth_of("{}", 'args.x > 1 && subject.id == "other"', action("vague")) == NO


def test_a_condition_that_raises_counts_as_failed() -> None:
    assert truth_of("{}", 'args.x == "y"', action("vague", {"x": "\ud800"})) == FAILED


def test_a_condition_that_yields_text_counts_as_failed_though_text_is_truthy() -> None:
    assert truth_of("{}", "args.x", action("vague", {"x": "yes"})) == FAILED
    assert truth_of("{}", "args.x", action("vague", {"x": True})) == CERTAIN


@pytest.mark.parametrize(
    ("when", "column", "message", "hint"),
    [
        ("args.amuont > 1.0", 5, "unknown argument `amuont`", "did you mean `amount`?"),
        ("has(args.amuont)", 4, "unknown argument `amuont`", "did you mean `amount`?"),
        ('args["amuont"] == 1', 5, "unknown argument `amuont`", "did you mean `amount`?"),
        ("args.?amuont.orValue(1.0) > 1.0", 5, "unknown argument `amuont`", "did you mean `amount`?"),
        ('args.amount == "x"', 13, "`==` between a value of type double and one of type string", ""),
        ("args.to > 3", 9, "`>` between a value of type string and one of type int", ""),
        ("args.amount * 2 > 3", 13, "`*` between a JSON number (a double) and an integer",
         "write the number with a point: `2.0`"),
        ("args.amount * 2.0 > 3", 19, "found no matching overload", "write the number with a point: `2.0`"),
        ("context.x * 2 == 4", 11, "`*` between a JSON number (a double) and an integer",
         "write the number with a point: `2.0`"),
        ("args.amount.startsWith(\"1\")", 23, "`startsWith` needs text, found a value of type double", ""),
        ("args.to.bank == \"x\"", 8, "`.bank` of a value of type string", ""),
        ("!args.to", 6, "expected true or false, found a value of type string", ""),
        ("args.to", 1, "a condition must be true or false; this one is of type string", ""),
        ("size(args.amount) == 1", 5, "a value of type double has no size", ""),
        ("args.amount in [\"1\"]", 17, "a value of type double is never in a list of string", ""),
        ("args.note.matches(\"[\")", 18, "invalid regular expression: missing ]: [", ""),
        ("args.amount >", 14, "syntax error", ""),
        ("subjct.id == \"x\"", 7, "undeclared reference to 'subjct.id'", "did you mean `subject.id`?"),
        ("amount > 1.0", 1, "undeclared reference to 'amount'",
         "an argument is read as `args.amount`; text stands in quotes"),
        ("args.to == DE89", 12, "undeclared reference to 'DE89'",
         "an argument is read as `args.DE89`; text stands in quotes"),
        ("tool == \"x\"", 1, "undeclared reference to 'tool'", "write `resource.id`"),
        ("lower(args.to) == \"x\"", 6, "undeclared reference to 'lower'", ""),
        ("args.amount = 1.0", 13, "syntax error", "write `==`"),
        ("args.amount > 1.0 and true", 19, "syntax error", "write `&&`"),
        ("true OR args.amount > 1.0", 6, "syntax error", "write `||`"),
        ("not has(args.to)", 5, "syntax error", "write `!`"),
        ("args.to == \"x\" & true", 16, "syntax error", "write `&&`"),
        ("args.to == True", 12, "undeclared reference to 'True'", "write `true`"),
        ("resource.owner == \"x\"", 9, "undeclared reference to 'resource.owner'",
         "there are `resource.id`, `resource.type`, `resource.system`, `resource.effects`, `resource.data`, "
         "`resource.boundary`, `resource.jurisdiction`, `resource.properties`"),
        ("resource.sytem == \"x\"", 9, "undeclared reference to 'resource.sytem'",
         "did you mean `resource.system`?"),
        ("1 + 1", 1, "a condition must be true or false; this one is of type int", ""),
        ("subject.id == 1", 12, "found no matching overload", ""),
    ],
)  # fmt: skip
def test_a_mistake_in_a_condition_is_an_error_at_its_place(
    when: str, column: int, message: str, hint: str
) -> None:
    rule = f"id: a\n    on: {TRANSFER}\n    then: deny\n    when: '{when}'"
    (error,) = errors_of(policy(rule), CATALOG)
    indent = len("    when: '")
    assert message in error.message
    assert "in rule `p/a`" in error.message
    assert (error.line, error.hint) == (7, hint)
    assert error.column in (indent + column, indent + column + 1)


def test_a_mistake_in_a_block_text_is_found_on_its_line() -> None:
    condition = "|\n      args.amount > 1.0 &&\n      args.amuont < 3.0"
    rule = f"id: a\n    on: {TRANSFER}\n    then: deny\n    when: {condition}"
    (error,) = errors_of(policy(rule), CATALOG)
    assert (error.line, error.column) == (9, 11)


def test_an_argument_is_only_strange_where_every_matching_tool_lists_its_arguments() -> None:
    assert (
        truth_of("{tool: [payments.transfer, crm.read]}", "args.id == 7", action("crm.read", {"id": 7}))
        == CERTAIN
    )
    (error,) = errors_of(CATALOG, policy("{id: a, on: {tool: clock.read}, when: args.id == 7, then: deny}"))
    assert (error.code, error.hint) == ("unknown_argument", "no matching resource takes arguments")


def test_an_argument_whose_tools_disagree_on_its_type_is_untyped() -> None:
    both = "kind: Catalog\ntools: {a: {args: {x: {type: string}}}, b: {args: {x: {type: decimal}}}}\n"
    rule = "{id: r, on: {tool: [a, b]}, when: args.x == 1, then: deny}"
    assert bundle_of(both, policy(rule)).rules


def test_a_loop_variable_called_args_is_not_the_arguments() -> None:
    condition = cel.Condition("args.lines.all(args, args.price > 1.0)")
    arguments = Arguments(frozenset(["lines"]), {"lines": "list"})
    assert check_condition(condition.ast(), arguments, cel.regex_error) == []


@pytest.mark.parametrize(
    ("when", "fields"),
    [
        ("args.a > 1.0 && has(args.b)", {"a", "b"}),
        ("args.a.b.c == 1", {"a"}),
        ('args["a"] == 1 && args.?c.orValue(1.0) > 0.0', {"a", "c"}),
        ('subject.id == "x"', set()),
        ("size(args) > 1", None),
        ('args.exists(name, name == "x")', None),
        ("args[subject.id] == 1", None),
    ],
)
def test_a_condition_knows_which_arguments_it_reads(when: str, fields: set[str] | None) -> None:
    assert cel.Condition(when).arguments == fields


@pytest.mark.parametrize("text", ["(" * 5000 + "true" + ")" * 5000, " + ".join(["1"] * 4000) + " == 1"])
def test_a_condition_that_is_too_deep_is_an_error_of_the_policy(text: str) -> None:
    with pytest.raises(cel.ConditionError, match="nested too deeply"):
        cel.Condition(text)


def test_a_loop_past_its_budget_counts_as_failed() -> None:
    condition = cel.Condition("args.l.exists(x, args.l.exists(y, x != y))")
    assert condition.holds(cel.activation({"args": {"l": ["a"] * 50}})) is False
    assert condition.holds(cel.activation({"args": {"l": ["a"] * 5000}})) is None
