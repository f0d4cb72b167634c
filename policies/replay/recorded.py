"""Actions as a record tells them: whole but for the values of their arguments."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TypeAlias

from policies.action import Json, Subject


class Hidden(StrEnum):
    """A value of which only the kind is known."""

    STRING = "string"
    NUMBER = "number"
    BOOLEAN = "boolean"
    LIST = "list"
    OBJECT = "object"


Seen: TypeAlias = Json | Hidden
"""A value that the record shows whole, or the kind of one that it hides."""

ALWAYS_UNKNOWN = frozenset(("context", "resource.properties"))
"""What no record holds."""

_SUBJECT_FACTS = ("labels", "roles", "groups", "owner", "attributes")


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordedAction:
    """One decided action.

    Args:
        time_us: its owner's time; asked_us: when it was asked for, which is what `now` says to conditions.
        unknown: names of what conditions may read that the record does not tell, such as `subject.attributes`.
        arguments: by name, hidden or shown; complete: whether every argument is among them.
        permitted: whether it happened; atoms, rules, truths and levels are what was found with the bundle `bundle`.
        modified: rules that rewrote it before it was decided; all else is of the rewritten action.
        approved: whether it was permitted because people had approved it: the rules escalated it.
        truths: rule → what its `past` was; levels: rule → what its `limit` stood at (None = unknown).
    """

    id: str
    time_us: int
    asked_us: int
    tenant: str
    subject: Subject
    session: str
    workflow: str
    action: str
    resource_type: str
    resource_id: str
    arguments: Mapping[str, Seen]
    complete: bool
    decision: str
    reason_code: str
    bundle: str
    unknown: frozenset[str] = ALWAYS_UNKNOWN
    rules: tuple[str, ...] = ()
    modified: tuple[str, ...] = ()
    atoms: frozenset[str] = frozenset()
    truths: Mapping[str, bool] = field(default_factory=dict)
    levels: Mapping[str, str | None] = field(default_factory=dict)
    approved: bool = False

    @property
    def permitted(self) -> bool:
        return self.decision in ("allow", "modify")

    @property
    def by_rules(self) -> str:
        """What the rules said of it, without the people who approved it."""
        return "escalate" if self.approved else self.decision


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordedOutcome:
    """What became of an action; `status`: succeeded, failed or not_executed."""

    decision: str
    status: str
    witnessed: bool


def unknown_of(*known: str) -> frozenset[str]:
    """What is not known of a subject of which `known` are."""
    return ALWAYS_UNKNOWN | {f"subject.{fact}" for fact in _SUBJECT_FACTS if fact not in known}
