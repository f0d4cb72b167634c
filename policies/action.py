"""The question: a subject wants to do something to a resource, now.

Registered facts (labels, roles, attributes) and what the caller merely sent (`Resource.properties`,
`context`) stand apart: nothing a caller sends can pass for something an operator registered.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Final, NamedTuple, TypeAlias, Union

Json: TypeAlias = Union[bool, int, float, str, "list[Json]", "dict[str, Json]", None]

_NOTHING: Final[Mapping[str, Json]] = MappingProxyType({})


@dataclass(frozen=True, slots=True, kw_only=True)
class Subject:
    """Who asks. Everything but `type` and `id` comes from the registry, never from the request."""

    type: str
    id: str
    labels: tuple[str, ...] = ()
    roles: tuple[str, ...] = ()
    groups: tuple[str, ...] = ()
    owner: str | None = None
    attributes: Mapping[str, Json] = field(default_factory=dict)


class Resource(NamedTuple):
    """What it is done to. `properties` is what the caller sent; catalogued facts come from the bundle."""

    type: str
    id: str
    properties: Mapping[str, Json] = _NOTHING


class Action(NamedTuple):
    """One action to be decided, already past the door (no NUL, no NaN, bounded depth and size).

    A named tuple like all that is made for each decision: a frozen dataclass takes three times as long to make.

    Args:
        name: the action's name, `call` for tools.
        arguments: JSON object as the caller sent it; not converted yet.
        context: what else the caller sent.
        now_us: microseconds since the epoch, UTC.
    """

    tenant: str
    subject: Subject
    name: str
    resource: Resource
    now_us: int
    arguments: Mapping[str, Json] = _NOTHING
    context: Mapping[str, Json] = _NOTHING
