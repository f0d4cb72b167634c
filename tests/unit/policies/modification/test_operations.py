"""Operations at pointers: what they change, what they leave, what they refuse."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from policies.modification.apply import LIMIT_BYTES, Applied, Change, Refused, apply
from policies.modification.operations import Operation, read, to_json


def applied(arguments: dict[str, Any], *said: dict[str, Any]) -> Applied:
    before = copy.deepcopy(arguments)
    found = apply(arguments, read(said))
    assert arguments == before
    assert isinstance(found, Applied), found
    again = apply(found.arguments, read(said))
    assert isinstance(again, Applied)
    assert again.arguments is found.arguments
    return found


def refused(arguments: dict[str, Any], *said: dict[str, Any]) -> Refused:
    found = apply(arguments, read(said))
    assert isinstance(found, Refused), found
    return found


CHANGES: dict[str, tuple[dict[str, Any], dict[str, Any], dict[str, Any], int]] = {
    "set replaces": ({"a": 1}, {"at": "/a", "set": "x"}, {"a": "x"}, 1),
    "set puts what is missing": ({}, {"at": "/dry_run", "set": True}, {"dry_run": True}, 1),
    "set puts a null": ({"a": 1}, {"at": "/a", "set": None}, {"a": None}, 1),
    "set tells true from 1": ({"a": 1}, {"at": "/a", "set": True}, {"a": True}, 1),
    "set reaches into lists": (
        {"items": [{"n": 1}, {}, "x"]},
        {"at": "/items/n", "set": 0},
        {"items": [{"n": 0}, {"n": 0}, "x"]},
        2,
    ),
    "set below": ({"a": {"b": {}}}, {"at": "/a/b/c", "set": [1]}, {"a": {"b": {"c": [1]}}}, 1),
    "clamp above": ({"n": 101}, {"at": "/n", "clamp": {"max": 100}}, {"n": 100}, 1),
    "clamp below": ({"n": -0.5}, {"at": "/n", "clamp": {"min": 0}}, {"n": 0}, 1),
    "clamp keeps text a text": ({"n": "100.01"}, {"at": "/n", "clamp": {"max": 100}}, {"n": "100"}, 1),
    "clamp is exact": (
        {"n": "0.30000000000000000001"},
        {"at": "/n", "clamp": {"max": "0.3"}},
        {"n": "0.3"},
        1,
    ),
    "clamp to a fraction": ({"n": 3}, {"at": "/n", "clamp": {"max": "2.5"}}, {"n": 2.5}, 1),
    "clamp reads exponents": ({"n": "1e3"}, {"at": "/n", "clamp": {"max": 100}}, {"n": "100"}, 1),
    "clamp reaches into lists": (
        {"n": [1, [200, 3], 300]},
        {"at": "/n", "clamp": {"max": 100}},
        {"n": [1, [100, 3], 100]},
        2,
    ),
    "clamp below lists": (
        {"lines": [{"n": 5}, {"n": 500}]},
        {"at": "/lines/n", "clamp": {"max": 100}},
        {"lines": [{"n": 5}, {"n": 100}]},
        1,
    ),
    "remove": ({"a": 1, "b": 2}, {"at": "/a", "remove": True}, {"b": 2}, 1),
    "remove below lists": (
        {"a": [{"b": 1, "c": 2}, {"c": 3}]},
        {"at": "/a/b", "remove": True},
        {"a": [{"c": 2}, {"c": 3}]},
        1,
    ),
    "an escaped name": ({"a/b": 1, "c~d": 2}, {"at": "/a~1b", "remove": True}, {"c~d": 2}, 1),
    "mask": ({"a": "secret"}, {"at": "/a", "mask": {}}, {"a": "******"}, 1),
    "mask all but": ({"a": "DE8937"}, {"at": "/a", "mask": {"keep_last": 4}}, {"a": "**8937"}, 1),
    "mask what is short": ({"a": "8937"}, {"at": "/a", "mask": {"keep_last": 4}}, {"a": "****"}, 1),
    "mask numbers and below": (
        {"a": {"b": [123456, 1.5, None, True, ""]}},
        {"at": "/a", "mask": {"keep_last": 1}},
        {"a": {"b": ["*****6", "**5", None, True, ""]}},
        2,
    ),
    "a list of what is allowed": (
        {"to": ["a@x.example", "b@x.example", "a@x.example", ["a@x.example"]]},
        {"at": "/to", "allow-list": ["a@x.example"]},
        {"to": ["a@x.example", "a@x.example"]},
        2,
    ),
    "allowed numbers": ({"n": [1, 1.0, "1", True]}, {"at": "/n", "allow-list": [1]}, {"n": [1, 1.0]}, 2),
    "allowed objects": (
        {"n": [{"b": 1, "a": 2}, {"a": 1}]},
        {"at": "/n", "allow-list": [{"a": 2, "b": 1}]},
        {"n": [{"b": 1, "a": 2}]},
        1,
    ),
}


@pytest.mark.parametrize(("before", "said", "after", "count"), CHANGES.values(), ids=CHANGES)
def test_an_operation_changes_what_it_names(
    before: dict[str, Any], said: dict[str, Any], after: dict[str, Any], count: int
) -> None:
    found = applied(before, said)
    assert found.arguments == after
    (operation,) = said.keys() - {"at"}
    assert found.changes == (Change(said["at"], operation, count),)


UNCHANGED: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "an equal value": ({"a": {"b": 1.0}}, {"at": "/a", "set": {"b": 1}} | {"set": {"b": 1.0}}),
    "within bounds": ({"n": 100}, {"at": "/n", "clamp": {"min": 0, "max": 100}}),
    "no name": ({"n": 1}, {"at": "/m", "clamp": {"max": 0}}),
    "no object": ({"n": 1}, {"at": "/n/m", "set": 0}),
    "no object above": ({}, {"at": "/n/m", "set": 0}),
    "nothing to remove": ({"n": [1, {}]}, {"at": "/n/m", "remove": True}),
    "nothing to find": ({"n": "hello 4111"}, {"at": "/n", "redact": ["card-number", "email", "iban"]}),
    "masked already": ({"n": "**8937"}, {"at": "/n", "mask": {"keep_last": 4}}),
    "allowed": ({"n": "a", "m": ["a"]}, {"at": "/n", "allow-list": ["a"]}),
    "an empty list": ({"n": []}, {"at": "/n", "allow-list": ["a"]}),
}


@pytest.mark.parametrize(("before", "said"), UNCHANGED.values(), ids=UNCHANGED)
def test_what_would_change_nothing_is_the_same_object(before: dict[str, Any], said: dict[str, Any]) -> None:
    found = applied(before, said)
    assert found.arguments is before
    assert found.changes == ()


REFUSED: dict[str, tuple[dict[str, Any], dict[str, Any], str]] = {
    "a text": ({"n": "lots"}, {"at": "/n", "clamp": {"max": 1}}, "it is not a number"),
    "a number in another script": ({"n": "٣"}, {"at": "/n", "clamp": {"max": 1}}, "it is not a number"),
    "a null": ({"n": None}, {"at": "/n", "clamp": {"max": 1}}, "it is not a number"),
    "a boolean": ({"n": True}, {"at": "/n", "clamp": {"max": 0}}, "it is not a number"),
    "one of a list": ({"n": [1, {}]}, {"at": "/n", "clamp": {"max": 5}}, "it is not a number"),
    "not in the list": ({"n": "b"}, {"at": "/n", "allow-list": ["a"]}, "it is not in the list"),
    "nothing of a list": (
        {"n": ["b", "c"]},
        {"at": "/n", "allow-list": ["a"]},
        "nothing in it is in the list",
    ),
    "an object": ({"n": {"a": 1}}, {"at": "/n", "allow-list": ["a"]}, "it is not in the list"),
    "names that become one": (
        {"n": {"a@x.example": 1, "b@x.example": 2}},
        {"at": "/n", "redact": ["email"]},
        "two names in it would become one",
    ),
}


@pytest.mark.parametrize(("before", "said", "because"), REFUSED.values(), ids=REFUSED)
def test_what_an_operation_does_not_take_is_refused_without_its_value(
    before: dict[str, Any], said: dict[str, Any], because: str
) -> None:
    (operation,) = said.keys() - {"at"}
    assert refused(before, said) == Refused("/n", operation, because)


def test_operations_apply_in_their_order_and_what_is_undone_was_not_changed() -> None:
    found = applied({"a": 500, "b": 1}, {"at": "/a", "clamp": {"max": 100}}, {"at": "/b", "remove": True})
    assert found.arguments == {"a": 100}
    assert found.changes == (Change("/a", "clamp", 1), Change("/b", "remove", 1))
    undone = apply({"a": 1}, read([{"at": "/a", "set": 2}, {"at": "/a", "set": 1}]))
    assert undone == Applied({"a": 1}, ())


def test_what_remains_is_no_larger_and_no_deeper_than_the_door_takes() -> None:
    many = {"a": [{} for _ in range(2_000)]}
    found = refused(many, {"at": "/a/text", "set": "x" * 1_000})
    assert found.because == f"what remains has more than {LIMIT_BYTES} bytes"
    deep: Any = {}
    for _ in range(28):
        deep = {"a": deep}
    found = refused({"a": deep}, {"at": "/a" * 16, "set": deep})
    assert found.because == "what remains is deeper than 32 levels"


def test_a_walk_ends_at_the_depth_that_the_door_takes() -> None:
    deep: Any = "4111 1111 1111 1111"
    for _ in range(40):
        deep = [deep]
    assert (
        refused({"a": deep}, {"at": "/a", "redact": ["card-number"]}).because == "it is deeper than 32 levels"
    )
    assert refused({"a": deep}, {"at": "/a/b", "remove": True}).because == "it is deeper than 32 levels"


def test_operations_are_what_their_json_says() -> None:
    said: list[dict[str, Any]] = [
        {"at": "/a", "set": {"x": None}},
        {"at": "/a", "clamp": {"min": 0, "max": "2.50"}},
        {"at": "/a", "clamp": {"max": 1}},
        {"at": "/a", "remove": True},
        {"at": "/a", "redact": ["card-number", "phone"], "region": "DE"},
        {"at": "/a", "mask": {"keep_last": 4}},
        {"at": "/a", "allow-list": [False, 1, "b"]},
    ]
    operations: tuple[Operation, ...] = read(said)
    assert to_json(operations) == said
    assert read(to_json(operations)) == operations
    shuffled = read(
        [{"at": "/a", "allow-list": ["b", 1, False, 1]}, {"at": "/a", "redact": ["phone", "card-number"]}]
    )
    assert shuffled == (read([said[6]])[0], read([{"at": "/a", "redact": ["card-number", "phone"]}])[0])
