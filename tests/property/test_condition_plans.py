"""Conditions that are evaluated together decide exactly as each would alone."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from policies import cel, thresholds
from policies.condition_plans import FUSED_AT_USE, ConditionPlan, ConditionPlans

# True, false, failing in each way that we know, reading what is not there, and text that means to break out.
TEXTS = (
    "args.amount > 10.0",
    "args.amount <= 10.0",
    "args.amount < 10.0",
    "args.amount >= 10",
    "10.0 > args.amount",
    '3.5 <= args["amount"]',
    "args.amount > -2.5",
    "args.to > 1.0",
    "args.nested > 1.0",
    "args.?amount.orValue(0.0) > 1.0",
    "!(args.amount > 3.0)",
    "args.amount > 10.0 // until here",
    'args.to == "a" || args.to == "b"',
    'args.to.matches("^[a-c]+$")',
    "args.flag",
    "args.items.exists(x, x == args.to)",
    "args.items.all(x, x.size() < 3)",
    "args.items.exists(x, args.items.exists(y, x != y))",
    "has(args.nested.deep) && args.nested.deep > 1.0",
    "args.amount / 0.0 > 1.0",
    'timestamp(args.to) > timestamp("2020-01-01T00:00:00Z")',
    'subject.id == "bot"',
    '"editor" in subject.roles',
    'subject.owner == "me"',
    "args.amount > 1.0 ? args.flag : false",
    '"""a\n// b""" == args.to',
    "true",
    "false",
)

values = st.one_of(
    st.none(),
    st.booleans(),
    st.floats(-20, 20),
    st.sampled_from([10.0, -2.5, 3.5, 3.0, -0.0]),
    st.sampled_from(["a", "b", "abc", "2026-01-01T00:00:00Z", ""]),
    st.lists(st.sampled_from(["a", "bc", "def"]), max_size=4),
    st.dictionaries(st.sampled_from(["deep", "x"]), st.floats(0, 3), max_size=2),
)
arguments = st.dictionaries(st.sampled_from(["amount", "to", "flag", "items", "nested"]), values, max_size=5)

CONDITIONS = [cel.Condition(text) for text in TEXTS]


def facts(args: dict[str, Any], owner: bool) -> dict[str, object]:
    known: dict[str, object] = {"args": args, "subject.id": "bot", "subject.roles": ["editor"]}
    return known | ({"subject.owner": "me"} if owner else {})


@settings(max_examples=300, deadline=None)
@given(
    chosen=st.lists(st.integers(0, len(TEXTS) - 1), min_size=1, max_size=len(TEXTS), unique=True),
    asked=st.lists(st.tuples(arguments, st.booleans()), min_size=1, max_size=4),
    certainly=st.integers(0, 2 ** (2 * len(TEXTS)) - 1),
)
def test_together_they_decide_as_each_would_alone(
    chosen: list[int], asked: list[tuple[dict[str, Any], bool]], certainly: int
) -> None:
    # Each condition stands for two atoms, so that masks are more than one bit.
    pairs = [(CONDITIONS[n], 0b11 << 2 * n) for n in chosen]
    everything = sum(bits for _, bits in pairs) | 1 << 2 * len(TEXTS)
    fused = ConditionPlan(pairs)
    for _ in range(FUSED_AT_USE):
        fused.evaluate(facts({}, True), 0, 0)
    for args, owner in asked:
        activation = cel.activation(facts(args, owner))
        possibly, sure = everything, everything & certainly
        for condition, bits in pairs:
            truth = condition.holds(activation)
            if truth is not True:
                sure &= ~bits
            if truth is False:
                possibly &= ~bits
        assert fused.evaluate(facts(args, owner), everything, everything & certainly) == (possibly, sure)


def test_every_text_of_this_test_can_be_fused_with_others() -> None:
    for first in range(0, len(CONDITIONS), cel.MOST_FUSED):
        assert cel.FusedConditions.of(CONDITIONS[first : first + cel.MOST_FUSED]) is not None


def test_as_many_as_may_be_fused_can_be() -> None:
    conditions = [cel.Condition(f"args.amount > {n}.0") for n in range(cel.MOST_FUSED)]
    fused = cel.FusedConditions.of(conditions)
    assert fused is not None
    assert fused.holds(cel.activation(facts({"amount": 5.5}, True))) == 0b111111


