"""What a draft proposes, and why."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Generic, TypeVar

T = TypeVar("T", covariant=True)


@dataclass(frozen=True, slots=True, kw_only=True)
class Proposal(Generic[T]):
    """Args: value: None = left open; check: whether a person has to look before anybody relies on it."""

    value: T | None
    because: str
    check: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class ProposedArgument:
    type: str
    role: Proposal[str]
    required: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class ProposedTool:
    """One entry of a catalog."""

    name: str
    system: str | None
    effects: Proposal[tuple[str, ...]]
    boundary: Proposal[str]
    data: Proposal[tuple[str, ...]]
    returns: Proposal[Mapping[str, str]]
    args: Mapping[str, ProposedArgument] = field(default_factory=lambda: MappingProxyType({}))
