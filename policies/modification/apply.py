"""Operations applied to an action's arguments: new arguments and what was changed, or why they cannot be."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Final, NamedTuple, TypeAlias, assert_never

import orjson

from policies.action import Json
from policies.modification.effort import Effort, TooMuchError
from policies.modification.finders import secrets
from policies.modification.operations import (
    AllowList,
    Clamp,
    Mask,
    Operation,
    Redact,
    Remove,
    Set,
    form_of,
)
from policies.modification.places import (
    MAX_DEPTH,
    NOTHING,
    Nothing,
    Place,
    TooDeepError,
    edited,
    mapped,
    steps_of,
)
from policies.modification.redaction import label, redacted
from policies.quantities import amount_of

LIMIT_BYTES: Final = 1 << 20
MASK: Final = "*"
_EXACT_INTEGER: Final = 2**53


class Change(NamedTuple):
    """What one operation changed; no values.

    Args:
        at: its pointer; times: how many values, or stretches of text, it changed.
    """

    at: str
    operation: str
    times: int


class Refused(NamedTuple):
    """Why arguments cannot be rewritten as a rule says; `because` names no value."""

    at: str
    operation: str
    because: str


class Applied(NamedTuple):
    """Args: arguments: the very same object where nothing was changed."""

    arguments: Mapping[str, Json]
    changes: tuple[Change, ...]


class _RefusedError(Exception):
    """A value that an operation does not take."""


_Counts: TypeAlias = Counter[str]


def apply(arguments: Mapping[str, Json], operations: Sequence[Operation]) -> Applied | Refused:
    """Apply operations in their order.

    Args:
        arguments: already past the door; never mutated.
    Cost: a copy of what is changed, and that of what is looked for; bounded by the door's limits on depth and size,
        which hold for the result, and for each operation by `effort.MOST_TRIES`.
    """
    changes: list[Change] = []
    found = arguments
    for operation in operations:
        counts: _Counts = Counter()
        try:
            found = edited(found, steps_of(operation.at), _edit(operation, counts, Effort()))
        except _RefusedError as refused:
            return Refused(operation.at, name_of(operation), str(refused))
        except TooMuchError:
            return Refused(operation.at, name_of(operation), "there is too much in it to look through")
        except TooDeepError:
            return Refused(operation.at, name_of(operation), f"it is deeper than {MAX_DEPTH} levels")
        changes += [Change(operation.at, name, count) for name, count in counts.items() if count]
    if found is arguments or (len(operations) > 1 and form_of(dict(found)) == form_of(dict(arguments))):
        # What one operation undoes of another was not changed.
        return Applied(arguments, ())
    if (wrong := _too_large(found)) is not None:
        last = operations[-1]
        return Refused(last.at, name_of(last), wrong)
    return Applied(found, tuple(changes))


def name_of(operation: Operation) -> str:
    """As rules write it."""
    match operation:
        case Set():
            return "set"
        case Clamp():
            return "clamp"
        case Remove():
            return "remove"
        case Redact():
            return "redact"
        case Mask():
            return "mask"
        case AllowList():
            return "allow-list"
        case _:
            assert_never(operation)


def _too_large(arguments: Mapping[str, Json]) -> str | None:
    try:
        size_bytes = len(orjson.dumps(arguments))
    except orjson.JSONEncodeError:
        return "what remains is no JSON"
    if size_bytes > LIMIT_BYTES:
        return f"what remains has more than {LIMIT_BYTES} bytes"
    level: list[Json] = [dict(arguments)]
    for _ in range(MAX_DEPTH):
        level = [
            child
            for one in level
            for child in (one.values() if isinstance(one, dict) else one if isinstance(one, list) else ())
            if isinstance(child, dict | list)
        ]
        if not level:
            return None
    return f"what remains is deeper than {MAX_DEPTH} levels"


def _edit(operation: Operation, counts: _Counts, effort: Effort) -> Callable[[Place], Place]:
    """The edit of one operation; what it changes is added to `counts`."""
    match operation:
        case Set():
            return lambda value: _set(operation, value, counts)
        case Remove():
            return lambda value: _remove(value, counts)
        case Clamp():
            return lambda value: _clamped(operation, value, counts)
        case AllowList():
            return lambda value: _allowed(operation, value, counts)
        case Mask():
            return _Below(lambda text: _masked(operation, text, counts))
        case Redact():
            return _Redacting(operation, counts, effort)
        case _:
            assert_never(operation)


def _set(operation: Set, value: Place, counts: _Counts) -> Place:
    if not isinstance(value, Nothing) and form_of(value) == form_of(operation.value):
        return value
    counts["set"] += 1
    return operation.value


def _remove(value: Place, counts: _Counts) -> Place:
    if value is not NOTHING:
        counts["remove"] += 1
    return NOTHING


def _clamped(operation: Clamp, value: Place, counts: _Counts) -> Place:
    if isinstance(value, Nothing):
        return value
    if isinstance(value, list):
        return mapped(value, lambda item: _clamped(operation, item, counts))
    amount = amount_of(value)
    if amount is None:
        raise _RefusedError("it is not a number")
    for bound, beyond in ((operation.least, -1), (operation.most, 1)):
        limit = None if bound is None else amount_of(bound)
        if limit is not None and bound is not None and (amount - limit) * beyond > 0:
            counts["clamp"] += 1
            # A decimal that was sent as text stays one: it may have more digits than a JSON number can.
            return _as_text(bound) if isinstance(value, str) else _as_number(bound)
    return value


def _as_text(bound: int | float | str) -> str:
    return bound if isinstance(bound, str) else text_of_number(bound)


def _as_number(bound: int | float | str) -> int | float:
    number = float(bound) if isinstance(bound, str) else bound
    whole = isinstance(number, float) and number.is_integer() and abs(number) < _EXACT_INTEGER
    return int(number) if whole else number


def _allowed(operation: AllowList, value: Place, counts: _Counts) -> Place:
    if isinstance(value, Nothing):
        return value
    if isinstance(value, list):
        kept = [item for item in value if form_of(item) in operation.forms]
        if value and not kept:
            # To many tools an empty list says "all", or "everyone".
            raise _RefusedError("nothing in it is in the list")
        counts["allow-list"] += len(value) - len(kept)
        return value if len(kept) == len(value) else kept
    if form_of(value) not in operation.forms:
        raise _RefusedError("it is not in the list")
    return value


def text_of_number(number: int | float) -> str:
    """A number's text as it is hidden or searched: a whole one without a point."""
    return str(int(number)) if float(number).is_integer() and abs(number) < _EXACT_INTEGER else repr(number)


