"""Rewriting against a naive reference: nothing is permitted but what the rules say, and that is stable."""

from __future__ import annotations

import copy
import json
import re
from decimal import Decimal
from typing import Any

import yaml
from hypothesis import given
from hypothesis import strategies as st

from controlplane.wire.json_input import parse
from policies.action import Resource, Subject
from policies.compile import compile_sources
from policies.effect import Effect
from policies.engine import Engine
from policies.modification.apply import Applied, Refused, apply
from policies.modification.effort import Effort, TooMuchError
from policies.modification.operations import KINDS, read, to_json
from policies.modification.redaction import redacted

CARD = "4111111111111111"
NAMES = ("a", "b", "c")
texts = st.sampled_from(["", "x", "7", "-3.50", "1e2", f"no {CARD}!", "ann@x.example", "lots"]) | st.text(
    st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=12
)
scalars = st.none() | st.booleans() | st.integers(-300, 300) | st.sampled_from([0.5, 99.5, 100.0]) | texts
values = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(NAMES), inner, max_size=3),
    max_leaves=8,
)
arguments = st.dictionaries(st.sampled_from(NAMES), values, max_size=3)
pointers = st.lists(st.sampled_from(NAMES), min_size=1, max_size=3).map(lambda steps: "/" + "/".join(steps))
bounds = st.sampled_from([-10, 0, 5.5, 100, "100.25"])
operations = st.builds(
    lambda at, said: {"at": at, **said},
    pointers,
    st.one_of(
        values.map(lambda value: {"set": value}),
        bounds.map(lambda bound: {"clamp": {"max": bound}}),
        bounds.map(lambda bound: {"clamp": {"min": bound}}),
        st.just({"remove": True}),
        st.lists(st.sampled_from(KINDS), min_size=1, unique=True).map(lambda kinds: {"redact": kinds}),
        st.integers(0, 5).map(lambda kept: {"mask": {"keep_last": kept}}),
        st.lists(scalars, min_size=1, max_size=4).map(lambda allowed: {"allow-list": allowed}),
    ),
)


@given(arguments, operations)
def test_an_operation_leaves_its_input_alone_and_changes_nothing_twice(
    before: dict[str, Any], said: dict[str, Any]
) -> None:
    kept = copy.deepcopy(before)
    found = apply(before, read([said]))
    assert before == kept
    if isinstance(found, Refused):
        assert found.at == said["at"]
        return
    assert bool(found.changes) is (found.arguments is not before)
    assert parse(json.dumps(found.arguments).encode()) == found.arguments
    again = apply(found.arguments, read([said]))
    assert again == Applied(found.arguments, ())


@given(arguments, st.lists(operations, max_size=4))
def test_operations_that_are_kept_come_to_the_same_again(
    before: dict[str, Any], said: list[dict[str, Any]]
) -> None:
    kept = read(json.loads(json.dumps(to_json(read(said)))))
    assert apply(before, kept) == apply(before, read(said))


@given(st.text(max_size=60), st.lists(st.sampled_from(KINDS), min_size=1, unique=True))
def test_what_is_redacted_is_not_found_again(text: str, kinds: list[str]) -> None:
    found, counts = redacted(text, kinds, "DE", Effort())
    assert redacted(found, kinds, "DE", Effort()) == (found, {})
    assert (found == text) is (not counts)


@given(
    st.lists(
        st.sampled_from(
            ["", "x", " ", "-", "4111", "1111", "\u200b", "é", "@", "d.e", "+49", "DE89", "=", "pwd"]
        )
    ),
    st.lists(st.sampled_from(KINDS), min_size=1, unique=True),
)
def test_pieces_of_what_is_found_are_not_found_again_either(pieces: list[str], kinds: list[str]) -> None:
    try:
        found, _ = redacted("".join(pieces), kinds, None, Effort())
    except TooMuchError:
        return
    assert redacted(found, kinds, None, Effort()) == (found, {})


# The engine, against plain Python.

GROUPS = ("4111 1111 1111 1111", "4111-1111-1111-1111", CARD)
plain_texts = st.lists(st.sampled_from(["hello", "7", *GROUPS, "x y"]), max_size=3).map(" and ".join)
plain = st.fixed_dictionaries(
    {},
    optional={
        "amount": st.integers(-5, 200) | st.sampled_from(["150.5", "7", "lots", "", None]),
        "to": st.lists(st.sampled_from(["a", "b", "c"]), max_size=3) | st.sampled_from(["a", "b"]),
        "body": plain_texts,
        "lines": st.lists(
            st.fixed_dictionaries({}, optional={"n": st.integers(0, 9), "note": plain_texts}), max_size=3
        ),
    },
)
plain_operations = st.one_of(
    st.integers(0, 150).map(lambda n: {"at": "/amount", "clamp": {"max": n}}),
    st.integers(0, 150).map(lambda n: {"at": "/amount", "clamp": {"min": n}}),
    st.sampled_from([5, "6.5"]).map(lambda n: {"at": "/amount", "set": n}),
    st.sampled_from(["amount", "to", "body", "lines", "lines/note"]).map(
        lambda at: {"at": f"/{at}", "remove": True}
    ),
    st.sampled_from(["body", "lines", "lines/note"]).map(
        lambda at: {"at": f"/{at}", "redact": "card-number"}
    ),
    st.integers(0, 4).map(lambda n: {"at": "/body", "mask": {"keep_last": n}}),
    st.sets(st.sampled_from(["a", "b"]), min_size=1).map(
        lambda all_: {"at": "/to", "allow-list": sorted(all_)}
    ),
)
CONDITIONS = (
    None,
    'has(args.body) && args.body.contains("4111")',
    "has(args.to)",
    'args.body == "hello"',
)


