"""A notice in words: what has happened, and what somebody has to decide. Pure; the same for every kind of channel."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from actors.notifications.notice import TEST, Notice, RuleAsked, clean

_HEADLINES: Final = {
    "approval_requested": "Approval needed: {agent} wants to {action} {resource}",
    "approval_reminded": "Still waiting for approval: {agent} wants to {action} {resource}",
    "approval_escalated": "Passed on for approval: {agent} wants to {action} {resource}",
    "approval_delegated": "Delegated approval: {agent} wants to {action} {resource}",
    "approval_granted": "Approved by {actor}: {agent}, {action} {resource}",
    "approval_denied": "Denied by {actor}: {agent}, {action} {resource}",
    "approval_expired": "Expired, and so denied: {agent}, {action} {resource}",
    "approval_cancelled": "Withdrawn: {agent}, {action} {resource}",
    "approval_commented": "{actor} comments: {agent}, {action} {resource}",
    "approval_consumed": "Approved and now permitted: {agent}, {action} {resource}",
    TEST: "A test of this channel",
}
_OPEN: Final = frozenset({"pending", "partial"})
_SUBJECT_CHARACTERS: Final = 150
_SCHEME: Final = re.compile(r":(?=//)|(?<=mailto):", re.IGNORECASE)
_DOMAIN: Final = re.compile(r"(?<=\w)\.(?=[^\W\d_])")


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """Args:
    subject: one line, at most 150 characters.
    facts: names and what to say, in order; none is empty.
    decide: the command that shows all there is to decide on; empty when nobody has to.
    """

    subject: str
    facts: tuple[tuple[str, str], ...]
    decide: str

    def as_text(self) -> str:
        lines = [self.subject, "", *(f"{name}: {value}" for name, value in self.facts)]
        if self.decide:
            lines += ["", f"Look at it and decide: {self.decide}"]
        return "\n".join(lines) + "\n"


def message(notice: Notice) -> Message:
    """What to say of a notice. Each fact has one line, and comes from a bounded text."""
    task = notice.task
    # Unheard-of events of later owners are told under their name.
    # Ids may look like URLs. Those of tools are an operator's to name; others' are an agent's, and so are arguments'.
    agent, action, resource = (_SCHEME.sub("[:]", text) for text in (task.agent, task.action, task.resource))
    resource = resource if resource.startswith("tool:") else unlinked(resource)
    subject = _HEADLINES.get(notice.event, "{event}: {agent}, {action} {resource}").format(
        event=notice.event,
        agent=agent,
        action=action,
        resource=resource,
        actor=notice.actor or "somebody",
    )
    facts = {
        "Approval": task.id,
        "State": task.state,
        "Agent": agent,
        "Action": f"{action} {resource}",
        "Arguments (masked)": unlinked(task.masked_arguments),
        "In the agent's words": unlinked(task.justification),
        **{f"Rule {rule.rule}": _asked(rule) for rule in task.rules},
        "May decide now": ", ".join(notice.to),
        "By": notice.actor,
        "Comment": unlinked(notice.comment),
        "Requested": task.requested_at,
        "Expires, and is denied then": task.expires_at if task.state in _OPEN else "",
    }
    return Message(
        subject=clean(subject, _SUBJECT_CHARACTERS),
        facts=tuple((name, value) for name, value in facts.items() if value.strip()),
        decide=f"controlplane approvals show {task.id}" if task.state in _OPEN else "",
    )


def unlinked(text: str) -> str:
    """What somebody wrote, so that no program that shows it makes a link of it: `https[:]//evil[.]example`.

    An approver is told to look at something and decide; where that is must not be an agent's to say.
    """
    return _DOMAIN.sub("[.]", _SCHEME.sub("[:]", text))


def _asked(rule: RuleAsked) -> str:
    who = f"{rule.quorum} of {', '.join(rule.by) or 'nobody'}"
    given = f"; given: {', '.join(rule.approved_by)}" if rule.approved_by else ""
    objected = f"; objects to {unlinked(', '.join(rule.values))}" if rule.values else ""
    because = f" ({rule.because})" if rule.because else ""
    return f"{who}{given}{objected}{because}"
