"""The values that a pointer names, edited: whatever is not edited stays the very same object, and nothing is mutated.

Pointers reach into lists without saying so, as everywhere in policies: `/items/price` names the price of every item.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from enum import Enum
from typing import Final, TypeAlias, cast

from policies.action import Json

MAX_DEPTH: Final = 32


class Nothing(Enum):
    """Stands where no value does: given to an edit for a name that is missing, returned by one that removes."""

    NOTHING = "nothing"


NOTHING: Final = Nothing.NOTHING
Place: TypeAlias = Json | Nothing
Edit: TypeAlias = Callable[[Place], Place]


class TooDeepError(Exception):
    """Deeper than the door lets in."""


def steps_of(pointer: str) -> tuple[str, ...]:
    return tuple(step.replace("~1", "/").replace("~0", "~") for step in pointer.split("/")[1:])


def edited(arguments: Mapping[str, Json], steps: tuple[str, ...], edit: Edit) -> Mapping[str, Json]:
    """The arguments with every value at `steps` edited; the very same object where none was changed.

    Args:
        edit: given the value; or `NOTHING` for a last name that is missing in an object that is there. What is not to
            change it returns as it got it.
    Raises: TooDeepError. What the edit raises.
    """
    found = _member(cast("dict[str, Json]", arguments), steps, edit, 0)
    assert isinstance(found, Mapping)
    return found


def _at(value: Place, steps: tuple[str, ...], edit: Edit, depth: int) -> Place:
    if depth > MAX_DEPTH:
        raise TooDeepError
    if not steps:
        return edit(value)
    if isinstance(value, dict):
        return _member(value, steps, edit, depth)
    if isinstance(value, list):
        return mapped(value, lambda item: _at(item, steps, edit, depth + 1))
    return value


def _member(value: dict[str, Json], steps: tuple[str, ...], edit: Edit, depth: int) -> dict[str, Json]:
    name, below = steps[0], steps[1:]
    before: Place = value.get(name, NOTHING)
    if before is NOTHING and below:
        return value
    after = _at(before, below, edit, depth + 1)
    if after is before:
        return value
    if isinstance(after, Nothing):
        return {key: one for key, one in value.items() if key != name}
    return {**value, name: after}


def mapped(items: list[Json], edit: Edit) -> list[Json]:
    """A list with each item edited, or removed; the same list where none was changed."""
    changed = False
    kept: list[Json] = []
    for item in items:
        after = edit(item)
        changed = changed or after is not item
        if not isinstance(after, Nothing):
            kept.append(after)
    return kept if changed else items
