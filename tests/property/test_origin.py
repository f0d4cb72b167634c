"""Trust never grows where it must not, whatever is read, said and asked, and in whatever order."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import permutations
from typing import Any

from hypothesis import example, given, settings
from hypothesis import strategies as st

from policies.catalog import ARGUMENT_ROLES, ArgumentType
from policies.origin import Fact, Origins, TokenHasher, Unit, told_by_result, told_by_task, units_of
from policies.origin.facts import DERIVED, ECHO, FACTS, TASK, TRUSTED, UNTRUSTED
from policies.origin.folding import fold
from policies.origin.hashing import WORD_MASK, pairs
from policies.origin.origins import Judged
from policies.origin.tokens import read

HASHER = TokenHasher(b"the key of every replica")
KEY = b"the key of one workflow"
VALUES = (
    "ann@example.com", "DE89 3704 0044 0532 0130 00", "https://example.com/a?b=1", "Alice", "Alice Smith",
    "Riverside View Hotel", "user_42", "2024-05-15 10:00", "+1 555 123 4567", "s3cr3t!pass", "no. 4711",
)  # fmt: skip

values = st.sampled_from(VALUES)
results = st.tuples(
    st.just("result"),
    st.lists(values, max_size=3),
    st.sampled_from(["trusted", "identifiers", "untrusted"]),
    st.sampled_from([Fact.TRUSTED, Fact.UNKNOWN, Fact.UNTRUSTED]),
)
sayings = st.tuples(st.just("say"), values)
tasks = st.tuples(st.just("task"), values)
stories = st.lists(results | sayings | tasks, max_size=6)
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=40) | values,
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8) | values, inner, max_size=4)
    ),
    max_leaves=12,
)


def tell(origins: Origins, event: tuple[Any, ...], source: int) -> None:
    match event:
        case ("result", said, trust, looked_up):
            told = told_by_result(
                list(said), {"default": trust}, default="untrusted", hasher=HASHER, complete=True
            )
            origins.result(told, source=source, looked_up=looked_up)
        case ("say", value):
            origins.uttered(units_of({"x": value}, None, HASHER))
        case ("task", value):
            origins.task(told_by_task(value, HASHER))


def after(story: Sequence[tuple[Any, ...]]) -> Origins:
    origins = Origins()
    for source, event in enumerate(story):
        tell(origins, event, source)
    return origins


def judged(origins: Origins, value: str) -> Fact:
    (unit,) = (unit for unit in units_of({"x": value}, None, HASHER) if not unit.indirect)
    return origins.judge(unit).fact


@given(st.lists(results | tasks, max_size=4), values)
@settings(max_examples=60, deadline=None, derandomize=True)
def test_the_order_of_results_and_turns_does_not_matter(story: list[tuple[Any, ...]], value: str) -> None:
    assert len({judged(after(order), value) for order in permutations(story)}) == 1


@given(stories, values, results)
@settings(max_examples=300, deadline=None, derandomize=True)
def test_what_was_said_or_is_untrusted_is_never_trusted_by_a_later_result(
    story: list[tuple[Any, ...]], value: str, later: tuple[Any, ...]
) -> None:
    origins = after(story)
    before = judged(origins, value)
    tell(origins, ("say", value), 99)
    assert judged(origins, value) is before
    tell(origins, later, 100)
    now = judged(origins, value)
    assert now.badness >= before.badness
    if before is Fact.UNTRUSTED:
        assert now is Fact.UNTRUSTED


@given(stories, values, results)
@settings(max_examples=200, deadline=None, derandomize=True)
def test_a_result_that_is_not_trusted_never_makes_a_value_better(
    story: list[tuple[Any, ...]], value: str, later: tuple[Any, ...]
) -> None:
    origins = after(story)
    before = judged(origins, value)
    tell(origins, (later[0], later[1], "untrusted", later[3]), 100)
    assert judged(origins, value).badness >= before.badness


@given(stories, values)
@settings(max_examples=100, deadline=None, derandomize=True)
def test_the_task_wins_over_all(story: list[tuple[Any, ...]], value: str) -> None:
    assert judged(after([*story, ("task", value)]), value) is Fact.TRUSTED
    assert judged(after([("task", value), *story]), value) is Fact.TRUSTED


@given(stories)
@settings(max_examples=100, deadline=None, derandomize=True)
def test_origins_come_back_from_their_bytes_as_they_were(story: list[tuple[Any, ...]]) -> None:
    origins = after(story)
    again = Origins.from_bytes(origins.to_bytes(KEY), KEY)
    assert again.to_bytes(KEY) == origins.to_bytes(KEY)
    units = [unit for value in VALUES for unit in units_of({"x": value}, None, HASHER)]
    assert [again.judge(unit) for unit in units] == [origins.judge(unit) for unit in units]


@given(json_values, st.sampled_from(["trusted", "identifiers", "untrusted"]))
@settings(max_examples=200, deadline=None, derandomize=True)
def test_whatever_a_result_says_the_same_arguments_meet_it(value: Any, trust: str) -> None:
    """Each leaf of an untrusted result, used as it stands, is untrusted; of a trusted one, never worse than that."""
    origins = Origins()
    told = told_by_result(
        {"leaf": value}, {"default": trust}, default="untrusted", hasher=HASHER, complete=True
    )
    origins.result(told, source=1, looked_up=Fact.TRUSTED)
    # Not what is joined of several leaves or decoded, and no symbols: those are no tokens.
    units = [
        unit for unit in units_of({"leaf": value}, None, HASHER) if not unit.indirect and not unit.trivial
    ]
    for unit in units:
        found = origins.judge(unit)
        if trust == "trusted":
            assert found.fact in (Fact.TRUSTED, Fact.UNKNOWN)
        elif trust == "untrusted":
            assert found.fact in (Fact.UNTRUSTED, Fact.UNKNOWN)
        if unit.runs or unit.names:
            assert found.fact is not Fact.UNKNOWN or trust == "identifiers"


@given(json_values, st.sampled_from(ARGUMENT_ROLES))
@settings(max_examples=200, deadline=None, derandomize=True)
def test_whatever_is_an_argument_has_units(value: Any, role: str) -> None:
    units = units_of({"x": value}, {"x": ArgumentType(role=role)}, HASHER)
    origins = Origins()
    assert all(isinstance(origins.judge(unit), Judged) for unit in units)
    assert {unit.role for unit in units} <= {role}
    assert all(unit.path == "/x" or unit.path.startswith("/x/") for unit in units)
    assert all(len(unit.masked) <= 5 for unit in units)


@given(st.text())
@example("\u0345")
@example("ﬃ ǅ ẞ İ")
@settings(max_examples=300, deadline=None, derandomize=True)
def test_what_is_folded_is_its_own_folding(text: str) -> None:
    assert fold(fold(text)) == fold(text)


@given(st.lists(st.integers(0, WORD_MASK), max_size=80))
@settings(max_examples=100, deadline=None, derandomize=True)
def test_pairs_taken_all_at_once_are_those_taken_one_by_one(words: list[int]) -> None:
    one_by_one = [pair for place in range(len(words) - 1) for pair in pairs(words[place : place + 2])]
    assert list(pairs(words)) == one_by_one


@given(st.text(st.sampled_from("aB1 .,@/:-+#()%&=;_\n'\"éа"), max_size=60))
@settings(max_examples=300, deadline=None, derandomize=True)
def test_reading_never_fails_and_does_not_depend_on_what_surrounds(text: str) -> None:
    inside = read(f"well \n {text} \n indeed")
    alone = read(text)
    assert alone.words == inside.words[1:-1]
    assert alone.names <= inside.names


def test_the_fact_of_a_set_of_bits_is_never_better_for_more_untrust() -> None:
    for bits, fact in enumerate(FACTS):
        assert FACTS[bits | UNTRUSTED].badness >= fact.badness
        assert FACTS[bits | TASK] is Fact.TRUSTED
        assert FACTS[bits | ECHO] is fact
        if bits & TRUSTED:
            assert FACTS[bits | DERIVED].badness >= fact.badness


def test_units_are_plain() -> None:
    assert isinstance(units_of({"x": "a b"}, None, HASHER)[0], Unit)
