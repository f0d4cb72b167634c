"""What an owner tells the people in the loop: one event of one approval. Pure.

An owner's outbox holds JSON; what leaves the fleet is made from the fields named here and no others.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field, fields
from datetime import UTC, datetime
from typing import Any, Final, Literal

from controlplane.errors import InputError

TEST: Final = "channel_test"
"""The event of a notice that an operator sends to see whether a channel works."""
Event = Literal[
    "approval_requested",
    "approval_granted",
    "approval_denied",
    "approval_delegated",
    "approval_expired",
    "approval_cancelled",
    "approval_consumed",
    "approval_escalated",
    "approval_reminded",
    "approval_commented",
]

_NAME_CHARACTERS: Final = 256
_TEXT_CHARACTERS: Final = 500
_ARGUMENTS_CHARACTERS: Final = 1_000
_RULES: Final = 10
_NAMES: Final = 20


class NoticeError(InputError):
    """An owner handed out what is no notice."""

    code = "invalid_notice"


@dataclass(frozen=True, slots=True, kw_only=True)
class RuleAsked:
    """A rule that waits for approval.

    Attributes:
        by, then_to: principals and roles that may approve: at once, and later.
        values: the ends of those that it objects to, each with the argument that holds it.
    """

    rule: str
    because: str = ""
    by: tuple[str, ...] = ()
    then_to: tuple[str, ...] = ()
    values: tuple[str, ...] = ()
    quorum: int = 1
    approved_by: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskTold:
    """What is told of an approval.

    Attributes:
        masked_arguments: JSON text.
        justification: the agent's own words.
        requested_at, expires_at: RFC 3339.
    """

    id: str
    state: str = ""
    agent: str = ""
    session: str = ""
    workflow: str = ""
    action: str = ""
    resource: str = ""
    masked_arguments: str = ""
    justification: str = ""
    rules: tuple[RuleAsked, ...] = ()
    requested_at: str = ""
    expires_at: str = ""
    decision_id: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Notice:
    """Args:
    id: the same whenever the same entry of the same outbox is read.
    to: principals and roles that may act now, some of them.
    concerns: whoever may act now, or could have: all of them.
    at: RFC 3339.
    actor: who did it, if anybody.
    """

    id: str
    tenant: str
    event: str
    at: str
    task: TaskTold
    to: tuple[str, ...] = ()
    actor: str = ""
    comment: str = ""
    concerns: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Notice:
        """What `to_json` of this or another version gave, after a way through JSON: what this one does not know is left
        out, what that one did not know is empty."""
        task = _known(TaskTold, value["task"])
        task["rules"] = tuple(RuleAsked(**_known(RuleAsked, rule)) for rule in task.get("rules", ()))
        return cls(**_known(cls, value) | {"task": TaskTold(**task)})


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One entry of an owner's outbox."""

    owner: str
    seq: int
    body: bytes = field(repr=False)

    @property
    def id(self) -> str:
        # The body counts too: an owner that had to begin a new journal counts from the beginning again.
        return hashlib.sha256(f"{self.owner}\0{self.seq}\0".encode() + self.body).hexdigest()[:32]


def read(entry: Entry) -> Notice:
    """A notice from an owner's outbox, every text bounded and without control characters.

    Raises: NoticeError: it is none; nothing of its content is in the text.
    """
    try:
        value = json.loads(entry.body)
        task, event = value["task"], str(value["event"])
        told = TaskTold(
            **{
                name: clean(_text(task.get(name)))
                for name in (
                    "id", "state", "agent", "session", "workflow", "action", "requested_at", "expires_at",
                    "decision_id",
                )
            },
            resource=clean(_resource(task.get("resource"))),
            # INVARIANT (no raw arguments): only what the owner masked leaves the fleet; `arguments` and
            # `approved_arguments` are not looked at.
            masked_arguments=clean(_text(task.get("masked_arguments")), _ARGUMENTS_CHARACTERS),
            justification=clean(_text(task.get("justification")), _TEXT_CHARACTERS),
            rules=tuple(_rule(rule) for rule in (task.get("rules") or ())[:_RULES]),
        )  # fmt: skip
        return Notice(
            id=entry.id,
            tenant=_text(value.get("tenant")) or "default",
            event=clean(event),
            at=clean(_text(value.get("at"))),
            task=told,
            to=_names(value.get("to")),
            actor=clean(_text(value.get("actor"))),
            comment=clean(_text(value.get("comment")), _TEXT_CHARACTERS),
            concerns=_concerned(value.get("to") or (), task.get("rules") or ()),
        )
    except (ValueError, LookupError, TypeError, AttributeError, ArithmeticError, RecursionError) as error:
        raise NoticeError(
            f"entry {entry.seq} of the outbox of `{entry.owner}` is no notice ({type(error).__name__})"
        ) from None


def clean(text: str, characters: int = _NAME_CHARACTERS) -> str:
    """One line of visible characters, cut to a length: nothing that steers a terminal, a header or the eye.

    Zero-width characters and those that turn the direction of writing go as well: an approver must see what it says.
    """
    seen = "".join(
        char if char.isprintable() else " " if char.isspace() else "\N{REPLACEMENT CHARACTER}"
        for char in text[: characters + 1]
    )
    return seen if len(text) <= characters else seen[: characters - 1] + "…"


def sample(tenant: str, *, now_us: int) -> Notice:
    """What is sent to try a channel."""
    now = datetime.fromtimestamp(now_us // 1_000_000, UTC).isoformat().replace("+00:00", "Z")
    return Notice(
        id="test",
        tenant=tenant,
        event=TEST,
        at=now,
        task=TaskTold(id="apr_test", state="none", agent="nobody", action="call", resource="tool:none"),
        comment="a test by an operator: nobody has to do anything",
    )


def _known(kind: type, value: Mapping[str, Any]) -> dict[str, Any]:
    """The fields of a dataclass that are there; lists as tuples."""
    found = {one.name: value[one.name] for one in fields(kind) if one.name in value}
    return {name: tuple(one) if isinstance(one, list) else one for name, one in found.items()}


def _rule(value: Mapping[str, Any]) -> RuleAsked:
    given: Iterable[Mapping[str, Any]] = value.get("approvals") or ()
    return RuleAsked(
        rule=clean(_text(value["rule"])),
        because=clean(_text(value.get("because")), _TEXT_CHARACTERS),
        by=_names(value.get("by")),
        then_to=_names(value.get("then_to")),
        values=_names(f"{one['at']} {one['shown']}" for one in (value.get("values") or ())[:_NAMES]),
        quorum=int(value.get("quorum") or 1),
        approved_by=_names([approval["approver"] for approval in given]),
    )


def _concerned(to: Iterable[Any], rules: Iterable[Mapping[str, Any]]) -> tuple[str, ...]:
    """INVARIANT (nobody left out): of all rules, and before any list is cut: channels are chosen by it."""
    named = (name for rule in rules for name in (*(rule.get("by") or ()), *(rule.get("then_to") or ())))
    return tuple(sorted({clean(str(name)) for name in (*to, *named)}))


def _names(values: Iterable[Any] | None) -> tuple[str, ...]:
    return tuple(clean(str(value)) for value in list(values or ())[:_NAMES])


def _resource(value: Any) -> str:
    return f"{value.get('type')}:{value.get('id')}" if isinstance(value, dict) else _text(value)


def _text(value: Any) -> str:
    """Text as it is; what else JSON has, as JSON."""
    if value is None:
        return ""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, separators=(",", ":"))
