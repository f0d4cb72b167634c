"""From rows of the evidence table to what happened, as policies are told it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, cast

import orjson

from controlplane.privacy.keeping import DIGEST, ENCRYPT, IS, KEEP, argument_name
from policies.action import Json, Subject
from policies.replay.recorded import Hidden, RecordedAction, RecordedOutcome, Seen, unknown_of

COLUMNS = (
    "event_id", "event_type", "epoch_us(event_time) AS time_us", "log_id", "seq", "tenant_id", "agent_id",
    "session_id", "workflow_id", "action", "resource_type", "resource_id", "decision", "reason_code", "rule_ids",
    "reasons", "bundle_hash", "atoms", "authorization_boundary", "arguments", "outcome", "duration_us", "details",
)  # fmt: skip

_LEFT_OUT = "…"
_NOBODY = unknown_of()
_KINDS = {str(kind): kind for kind in Hidden}


@dataclass(frozen=True, slots=True)
class _Facts:
    labels: tuple[str, ...]
    owner: str | None
    roles: tuple[str, ...]
    groups: tuple[str, ...]


class Record:
    """Reads rows in order, and remembers who was registered how.

    Attributes:
        strangers: `type:id` of subjects whose registration is not in the table: their labels and roles are unknown.
    """

    def __init__(self) -> None:
        self._facts: dict[tuple[str, str, str], _Facts] = {}
        self.strangers: set[str] = set()

    def read(self, row: Mapping[str, Any]) -> RecordedAction | RecordedOutcome | None:
        """What a row tells; None: nothing that happened, but perhaps who somebody is."""
        details = _object(row["details"])
        match row["event_type"]:
            case "decision":
                return self._action(row, details)
            case "outcome":
                return RecordedOutcome(
                    decision=str(details.get("decision")),
                    status=row["outcome"],
                    witnessed=details.get("witness") is True,
                )
            case "agent_registered":
                self._facts[row["tenant_id"], "agent", row["agent_id"]] = _Facts(
                    _names(details.get("labels")), details.get("owner"), (), ()
                )
            case "principal_set":
                type_, _, id_ = str(details.get("principal")).partition(":")
                self._facts[row["tenant_id"], type_, id_] = _Facts(
                    (), None, _names(details.get("roles")), _names(details.get("groups"))
                )
        return None

    def _action(self, row: Mapping[str, Any], details: Mapping[str, Any]) -> RecordedAction:
        boundary = _object(row["authorization_boundary"])
        type_, id_ = str(boundary.get("subject_type", "agent")), row["agent_id"] or ""
        facts = self._facts.get((row["tenant_id"], type_, id_))
        unknown = _NOBODY
        subject = Subject(type=type_, id=id_)
        if facts is not None:
            unknown = unknown_of("labels", "owner", "roles", "groups")
            subject = Subject(
                type=type_,
                id=id_,
                labels=facts.labels,
                owner=facts.owner,
                roles=facts.roles,
                groups=facts.groups,
            )
        elif row["session_id"] is not None:
            self.strangers.add(f"{type_}:{id_}")
        arguments, complete = read_masked(row["arguments"])
        session = row["session_id"] or f"{type_}:{id_}"
        limits = details.get("limits")
        return RecordedAction(
            id=row["event_id"],
            time_us=row["time_us"],
            asked_us=row["time_us"] - (row["duration_us"] or 0),
            tenant=row["tenant_id"],
            subject=subject,
            session=session,
            workflow=row["workflow_id"] or session,
            action=row["action"] or "",
            resource_type=row["resource_type"] or "",
            resource_id=row["resource_id"] or "",
            arguments=arguments,
            complete=complete,
            decision=row["decision"],
            reason_code=row["reason_code"] or "",
            bundle=row["bundle_hash"] or "",
            unknown=unknown,
            rules=tuple(row["rule_ids"] or ()),
            modified=_names((details.get("modified") or {}).get("rules")),
            atoms=frozenset(row["atoms"] or ()),
            truths={rule: truth is True for rule, truth in (details.get("past") or {}).items()},
            levels={rule: one.get("level") for rule, one in (limits or {}).items()},
            approved="approval" in details,
        )


def read_masked(text: str | None) -> tuple[dict[str, Seen], bool]:
    """(arguments as far as a row shows them, whether all of them are named)."""
    arguments: dict[str, Seen] = {}
    complete = text is not None
    for name, value in _object(text).items():
        if _LEFT_OUT in name:
            complete = False  # the names of these are cut, or left out
        else:
            arguments[argument_name(name)] = _seen(value)
    return arguments, complete


def _seen(value: Json) -> Seen:
    """A value of a row: whole where nothing in it is hidden, else its kind."""
    if isinstance(value, str):
        return _KINDS.get(value.partition("(")[0], Hidden.STRING)
    if isinstance(value, list):
        items = [_seen(one) for one in value]
        return Hidden.LIST if any(isinstance(one, Hidden) for one in items) else cast("Json", items)
    if isinstance(value, dict):
        if value.keys() == {KEEP}:
            return value[KEEP]
        if value.keys() in ({DIGEST, IS}, {ENCRYPT, IS}):
            return _seen(value[IS])
        members = {argument_name(name): _seen(one) for name, one in value.items()}
        hidden = any(_LEFT_OUT in name or isinstance(one, Hidden) for name, one in members.items())
        return Hidden.OBJECT if hidden else cast("Json", members)
    return value


def _object(text: str | None) -> dict[str, Any]:
    if text is None:
        return {}
    try:
        value = orjson.loads(text)
    except orjson.JSONDecodeError:
        return {}
    return value if isinstance(value, dict) else {}


def _names(value: object) -> tuple[str, ...]:
    return tuple(map(str, value)) if isinstance(value, list) else ()
