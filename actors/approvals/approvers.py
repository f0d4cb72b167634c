"""Who may approve: roles and groups as they stand now, segregation of duties, and whose place a delegate takes.

Asked at the time of an approval, and again when approvals are counted: whoever lost the role since does not count.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from typing import NamedTuple

from actors.approvals.rows import time_of
from actors.approvals.task import AskedRule, Given, Task
from actors.directory import Directory
from actors.ids import agent_key


class Seat(NamedTuple):
    """Whether somebody may approve a rule.

    Attributes:
        holder: in whose place; None = they may not.
        why_not: in words.
        concerned: whether they may at least see it: they would be asked, were it not for what `why_not` says.
    """

    holder: str | None
    why_not: str = ""
    concerned: bool = False


class _Principal(NamedTuple):
    name: str
    roles: Collection[str]
    groups: Collection[str]

    def is_named_by(self, names: Collection[str]) -> bool:
        """Whether any of `role:NAME`, `group:NAME`, `type:id` speaks of them."""
        for name in names:
            kind, _, rest = name.partition(":")
            # A principal of the type `role` is nobody's role: the two are never taken for each other.
            if kind == "role":
                found = rest in self.roles
            elif kind == "group":
                found = rest in self.groups
            else:
                found = name == self.name
            if found:
                return True
        return False


def seat_of(directory: Directory, task: Task, rule: AskedRule, who: str, now_us: int) -> Seat:
    """Whether `who` (`type:id`) may approve a rule of a task now, and in whose place. Cost: a few lookups."""
    principal = _principal(directory, task.tenant, who)
    if principal is None:
        return Seat(None, f"`{who}` is not a registered principal")
    asked = _asked(task, rule, now_us)
    own = principal.is_named_by(asked)
    holder = who if own else _delegated_by(directory, task, rule, who, asked, now_us)
    concerned = own or holder is not None or principal.is_named_by((*rule.terms.by, *rule.terms.then_to))
    if holder is None:
        if concerned:
            from_us = task.requested_us + (rule.terms.after_us or 0)
            return Seat(None, f"those of `then_to` may decide from {time_of(from_us)} on", concerned=True)
        return Seat(None, f"rule `{rule.rule}` takes {' or '.join(f'`{one}`' for one in asked)}")
    # INVARIANT (segregation): neither the delegate nor who delegated is somebody who may not approve.
    for one in dict.fromkeys((who, holder)):
        if why := excluded(directory, task, rule, one):
            return Seat(None, why, concerned=True)
    # INVARIANT (one each): one person, and one seat, counts once.
    for given in rule.given:
        if who in (given.approver, given.seat) or holder in (given.approver, given.seat):
            once = "" if given.approver == who else "; who delegates and their delegate count once"
            return Seat(None, f"`{given.approver}` has approved it already{once}", concerned=True)
    return Seat(holder, concerned=True)


def standing(directory: Directory, task: Task) -> Iterator[tuple[str, tuple[Given, ...]]]:
    """The approvals of each rule that still count."""
    for rule in task.rules:
        yield (
            rule.rule,
            tuple(one for one in rule.given if _stands(directory, task, rule, one)),
        )


def may_act(task: Task, now_us: int) -> list[str]:
    """Whom to tell of a task: whoever may be asked of the rules that still wait, as `by` names them, and delegates."""
    found: dict[str, None] = {}
    for rule in task.rules:
        if not rule.approved:
            found |= dict.fromkeys(_asked(task, rule, now_us))
    found |= dict.fromkeys(one.to for one in task.delegated if one.until_us > now_us)
    return list(found)


def _stands(directory: Directory, task: Task, rule: AskedRule, given: Given) -> bool:
    """Whether an approval still counts: of whom it was, and in whose place, by what they are now."""
    asked = (*rule.terms.by, *rule.terms.then_to)
    for name in dict.fromkeys((given.approver, given.seat)):
        if _principal(directory, task.tenant, name) is None or excluded(directory, task, rule, name):
            return False
    holder = _principal(directory, task.tenant, given.seat)
    return holder is not None and holder.is_named_by(asked)


def _asked(task: Task, rule: AskedRule, now_us: int) -> tuple[str, ...]:
    terms = rule.terms
    if terms.after_us is not None and now_us >= task.requested_us + terms.after_us:
        return (*terms.by, *terms.then_to)
    return terms.by


def _delegated_by(
    directory: Directory, task: Task, rule: AskedRule, who: str, asked: tuple[str, ...], now_us: int
) -> str | None:
    for one in task.delegated:
        if one.to != who or one.until_us <= now_us:
            continue
        seat = _principal(directory, task.tenant, one.seat)
        if seat is not None and seat.is_named_by(asked):
            return one.seat
    return None


def excluded(directory: Directory, task: Task, rule: AskedRule, who: str) -> str:
    """Why somebody may not approve a rule, whatever their roles; empty where nothing says so."""
    terms = rule.terms
    if "owner" in terms.exclude and _is_one_of(directory, task, who, task.owners):
        return f"`{who}` owns the agent, or it acts on their behalf: somebody else has to decide"
    if "author" in terms.exclude and _is_one_of(directory, task, who, terms.authors):
        return f"`{who}` is an author of rule `{rule.rule}`: somebody else has to decide"
    return ""


def _is_one_of(directory: Directory, task: Task, who: str, names: Collection[str]) -> bool:
    principal = _principal(directory, task.tenant, who)
    if principal is None:
        return True
    # A registered owner is free text: a bare name is taken for whoever has that id, and for that group.
    # Nobody is less of an owner for another case.
    own = {one.casefold() for one in (who, who.partition(":")[2], *principal.groups)}
    own |= {f"group:{one}".casefold() for one in principal.groups}
    own |= {f"role:{one}".casefold() for one in principal.roles}
    return principal.is_named_by(names) or not own.isdisjoint(one.strip().casefold() for one in names)


def _principal(directory: Directory, tenant: str, name: str) -> _Principal | None:
    kind, _, identity = name.partition(":")
    entry = directory.get("principal", agent_key(tenant, kind, identity))
    return None if entry is None else _Principal(name, entry["roles"], entry["groups"])
