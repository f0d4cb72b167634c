"""Approving less than what was asked for: smaller numbers, shorter lists, and nothing else.

INVARIANT (narrow): what comes out asks for a part of what went in. What could mean more is refused: a zero (often "no
limit"), an empty list (often "everyone"), another order, texts, fields that come or go.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any, Final

from controlplane.errors import InputError
from controlplane.wire.digest import canonical_json
from policies.action import Json

MOST_PLACES: Final = 20


def narrowed(arguments: Mapping[str, Json], narrow: Mapping[str, Json]) -> dict[str, Json]:
    """The arguments with other values at some JSON pointers.

    Args:
        narrow: pointer → a number of the same sign that is nearer to zero, or a non-empty part of a list.
    Raises: InputError: it is not less, or nothing stands there; nothing is changed.
    """
    if not 0 < len(narrow) <= MOST_PLACES:
        raise InputError(f"`narrow` names 1 to {MOST_PLACES} places", code="invalid_narrow")
    result: dict[str, Json] = copy.deepcopy(dict(arguments))
    for pointer, value in narrow.items():
        parent, key = _place(result, pointer)
        parent[key] = _less(pointer, parent[key], value)
    return result


def _less(pointer: str, old: Any, new: Any) -> Json:
    if _is_number(old) and _is_number(new):
        if abs(new) < abs(old) and old * new > 0:
            return new  # type: ignore[no-any-return]
        raise _refused(pointer, "a number becomes a smaller one of the same sign, and never zero")
    if isinstance(old, list) and isinstance(new, list):
        # In its order: the words of a command, or a range, say something else in another one.
        left = iter([canonical_json(one) for one in old])
        if not all(canonical_json(one) in left for one in new):
            raise _refused(pointer, "a list becomes a part of itself, in its order, and this is none")
        if 0 < len(new) < len(old):
            return new
        raise _refused(pointer, "a list becomes a smaller part of itself, and never empty")
    if isinstance(old, str):
        # Whether less of it is less, `"5000"` of `"12000"`, depends on what it means: of an account it is another one.
        raise _refused(
            pointer, "a text cannot be narrowed, not even one of digits: deny, and it can be asked for less"
        )
    if _is_number(old) or isinstance(old, list):
        raise _refused(
            pointer, f"here stands a {'list' if isinstance(old, list) else 'number'}: give a smaller one"
        )
    raise _refused(pointer, "only numbers and lists can be narrowed")


def _place(root: dict[str, Json], pointer: str) -> tuple[Any, Any]:
    """The object or list in which a pointer's value stands, and under what."""
    if not pointer.startswith("/") or len(pointer) > 1_024:
        raise InputError(f"`{pointer[:64]}` is no JSON pointer: `/amount`", code="invalid_narrow")
    parent: Any = None
    found: Any = root
    key: Any = None
    for part in pointer[1:].split("/"):
        name = part.replace("~1", "/").replace("~0", "~")
        parent = found
        if isinstance(parent, dict) and name in parent:
            key = name
        elif isinstance(parent, list) and name.isascii() and name.isdigit() and int(name[:9]) < len(parent):
            key = int(name[:9])
        else:
            raise InputError(f"nothing stands at `{pointer[:64]}` in the arguments", code="invalid_narrow")
        found = parent[key]
    return parent, key


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _refused(pointer: str, why: str) -> InputError:
    return InputError(f"`{pointer[:64]}`: {why}", code="invalid_narrow")