class Denied(Exception):
    """The reference cannot do it either."""


def naive(before: dict[str, Any], operation: dict[str, Any]) -> dict[str, Any]:
    """One operation, in the words of the page."""
    after = copy.deepcopy(before)
    first, *rest = operation["at"][1:].split("/")
    holders = [after] if not rest else [one for one in after.get(first, ()) if isinstance(one, dict)]
    name = rest[0] if rest else first
    for holder in holders:
        if "set" in operation:
            holder[name] = operation["set"]
        if name not in holder:
            continue
        value = holder[name]
        if "remove" in operation:
            del holder[name]
        elif "clamp" in operation:
            holder[name] = naive_clamp(value, operation["clamp"])
        elif "redact" in operation:
            holder[name] = naive_redact(value)
        elif "mask" in operation:
            kept = operation["mask"]["keep_last"]
            shown = value[len(value) - kept :] if len(value) > kept else ""
            holder[name] = "*" * (len(value) - len(shown)) + shown
        elif "allow-list" in operation:
            if isinstance(value, list):
                holder[name] = [one for one in value if one in operation["allow-list"]]
                if value and not holder[name]:
                    raise Denied
            elif value not in operation["allow-list"]:
                raise Denied
    return after


def naive_clamp(value: Any, clamp: dict[str, int]) -> Any:
    if not re.fullmatch(r"-?[0-9]+(\.[0-9]+)?", str(value)):
        raise Denied
    for bound, beyond in ((clamp.get("min"), -1), (clamp.get("max"), 1)):
        if bound is not None and (Decimal(str(value)) - bound) * beyond > 0:
            return str(bound) if isinstance(value, str) else bound
    return value


def naive_redact(value: Any) -> Any:
    if isinstance(value, list):
        return [naive_redact(one) for one in value]
    if isinstance(value, dict):
        return {name: naive_redact(one) for name, one in value.items()}
    return re.sub("|".join(GROUPS), "[card number]", value) if isinstance(value, str) else value


def holds(condition: str | None, given: dict[str, Any]) -> bool:
    """Possibly: what fails restricts."""
    match CONDITIONS.index(condition):
        case 0:
            return True
        case 1:
            return "body" in given and "4111" in given["body"]
        case 2:
            return "to" in given
        case _:
            return "body" not in given or given["body"] == "hello"


def all_of(given: dict[str, Any], said: list[dict[str, Any]]) -> dict[str, Any]:
    for operation in said:
        given = naive(given, operation)
    return given


Rules = list[tuple[str | None, list[dict[str, Any]]]]


def expected(given: dict[str, Any], rules: Rules) -> dict[str, Any] | None:
    """What may be executed; None = it is denied."""

    def changing(now: dict[str, Any]) -> list[list[dict[str, Any]]]:
        found = []
        for condition, said in rules:
            if not holds(condition, now):
                continue
            try:
                if json.dumps(all_of(now, said), sort_keys=True) == json.dumps(now, sort_keys=True):
                    continue
            except Denied:
                pass
            found.append(said)
        return found

    try:
        after = given
        for said in changing(given):
            after = all_of(after, said)
    except Denied:
        return None
    if json.dumps(after, sort_keys=True) == json.dumps(given, sort_keys=True) and not changing(given):
        return given
    return None if changing(after) else after


rules_strategy = st.lists(
    st.tuples(st.sampled_from(CONDITIONS), st.lists(plain_operations, min_size=1, max_size=2)), max_size=3
)


@given(plain, rules_strategy)
def test_nothing_is_permitted_but_what_the_rules_say(given: dict[str, Any], rules: Rules) -> None:
    written = [{"id": "all", "then": "allow"}] + [
        {"id": f"m{number}", "then": "modify", "modify": said, **({} if when is None else {"when": when})}
        for number, (when, said) in enumerate(rules)
    ]
    catalog = {"kind": "Catalog", "tools": {"t": {"effects": [], "data": []}}}
    policy = {"kind": "Policy", "name": "p", "rules": written}
    text = yaml.safe_dump_all([catalog, policy])
    engine = Engine(compile_sources([("p.yaml", text)]))
    kept = copy.deepcopy(given)
    session = engine.open_session("s", Subject(type="agent", id="bot"))
    decision = engine.decide(
        session, resource=Resource(type="tool", id="t"), arguments=given, context={}, now_us=1
    )
    assert given == kept
    wanted = expected(given, rules)
    if wanted is None:
        assert not decision.permitted
        assert decision.verdict.reason_code in ("rewrite_refused", "rewrite_unstable")
        return
    assert decision.permitted, decision.verdict
    assert json.dumps(decision.rewriting.action.arguments, sort_keys=True) == json.dumps(
        wanted, sort_keys=True
    )
    assert (decision.verdict.effect is Effect.MODIFY) is (wanted != given)
