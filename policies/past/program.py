"""What a bundle remembers of the past: its monitors and limits, by the scope that they look back over."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType
from typing import Final, Literal, TypeAlias

from policies.budgets import Window
from policies.past.joint import Joint, joint_of
from policies.past.monitor import Monitor
from policies.past.slices import Sliced

_MEMO_LIMIT: Final = 4_096  # the sets of atoms that come are few; callers choose them, so they are bounded
JOINED_FROM: Final = 4
"""Monitors in one look: fewer are better stepped one by one."""
JOINED_AT_USE: Final = 16
"""Writing the steps of a set out together costs as much as a hundred looks: what is rare is not worth it."""
_FEW: Final = 64  # monitors whose truths cost less to know, asked or not, than a step does
_MOST_JOINED: Final = 10_000
"""Monitors in all joint steps together, about 10 MiB."""
_NO_JOINTS: Final[Mapping[Scope, Joint]] = MappingProxyType({})


class Scope(StrEnum):
    """How far back, and over whose actions, a rule looks."""

    SESSION = "session"  # one run of one agent
    WORKFLOW = "workflow"  # all sessions that descend from one root by delegation, across agents
    AGENT = "agent"  # all sessions of one agent


Counted: TypeAlias = Literal["sum", "actions", "denials"]


@dataclass(frozen=True, slots=True, kw_only=True)
class PastMonitor:
    """The `past` clause of some rules that say the same.

    Attributes:
        identity: 16 bytes, the same in every bundle that has this very formula over these very atoms.
        sliced: the monitor with its keys, where the rule has `by`.
        witnessed: whether only a success that a key with the grant `witness` reported counts.
        reach_us: how far it looks back; None = as far as the scope goes.
    """

    identity: bytes
    scope: Scope
    monitor: Monitor
    sliced: Sliced | None
    witnessed: bool
    restricting: bool
    reach_us: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Limit:
    """The `limit` clause of some rules that say the same.

    Attributes:
        atom: bit of the rule's own `on` and `when`: what is counted.
        amount: number of the measure that is summed; None = actions or denials are counted.
        key: number of the measure by which accounts are kept apart; None = one account.
        above: for a sum in the units of `policies.quantities`, else a number of actions.
    """

    identity: bytes
    scope: Scope
    counted: Counted
    atom: int
    amount: int | None
    key: int | None
    window: Window
    above: int

    def counts(self, certainly: int) -> bool:
        """Whether an event of which the atom possibly holds counts: where that grants, only if it holds for certain."""
        return self.window.restricting or bool(self.atom & certainly)


class Program:
    """All that one bundle remembers; the numbers of monitors and limits mean nothing without it.

    Attributes:
        account_of: by limit, the number of its account: limits that differ only in what they stand `above` share one.
        relevant: bit set of the atoms that matter to the past of any scope.
        defers: scopes in which an action is taken in only when its outcome is known or the next one comes.
        used: the scopes that anything looks back over.
    """

    def __init__(self, monitors: Sequence[PastMonitor], limits: Sequence[Limit]) -> None:
        self.monitors = tuple(monitors)
        self.limits = tuple(limits)
        accounts = {limit.identity: number for number, limit in reversed(list(enumerate(self.limits)))}
        self.account_of = tuple(accounts[limit.identity] for limit in self.limits)
        self.defers = frozenset(one.scope for one in monitors if one.monitor.nested_done)
        self.used = frozenset(one.scope for one in monitors) | frozenset(one.scope for one in limits)
        self.relevant = 0
        for one in monitors:
            self.relevant |= one.monitor.relevant
        for limit in limits:
            self.relevant |= limit.atom
        self._masks = {scope: self._mask(scope) for scope in Scope}
        self._touched: dict[tuple[Scope, int], tuple[int, ...]] = {}
        self._limited: dict[tuple[Scope, int], tuple[int, ...]] = {}
        self._by_value: dict[tuple[Scope, int], tuple[int, ...]] = {}
        self._joints: dict[tuple[int, int], Mapping[Scope, Joint]] = {}
        self._uses: dict[tuple[int, int], int] = {}
        self._joined = 0

    def touched(self, scope: Scope, possibly: int) -> tuple[int, ...]:
        """The monitors that an event with these atoms may change. Cost: a lookup for a set seen before."""
        key = (scope, possibly & self._masks[scope])
        found = self._touched.get(key)
        if found is None:
            if len(self._touched) >= _MEMO_LIMIT:
                self._touched.clear()
            found = self._touched[key] = tuple(
                number
                for number, one in enumerate(self.monitors)
                if one.scope is scope and (one.monitor.relevant & possibly or not one.monitor.skippable)
            )
        return found

    def by_value(self, scope: Scope, possibly: int) -> tuple[int, ...]:
        """Those of `touched` that have a state for each value. Cost: a lookup for a set seen before."""
        key = (scope, possibly & self._masks[scope])
        found = self._by_value.get(key)
        if found is None:
            if len(self._by_value) >= _MEMO_LIMIT:
                self._by_value.clear()
            touched = self.touched(scope, possibly)
            found = self._by_value[key] = tuple(
                one for one in touched if self.monitors[one].sliced is not None
            )
        return found

    def joints(self, possibly: int, certainly: int) -> Mapping[Scope, Joint]:
        """By scope, the step of all monitors without keys at once; empty until that is worth it.

        Where a scope has many, it is that of the touched ones alone.
        """
        return self._joints.get((possibly & self.relevant, certainly & self.relevant), _NO_JOINTS)

    def stepped_one_by_one(self, possibly: int, certainly: int) -> None:
        """A look at an event with these atoms has stepped `JOINED_FROM` monitors, each by itself.

        Cost: a lookup; the `JOINED_AT_USE`-th time 1 ms.
        """
        key = (possibly & self.relevant, certainly & self.relevant)
        uses = self._uses.get(key, 0) + 1
        if len(self._uses) >= _MEMO_LIMIT or self._joined > _MOST_JOINED:
            self._uses.clear()
            self._joints.clear()
            self._joined = 0
        self._uses[key] = uses
        if uses == JOINED_AT_USE:
            self._joints[key] = self._join(possibly, certainly)

    def _join(self, possibly: int, certainly: int) -> Mapping[Scope, Joint]:
        joints: dict[Scope, Joint] = {}
        for scope in Scope:
            touched = self.touched(scope, possibly)
            own = [number for number, one in enumerate(self.monitors) if one.scope is scope]
            joined = [
                number
                for number in (own if len(own) <= _FEW else touched)
                if self.monitors[number].sliced is None
            ]
            if joined:
                monitors = {number: self.monitors[number].monitor for number in joined}
                joints[scope] = joint_of(monitors, touched=touched, possibly=possibly, certainly=certainly)
                self._joined += len(joined)
        return joints

    def limited(self, scope: Scope, possibly: int) -> tuple[int, ...]:
        """The limits that count an event with these atoms, one an account. Cost: a lookup for a set seen before."""
        key = (scope, possibly & self._masks[scope])
        found = self._limited.get(key)
        if found is None:
            if len(self._limited) >= _MEMO_LIMIT:
                self._limited.clear()
            found = self._limited[key] = tuple(
                number for number, one in enumerate(self.limits) if one.scope is scope and one.atom & possibly
            )
        return found

    def _mask(self, scope: Scope) -> int:
        mask = 0
        for one in self.monitors:
            if one.scope is scope:
                mask |= one.monitor.relevant
        for limit in self.limits:
            if limit.scope is scope:
                mask |= limit.atom
        return mask


NOTHING: Final = Program((), ())
