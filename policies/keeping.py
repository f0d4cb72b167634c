"""How evidence keeps the arguments of an action: in clear, masked, as a keyed digest, or encrypted for their subject.

What the catalog says nothing of is masked. Pointers reach into lists without saying so, as everywhere in policies;
`*` says it: `/items/*/email` and `/items/email` name the address of every item.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from enum import StrEnum
from types import MappingProxyType
from typing import Final, NamedTuple

from policies.action import Json
from policies.modification.places import steps_of

ITEMS: Final = "*"
ACTOR: Final = "actor"
SUBJECT_TYPE: Final = r"[a-z][a-z0-9_-]{0,63}"
SUBJECT_ID_CHARACTERS: Final = 256
MOST_POINTERS: Final = 64
"""Of one resource."""

_SUBJECT: Final = re.compile(
    rf"(?P<type>{SUBJECT_TYPE}):(?:(?P<at>(?:/[^/*\x00]{{1,256}}){{1,16}})|(?P<id>[^/\x00][^\x00]*))"
)


class Mode(StrEnum):
    KEEP = "keep"
    MASK = "mask"
    DIGEST = "digest"
    ENCRYPT = "encrypt"


class DataSubject(NamedTuple):
    """Whose data an argument is: one that is always the same, one that an argument names, or who acts.

    Args:
        type: such as `customer`; "" = who acts.
        id: the constant; "" = it stands in the argument at `steps`.
    """

    type: str
    id: str = ""
    steps: tuple[str, ...] = ()

    def named(self, arguments: Mapping[str, Json], actor: str) -> str | None:
        """`type:id` of the subject of these arguments; None where nothing there can be an id.

        Args: actor: `type:id` of who acts.
        """
        if not self.type:
            return actor
        if self.id:
            return f"{self.type}:{self.id}"
        value: object = arguments
        for step in self.steps:
            if not isinstance(value, dict | Mapping) or step not in value:
                return None
            value = value[step]
        if isinstance(value, bool) or not isinstance(value, str | int):
            return None
        text = str(value)
        return f"{self.type}:{text}" if 0 < len(text) <= SUBJECT_ID_CHARACTERS else None


class Keeping(NamedTuple):
    """What becomes of one value; `subject`: whose key encrypts it."""

    mode: Mode
    subject: DataSubject | None = None


class Place(NamedTuple):
    """One step of the pointers: it is kept in some way itself, or places inside it are."""

    keeping: Keeping | None
    steps: Mapping[str, Place]

    @property
    def items(self) -> Place:
        """What is said of each item, where the value is a list."""
        return self.steps.get(ITEMS, self)


class ArgumentKeeping:
    """What a catalog says of the arguments of one resource. Immutable.

    Attributes:
        root: the arguments as a whole, which are never kept in one way.
        subjects: of what is encrypted, each once.
    """

    __slots__ = ("root", "subjects")

    def __init__(self, pointers: Mapping[str, Keeping]) -> None:
        """Args: pointers: none of them inside another (see `overlapping`)."""
        self.root = _place({steps_of(pointer): keeping for pointer, keeping in pointers.items()})
        self.subjects = tuple(
            dict.fromkeys(one.subject for one in pointers.values() if one.subject is not None)
        )


class ClearValues(NamedTuple):
    """Whether `keep` is obeyed, or masks: of the deployment, and of tenants that differ."""

    default: bool = True
    tenants: Mapping[str, bool] = MappingProxyType({})

    def of(self, tenant: str) -> bool:
        return self.tenants.get(tenant, self.default)


def read_subject(text: str) -> DataSubject | None:
    """`customer:/customer_id` (it stands in that argument), `customer:acme` (always that one) or `actor` (who acts);
    None: it is none of these."""
    if text == ACTOR:
        return DataSubject("")
    found = _SUBJECT.fullmatch(text)
    if found is None or len(found["id"] or "") > SUBJECT_ID_CHARACTERS:
        return None
    return DataSubject(found["type"], found["id"] or "", steps_of(found["at"]) if found["at"] else ())


def overlapping(pointers: Iterable[str]) -> Iterator[tuple[str, str]]:
    """(outer, inner) of each pointer that names what another one names, or something inside of it."""
    known: dict[tuple[str, ...], str] = {}
    named = [(tuple(step for step in steps_of(one) if step != ITEMS), one) for one in pointers]
    for steps, pointer in sorted(named, key=lambda one: len(one[0])):
        outer = next(
            (known[steps[:length]] for length in range(len(steps) + 1) if steps[:length] in known), None
        )
        if outer is not None:
            yield outer, pointer
        known[steps] = pointer


def _place(pointers: Mapping[tuple[str, ...], Keeping]) -> Place:
    below: dict[str, dict[tuple[str, ...], Keeping]] = {}
    for steps, keeping in pointers.items():
        if steps:
            below.setdefault(steps[0], {})[steps[1:]] = keeping
    return Place(pointers.get(()), MappingProxyType({step: _place(inner) for step, inner in below.items()}))


def written(steps: Sequence[str | int]) -> str:
    """A JSON pointer (RFC 6901) to one value."""
    return "".join("/" + str(step).replace("~", "~0").replace("/", "~1") for step in steps)
