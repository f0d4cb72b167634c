"""How much of their scopes' counts workflows have used up, at their owner."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Collection
from typing import Final

from actors import asked_journal
from actors.journal import Journal, Transaction
from policies.asked.scope import Scope
from policies.asked.tallies import Tallies

TALLIES_AWAKE: Final = 2_000
"""Workflows of one owner whose counts stay in memory."""


class WorkflowTallies:
    """Of one owner. Not thread-safe."""

    def __init__(self, journal: Journal) -> None:
        self._journal = journal
        self._awake: OrderedDict[str, Tallies] = OrderedDict()
        self._changed: dict[str, Tallies] = {}

    def of(self, workflow: str) -> Tallies:
        """Cost: a lookup; for a workflow that rests, an index lookup."""
        found = self._awake.get(workflow)
        if found is None:
            found = self._awake[workflow] = asked_journal.read_tallies(self._journal, workflow)
        return found

    def add(
        self, workflow: str, scope: Scope, *, effects: Collection[str] | None, tool: str, times: int = 1
    ) -> None:
        """One more action was permitted; `save` makes it durable. Args: times: see `Tallies.after`."""
        after = self.of(workflow).after(scope, effects=effects, tool=tool, times=times)
        self._awake[workflow] = self._changed[workflow] = after

    def save(self, step: Transaction) -> None:
        if self._changed:
            asked_journal.save_tallies(step, self._changed.items())
            self._changed = {}

    def rest_surplus(self) -> None:
        """Never within a batch, whose changes are not yet written."""
        while len(self._awake) > TALLIES_AWAKE:
            self._awake.popitem(last=False)

    def forget_memory(self) -> None:
        """What did not become durable is not remembered."""
        self._awake.clear()
        self._changed = {}