def _masked(operation: Mask, text: str, counts: _Counts) -> str:
    shown = text[len(text) - operation.keep_last :] if len(text) > operation.keep_last else ""
    masked = MASK * (len(text) - len(shown)) + shown
    counts["mask"] += masked != text
    return masked


class _Below:
    """The edit of every text and number at a place and below it."""

    def __init__(self, edit: Callable[[str], str]) -> None:
        self._edit = edit

    def __call__(self, value: Place) -> Place:
        return self._at(value, 0)

    def _at(self, value: Place, depth: int) -> Place:
        if depth > MAX_DEPTH:
            raise TooDeepError
        if isinstance(value, str):
            after = self._edit(value)
            return value if after == value else after
        if isinstance(value, int | float) and not isinstance(value, bool):
            text = text_of_number(value)
            after = self._edit(text)
            return value if after == text else after
        if isinstance(value, list):
            return mapped(value, lambda item: self._at(item, depth + 1))
        if isinstance(value, dict):
            return self._members(value, depth)
        return value

    def _members(self, members: dict[str, Json], depth: int) -> dict[str, Json]:
        changed = False
        kept: dict[str, Json] = {}
        for name, value in members.items():
            new_name, after = self._member(name, value, depth + 1)
            assert not isinstance(after, Nothing)
            changed = changed or after is not value or new_name != name
            if new_name in kept:
                raise _RefusedError("two names in it would become one")
            kept[new_name] = after
        return kept if changed else members

    def _member(self, name: str, value: Json, depth: int) -> tuple[str, Place]:
        return name, self._at(value, depth)


class _Redacting(_Below):
    """The edit of a `redact`: in texts, in numbers and in names; a secret is told by its name, too."""

    def __init__(self, operation: Redact, counts: _Counts, effort: Effort) -> None:
        super().__init__(self._redacted)
        self._operation = operation
        self._counts = counts
        self._effort = effort

    def _redacted(self, text: str) -> str:
        operation = self._operation
        after, counts = redacted(text, operation.kinds, operation.region, self._effort)
        for kind, count in counts.items():
            self._counts[f"redact {kind}"] += count
        return after

    def __call__(self, value: Place) -> Place:
        return self._named(steps_of(self._operation.at)[-1], value, 0)

    def _member(self, name: str, value: Json, depth: int) -> tuple[str, Place]:
        return self._redacted(name), self._named(name, value, depth)

    def _named(self, name: str, value: Place, depth: int) -> Place:
        """A value by the name under which it stands; of a list, each item's."""
        if "secret" in self._operation.kinds and secrets.is_name(name):
            if _may_be_secret(value):
                self._counts["redact secret"] += 1
                return label("secret")
            if isinstance(value, list):
                if depth > MAX_DEPTH:
                    raise TooDeepError
                return mapped(value, lambda item: self._named(name, item, depth + 1))
        return self._at(value, depth)


def _may_be_secret(value: Place) -> bool:
    if isinstance(value, str):
        return value not in ("", label("secret"))
    return isinstance(value, int | float) and not isinstance(value, bool)
