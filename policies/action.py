"""The question: a subject wants to do something to a resource, now.

Registered facts (labels, roles, attributes) and what the caller merely sent (`Resource.properties`,
`context`) stand apart: nothing a caller sends can pass for something an operator registered.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TypeAlias, Union

Json: TypeAlias = Union[bool, int, float, str, "list[Json]", "dict[str, Json]", None]


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


@dataclass(frozen=True, slots=True, kw_only=True)
class Resource:
    """What it is done to. `properties` is what the caller sent; catalogued facts come from the bundle."""

    type: str
    id: str
    properties: Mapping[str, Json] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Action:
    """One action to be decided, already past the door (no NUL, no NaN, bounded depth and size).

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
    arguments: Mapping[str, Json] = field(default_factory=dict)
    context: Mapping[str, Json] = field(default_factory=dict)
    now_us: int
