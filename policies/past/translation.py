"""Carrying a past from one bundle's program to another's.

What both say alike (the same formula over the same atoms, the same account) keeps what it remembers; what is new has to
be rebuilt from the record of what happened, by whoever keeps one.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from policies.bundle import Bundle
from policies.index import set_bits
from policies.past.monitor import identity
from policies.past.program import Program, Scope
from policies.past.slices import Event
from policies.past.state import Open, Past


@dataclass(frozen=True, slots=True, kw_only=True)
class Described:
    """What the numbers of one program mean, in a form that outlives its bundle.

    Attributes:
        monitors: (identity, how many slots) by number; accounts: identity by number; measures: the same.
        atoms: identity of each atom that matters to the past, by number.
    """

    monitors: tuple[tuple[str, int], ...]
    accounts: tuple[str, ...]
    measures: tuple[str, ...]
    atoms: Mapping[int, str]

    def to_json(self) -> str:
        fields: dict[str, Any] = {
            "monitors": self.monitors,
            "accounts": self.accounts,
            "measures": self.measures,
            "atoms": {str(number): one for number, one in self.atoms.items()},
        }
        return json.dumps(fields, separators=(",", ":"))

    @classmethod
    def from_json(cls, text: str) -> Described:
        fields = json.loads(text)
        return cls(
            monitors=tuple((one, slots) for one, slots in fields["monitors"]),
            accounts=tuple(fields["accounts"]),
            measures=tuple(fields["measures"]),
            atoms={int(number): one for number, one in fields["atoms"].items()},
        )


def describe(bundle: Bundle) -> Described:
    """What the numbers of a bundle's program mean. Cost: O(program); once a bundle."""
    program = bundle.program
    atoms = {}
    for number in set_bits(program.relevant):
        atom = bundle.atoms[number]
        atoms[number] = identity(json.dumps(atom.on), atom.when or "").hex()
    return Described(
        monitors=tuple((one.identity.hex(), len(one.monitor.initial)) for one in program.monitors),
        accounts=tuple(limit.identity.hex() for limit in program.limits),
        measures=tuple(
            identity(atoms.get(one.atom, ""), one.kind, one.text).hex() for one in bundle.measures
        ),
        atoms=atoms,
    )


class Translation:
    """From the numbers of one program to those of another.

    Args:
        between: programs under which something happened that a past did not see: only what they have as well keeps
            what it remembers.
    Attributes:
        new_monitors, new_accounts: numbers in the new program that the old one does not have.
    """

    def __init__(self, old: Described, new: Described, between: Sequence[Described] = ()) -> None:
        monitors = [one for one, _ in old.monitors]
        accounts: Sequence[str] = old.accounts
        for other in between:
            kept = {one for one, _ in other.monitors}
            monitors = [one if one in kept else "" for one in monitors]
            accounts = [one if one in other.accounts else "" for one in accounts]
        self._monitors = _renumbered(monitors, [one for one, _ in new.monitors])
        self._accounts = _renumbered(accounts, new.accounts)
        self._measures = _renumbered(old.measures, new.measures)
        by_atom = {one: number for number, one in new.atoms.items()}
        self._atoms = {number: by_atom[one] for number, one in old.atoms.items() if one in by_atom}
        self._new_atoms = 0
        for number in new.atoms.keys() - set(self._atoms.values()):
            self._new_atoms |= 1 << number
        self.new_monitors = frozenset(range(len(new.monitors))) - frozenset(self._monitors.values())
        self.new_accounts = frozenset(range(len(new.accounts))) - frozenset(self._accounts.values())

    def event(self, event: Event, recorded: Event | None = None) -> Event:
        """An action with the atoms of the new program.

        Args:
            recorded: the same action as the record tells it, for what holds of the atoms that are new; without it,
                any of them may hold.
        """
        possibly, certainly = self._bits(event.possibly), self._bits(event.certainly)
        if recorded is None:
            possibly |= self._new_atoms
        else:
            possibly |= recorded.possibly & self._new_atoms
            certainly |= recorded.certainly & self._new_atoms
        measures = {
            self._measures[number]: value
            for number, value in event.measures.items()
            if number in self._measures
        }
        return Event(event.time_us, possibly, certainly, measures)

    def past(self, past: Past, program: Program, scope: Scope, recorded: Sequence[Event | None] = ()) -> Past:
        """A past with the numbers of the new program; what is new in it remembers nothing yet.

        Args:
            recorded: what the record tells of those actions that are open and no reservations, in order, if it does.
        """
        moved = Past(program, scope)
        moved.position, moved.last_us = past.position, past.last_us
        monitors, accounts = self._monitors, self._accounts
        for number, slots in past.settled.slots.items():
            if number in monitors and program.monitors[monitors[number]].scope is scope:
                moved.settled.slots[monitors[number]] = slots
        for number, slices in past.settled.slices.items():
            if number in monitors and program.monitors[monitors[number]].scope is scope:
                moved.settled.slices[monitors[number]] = slices
        for number, ledger in past.ledgers.items():
            if number in accounts and program.limits[accounts[number]].scope is scope:
                moved.ledgers[program.account_of[accounts[number]]] = ledger
        told = iter(recorded)
        moved.open = [
            Open(
                event=self.event(one.event, None if one.reservation else next(told, None)),
                position=one.position,
                outcome=one.outcome,
                witnessed=one.witnessed,
                reservation=one.reservation,
            )
            for one in past.open
        ]
        return moved

    def _bits(self, bits: int) -> int:
        found = 0
        for number in set_bits(bits):
            if number in self._atoms:
                found |= 1 << self._atoms[number]
        return found


def _renumbered(old: Sequence[str], new: Sequence[str]) -> dict[int, int]:
    # Several limits may share an account: the first of them names it, in both.
    places = {one: number for number, one in reversed(list(enumerate(new)))}
    return {number: places[one] for number, one in enumerate(old) if one in places}
