"""What an enforcement point makes of an answer: a clean allow for exactly these arguments, or a deny.

The checks stand here, apart from HTTP, because they are the last line: whatever the network, a proxy or a
newer service answers, only an allow that this version understands in every part lets an action through.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import rfc8785


@dataclass(frozen=True, slots=True, kw_only=True)
class Reason:
    """A rule that matched: `rule` is `policy/rule`, `controls` the clauses of regulations it carries out."""

    rule: str
    because: str
    controls: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """What may be done with one action; true in a condition only if it is allowed.

    Args:
        effect: `allow`, `deny`, `modify` or `escalate`, as answered; `deny` where there was no usable answer.
        reason_code: stable; the service's own, or why this client denies: `unreachable`, `http_<status>`,
            `invalid_arguments`, `malformed_answer`, `digest_mismatch`, `expired`, `obligation_not_supported`.
        message: the same for people; may be empty.
        id: name of the decision, to report the outcome under; empty if none was answered.
        arguments_digest: SHA-256 of the RFC 8785 form of what may be executed, hex, computed here; where nothing may,
            of what was asked.
        arguments: what may be executed, with an effect of `modify` instead of what was asked; None where nothing may.
        modified: of a dry run: what the arguments would be rewritten to; else None.
        expires_at: an allow holds until then, for one execution.
        replayed: answered before under the same idempotency key; the action may have been executed already.
        binding_token: of an escalation that people can approve, for `ControlPlane.request_approval`; else empty.
        raw: the answer as it came.
    """

    allowed: bool
    effect: str
    reason_code: str
    message: str = ""
    id: str = ""
    reasons: tuple[Reason, ...] = ()
    arguments_digest: str = ""
    arguments: Mapping[str, Any] | None = None
    modified: Mapping[str, Any] | None = None
    expires_at: datetime | None = None
    session: str | None = None
    replayed: bool = False
    binding_token: str = ""
    raw: Mapping[str, Any] = field(default_factory=dict)

    def __bool__(self) -> bool:
        return self.allowed


def arguments_digest(arguments: Mapping[str, Any]) -> str:
    """SHA-256 over the RFC 8785 form of the arguments, as hex: what an allow is bound to.

    Raises: ValueError: a value JSON has no exact form for (NaN, an integer past 2^53, an object of your own).
    """
    return hashlib.sha256(rfc8785.dumps(arguments)).hexdigest()


def denied(reason_code: str, message: str, **known: Any) -> Decision:
    """A deny of this client's own."""
    return Decision(allowed=False, effect="deny", reason_code=reason_code, message=message, **known)


def read_answer(
    answer: object, *, asked: Mapping[str, Any], asked_digest: str, now: datetime, modifies: bool = False
) -> Decision:
    """The decision in an AuthZEN answer of status 200.

    Args:
        answer: the parsed body.
        asked: the arguments that were asked for; asked_digest: their digest.
        modifies: whether the caller executes `Decision.arguments`; else a modification is a deny.
        now: aware time by this machine's clock; if it runs ahead of the service's, allows expire early.
    """
    if not isinstance(answer, dict) or not isinstance(answer.get("decision"), bool):
        return denied("malformed_answer", "the answer is no authzen decision", arguments_digest=asked_digest)
    context = answer.get("context")
    if not isinstance(context, dict):
        context = {}
    known: dict[str, Any] = {
        "id": _text(context, "id"),
        "reasons": _reasons(context.get("reasons")),
        "arguments_digest": asked_digest,
        "expires_at": _time(context.get("expires_at")),
        "session": _text(context, "session") or None,
        "replayed": context.get("replayed") is True,
        "raw": answer,
    }
    effect, reason_code = _text(context, "effect"), _text(context, "reason_code")
    if answer["decision"] is False:
        dry_run = context.get("dry_run") is True
        access = context.get("access_request")
        return Decision(
            allowed=False,
            effect=effect or "deny",
            reason_code=reason_code or "denied",
            message=_text(context, "detail"),
            modified=_modified(context.get("obligations")) if dry_run else None,
            binding_token=_text(access, "binding_token") if isinstance(access, dict) else "",
            **known,
        )
    arguments: Mapping[str, Any] | None = asked
    if context.get("obligations") or effect == "modify":
        arguments = _modified(context.get("obligations"))
        if arguments is None:
            return denied(
                "obligation_not_supported", "this client cannot carry out these obligations", **known
            )
        if not modifies:
            message = (
                "the arguments are to be rewritten; say `modifies=True` and execute `decision.arguments`"
            )
            return denied("obligation_not_supported", message, **known)
        try:
            known["arguments_digest"] = arguments_digest(arguments)
        except (ValueError, TypeError, RecursionError):
            return denied("malformed_answer", "the rewritten arguments have no exact json form", **known)
    if effect != ("allow" if arguments is asked else "modify") or not known["id"] or context.get("dry_run"):
        return denied("malformed_answer", f"a permit with effect `{effect}` and id `{known['id']}`", **known)
    found, own = context.get("arguments_digest"), known["arguments_digest"]
    if found != own:
        return denied("digest_mismatch", f"the allow is for arguments `{found}`, not `{own}`", **known)
    if known["expires_at"] is None or known["expires_at"] <= now:
        return denied("expired", f"the allow ended at `{context.get('expires_at')}`", **known)
    return Decision(allowed=True, effect=effect, reason_code=reason_code, arguments=arguments, **known)


def _modified(obligations: object) -> Mapping[str, Any] | None:
    """The arguments of the one obligation that this client understands; None for any other, and for more than it."""
    match obligations:
        case [{"type": "custom", "properties": {"modify_arguments": dict(arguments), **rest}}] if not rest:
            return arguments
        case _:
            return None


def _text(context: Mapping[str, Any], key: str) -> str:
    value = context.get(key)
    return value if isinstance(value, str) else ""


def _time(value: object) -> datetime | None:
    if not isinstance(value, str):
        return None
    try:
        moment = datetime.fromisoformat(value)
    except ValueError:
        return None
    return moment.astimezone(UTC) if moment.tzinfo else None


def _reasons(value: object) -> tuple[Reason, ...]:
    if not isinstance(value, list):
        return ()
    return tuple(
        Reason(
            rule=_text(reason, "rule"),
            because=_text(reason, "because"),
            controls=tuple(str(control) for control in reason.get("controls") or ()),
        )
        for reason in value
        if isinstance(reason, dict)
    )