def test_the_plans_that_are_kept_are_bounded() -> None:
    plans = ConditionPlans({n: (CONDITIONS[0], 1 << n) for n in range(3_000)})
    for n in range(3_000):
        plans.of(1 << n)
    assert len(plans._plans) <= 1_000


def test_the_conditions_of_the_plans_that_are_kept_are_bounded_however_many_are_asked_at_once() -> None:
    no_threshold = cel.Condition('args.to == "a"')
    plans = ConditionPlans({n: (no_threshold, 1 << n) for n in range(300)})
    everything = (1 << 300) - 1
    for n in range(200):
        plans.of(everything & ~(1 << n))
        assert 300 <= sum(len(plan._conditions) for plan in plans._plans.values()) + 1 <= 10_001
    assert plans.of(everything) is plans.of(everything)


@settings(max_examples=300, deadline=None)
@given(
    chosen=st.lists(
        st.tuples(
            st.sampled_from(["<", "<=", ">", ">="]), st.sampled_from([-3, 0, 1, 2, 2.5, 10]), st.booleans()
        ),
        min_size=1,
        max_size=30,
        unique=True,
    ),
    values=st.lists(st.one_of(st.sampled_from([-3.0, -0.0, 2.0, 2.5, 9.9]), st.floats(-20, 20)), max_size=5),
)
def test_any_number_of_thresholds_is_looked_up_as_cel_would_decide(
    chosen: list[tuple[str, float, bool]], values: list[float]
) -> None:
    texts = [
        f"{n}.0 {op} args.x" if turned and n >= 0 else f"args.x {op} {float(n)}" for op, n, turned in chosen
    ]
    pairs = [(cel.Condition(text.replace(".5.0", ".5")), 1 << i) for i, text in enumerate(texts)]
    assert all(condition.threshold for condition, _ in pairs)
    plan = ConditionPlan(pairs)
    everything = (1 << len(pairs)) - 1
    for value in values:
        activation = cel.activation({"args": {"x": value}})
        holds = sum(atoms for condition, atoms in pairs if condition.holds(activation))
        assert plan.evaluate({"args": {"x": value}}, everything, everything) == (holds, holds)


def test_what_is_a_threshold_and_what_is_not() -> None:
    def found(text: str) -> tuple[str, str, float] | None:
        threshold = cel.Condition(text).threshold
        return None if threshold is None else (threshold.argument, threshold.operator, threshold.number)

    assert found("args.amount > 10.0") == ("amount", "_>_", 10.0)
    assert found("10 >= args.amount") == ("amount", "_<=_", 10.0)
    assert found('args["a b"] < 0.5') == ("a b", "_<_", 0.5)
    for text in (
        "args.amount == 10.0",
        "args.amount > args.limit",
        "args.a.b > 1.0",
        "args.amount + 1.0 > 2.0",
        "context.amount > 1.0",
        "size(args.items) > 2",
        "args.a > 1.0 && args.b > 1.0",
        'args.to > "a"',
        "args.amount > 9007199254740993",
    ):
        assert found(text) is None, text


@pytest.mark.parametrize("operator", ["<", "<=", ">", ">="])
def test_nothing_compares_with_nan(operator: str) -> None:
    plan = ConditionPlan([(cel.Condition(f"args.amount {operator} 10.0"), 1)])
    assert plan.evaluate({"args": {"amount": float("nan")}}, 1, 1) == (0, 0)


def test_thousands_of_thresholds_on_one_argument_are_made_ready_in_one_pass(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    unions = 0

    def counting(one: int, other: int) -> int:
        nonlocal unions
        unions += 1
        return one | other

    monkeypatch.setattr(thresholds, "or_", counting)
    steps = [
        (thresholds.Threshold(argument="amount", operator="_>_", number=float(n)), 1 << n, n)
        for n in range(3_000)
    ]
    index = thresholds.ThresholdIndex(steps)
    assert index.look_up({"amount": 2_998.5}) == (1 << 2_999, [])
    assert index.look_up({"amount": 0.0}) == ((1 << 3_000) - 1, [])
    assert unions <= len(steps)
