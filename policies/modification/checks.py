"""A rule's `modify`, checked before any action comes."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from typing import Any, Final, NamedTuple

from policies.cel_types import Arguments
from policies.error import did_you_mean
from policies.modification.documents import ClampDocument, ModifyDocument
from policies.modification.finders.phones import is_region
from policies.modification.places import MAX_DEPTH, steps_of
from policies.quantities import amount_of
from policies.rule_documents import RuleDocument

MOST_BYTES: Final = 16_384
"""Of one rule's operations as JSON: they are kept beside each decision that they changed."""

_INDEX: Final = re.compile(r"\d+|\*|-")
_OPERATIONS: Final = tuple(
    field.alias or name for name, field in ModifyDocument.model_fields.items() if name not in ("at", "region")
)
_NUMBERS: Final = ("decimal", "integer", "number")
_TEXTS: Final = ("string", "iban", "email", "url", "date", "datetime")
_MOST_DIGITS: Final = 15


class Mistake(NamedTuple):
    """What is wrong; `path`: where in the rule."""

    path: tuple[str | int, ...]
    code: str
    message: str
    hint: str = ""
    at_key: bool = False


def check_modify(rule: RuleDocument, own: Callable[[], Arguments]) -> Iterator[Mistake]:
    """Every mistake in `modify`, or that there is one or none.

    Args:
        own: what the resources that the rule can match say of their arguments.
    """
    if rule.modify is None:
        if rule.then == "modify":
            hint = "say what is changed: `modify: [{at: /body, redact: card-number}]`"
            yield Mistake(("then",), "missing_key", "missing key `modify`", hint)
        return
    if rule.then != "modify":
        message = f"`modify` says how an action is rewritten; this rule says `then: {rule.then}`"
        yield Mistake(("modify",), "nothing_to_modify", message, at_key=True)
        return
    size = 0
    for index, one in enumerate(rule.modify):
        path = ("modify", index)
        for mistake in _check(one, own):
            yield mistake._replace(path=(*path, *mistake.path))
        size += len(json.dumps(one.model_dump(exclude_unset=True)))
    if size > MOST_BYTES:
        message = f"the operations take {size} bytes as JSON; at most {MOST_BYTES}"
        yield Mistake(("modify",), "too_large", message, at_key=True)


def _check(one: ModifyDocument, own: Callable[[], Arguments]) -> Iterator[Mistake]:
    said = [key for key in _OPERATIONS if key.replace("-", "_") in one.model_fields_set]
    if len(said) != 1:
        found = " and ".join(f"`{key}`" for key in said) or "none"
        listed = ", ".join(f"`{key}`" for key in _OPERATIONS)
        message = f"one operation at a place, found {found}"
        yield Mistake((), "invalid_modify", message, f"one of {listed}; several stand one after the other")
        return
    yield from _check_pointer(one, own())
    if one.clamp is not None:
        yield from _check_clamp(one.clamp)
    if one.region is not None:
        yield from _check_region(one)
    values: list[Any] = one.allow_list or ([one.set] if said == ["set"] else [])
    for value in values:
        if (wrong := _wrong_json(value, len(steps_of(one.at)))) is not None:
            yield Mistake((said[0],), "invalid_value", wrong)


def _check_pointer(one: ModifyDocument, own: Arguments) -> Iterator[Mistake]:
    steps = steps_of(one.at)
    if any(_INDEX.fullmatch(step) for step in steps):
        meant = "/".join(["", *(step for step in steps if not _INDEX.fullmatch(step))])
        message = f"`{one.at}` names a place in a list; lists are reached into without saying so"
        hint = f"write `{meant}` for every item" if meant else "pointers begin with an argument's name: `/to`"
        yield Mistake(("at",), "invalid_pointer", message, hint)
        return
    name = steps[0]
    if own.listed is not None and name not in own.listed:
        message = f"no resource that the rule can match lists the argument `{name}`"
        hint = did_you_mean(name, own.listed) or "pointers begin with an argument's name: `/to`"
        yield Mistake(("at",), "unknown_argument", message, hint)
        return
    type_ = own.types.get(name, "any") if len(steps) == 1 else "any"
    if one.clamp is not None and type_ in (*_TEXTS, "boolean"):
        message = f"`{name}` is catalogued as {type_}, which has no bounds"
        yield Mistake(("clamp",), "ill_typed", message, at_key=True)
    if "set" in one.model_fields_set and not _is_of(one.set, type_):
        message = (
            f"`{name}` is catalogued as {type_}: with this value every condition that reads it would fail"
        )
        yield Mistake(("set",), "ill_typed", message, at_key=True)


def _check_clamp(clamp: ClampDocument) -> Iterator[Mistake]:
    amounts = {}
    for name in ("min", "max"):
        bound = getattr(clamp, name)
        if bound is None:
            continue
        amounts[name] = amount_of(bound)
        if amounts[name] is None or _wrong_json(bound, 0) is not None:
            hint = "write digits alone, with a point before a fraction, such as `50000` or `250.50`"
            yield Mistake(("clamp", name), "invalid_number", f"`{bound}` is not a number", hint)
            return
    if not amounts:
        yield Mistake(("clamp",), "invalid_modify", "a clamp needs `min`, `max` or both", at_key=True)
    elif len(amounts) == 2 and amounts["min"] > amounts["max"]:  # type: ignore[operator]
        message = f"no number lies between `{clamp.min}` and `{clamp.max}`"
        yield Mistake(("clamp",), "invalid_modify", message, at_key=True)


def _check_region(one: ModifyDocument) -> Iterator[Mistake]:
    assert one.region is not None
    if "phone" not in (one.redact or ()):
        message = (
            "`region` says whose phone numbers `redact: phone` finds, and nothing is redacted of that kind"
        )
        yield Mistake(("region",), "invalid_modify", message, at_key=True)
    elif not is_region(one.region):
        message = f"nothing is known of phone numbers in `{one.region}`"
        yield Mistake(("region",), "unknown_region", message, "two capital letters, such as `DE`")


def _is_of(value: Any, type_: str) -> bool:
    if type_ in _TEXTS:
        return isinstance(value, str)
    if type_ in _NUMBERS:
        return amount_of(value) is not None
    kind = {"boolean": bool, "list": list, "object": dict}.get(type_)
    return kind is None or isinstance(value, kind)


def _wrong_json(value: Any, depth: int) -> str | None:
    """Why the door would not take a value that a rule puts there; None = it would."""
    if depth > MAX_DEPTH:
        return f"it would stand deeper than {MAX_DEPTH} levels"
    if isinstance(value, str) and any("\ud800" <= one <= "\udfff" for one in value):
        return "it holds a lone surrogate, which is no character"
    if isinstance(value, float):
        digits = repr(value).lower().partition("e")[0].replace("-", "").replace(".", "").strip("0")
        if len(digits) > _MOST_DIGITS:
            return f"`{value}` has more than {_MOST_DIGITS} significant digits; write it in quotes"
    children = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    inner = (_wrong_json(child, depth + 1) for child in children)
    return next((one for one in inner if one is not None), None)
