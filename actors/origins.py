"""The origins that an owner keeps for its workflows: awake in memory, resting in the journal.

A workflow knows what it was asked and what its actions returned for as long as the active bundle looks at origins. What
happened while none did is unknown, and restricts (`Origins.missed`).
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass
from hashlib import blake2b
from typing import Final

from actors import origin_journal
from actors.journal import Journal, Transaction
from policies.origin.happened import Happened, from_bytes, to_bytes
from policies.origin.origins import Origins

ORIGINS_AWAKE: Final = 1_000
"""Workflows of one owner whose origins stay in memory."""
DIGESTS_AWAKE: Final = 1_000_000
"""Digests of all of them; each takes about 90 bytes, and a workflow that has read much knows nine thousand."""
_PARTS: Final = 32
_PARTS_BYTES: Final = 16_384
_BLIND_UNTIL: Final = "origins_blind_until_us"
_BLIND: Final = "origins_blind"


@dataclass(slots=True)
class _Awake:
    """Attributes:
    parts, size: what happened since its state was written to the journal, and in bytes; last_part: the highest number.
    whole: whether the journal's state and parts make up all of it; otherwise the next thing writes the state.
    digests: how many it knew when it was counted last.
    """

    origins: Origins
    key: bytes
    last_part: int = 0
    parts: int = 0
    size: int = 0
    whole: bool = False
    digests: int = 0


class WorkflowOrigins:
    """Of one owner. Not thread-safe.

    Args:
        key: from which each workflow's own is derived.
    """

    def __init__(self, journal: Journal, key: bytes) -> None:
        self._journal = journal
        self._key = blake2b(key, person=b"cp origin flows").digest()
        self._awake: OrderedDict[str, _Awake] = OrderedDict()
        self._told: list[tuple[str, Happened]] = []
        self._digests = 0
        self._blind_until_us = int(journal.meta(_BLIND_UNTIL, 0))

    def use(self, step: Transaction, *, looks: bool, now_us: int) -> None:
        """Another bundle decides from now on. Args: looks: whether it, or its shadow, looks at origins."""
        blind = bool(self._journal.meta(_BLIND, 1))
        if looks and blind:
            self._blind_until_us = now_us
            step.set_meta(_BLIND_UNTIL, now_us)
        step.set_meta(_BLIND, int(not looks))
        self._rest_all()

    def of(self, workflow: str, *, since_us: int) -> Origins:
        """What a workflow knows.

        Args:
            since_us: when it began, if that is known, else 0.
        Cost: a lookup; for one that rests, an index lookup and a decoding.
        """
        return self._entry(workflow, since_us).origins

    def tell(self, workflow: str, happened: Happened, *, since_us: int) -> None:
        """Let something have happened; `save` makes it durable, in the transaction of what it happened in."""
        happened.tell(self._entry(workflow, since_us).origins)
        self._told.append((workflow, happened))

    def save(self, step: Transaction, *, now_us: int) -> None:
        """Write what was told since the last time. Cost: a row each; now and then the whole state of a workflow."""
        told, self._told = self._told, []
        rows = []
        for workflow, happened in told:
            entry = self._awake[workflow]
            raw = to_bytes(happened, entry.key)
            entry.last_part += 1
            entry.parts += 1
            entry.size += len(raw)
            rows.append((workflow, entry.last_part, now_us, raw))
        origin_journal.save_parts(step, rows)
        for workflow in dict.fromkeys(workflow for workflow, _ in told):
            entry = self._awake[workflow]
            self._count(entry)
            if not entry.whole or entry.parts > _PARTS or entry.size > _PARTS_BYTES:
                origin_journal.save_state(
                    step, workflow, at_us=now_us, state=entry.origins.to_bytes(entry.key)
                )
                entry.parts = entry.size = 0
                entry.whole = True

    def rest_surplus(self) -> None:
        """Never within a batch, whose changes are not yet written."""
        while len(self._awake) > ORIGINS_AWAKE or (self._digests > DIGESTS_AWAKE and self._awake):
            _, entry = self._awake.popitem(last=False)
            self._digests -= entry.digests

    def forget_memory(self) -> None:
        """What did not become durable is not remembered."""
        self._rest_all()
        self._told.clear()
        if self._journal.usable:
            self._blind_until_us = int(self._journal.meta(_BLIND_UNTIL, 0))

    def _rest_all(self) -> None:
        self._awake.clear()
        self._digests = 0

    def _count(self, entry: _Awake) -> None:
        known = entry.origins.digests
        self._digests += known - entry.digests
        entry.digests = known

    def _entry(self, workflow: str, since_us: int) -> _Awake:
        entry = self._awake.get(workflow)
        if entry is None:
            entry = self._awake[workflow] = self._wake(workflow, since_us)
            self._count(entry)
        else:
            self._awake.move_to_end(workflow)
        return entry

    def _wake(self, workflow: str, since_us: int) -> _Awake:
        key = blake2b(workflow.encode(), key=self._key).digest()
        kept = origin_journal.read_origins(self._journal, workflow)
        if kept is None:
            entry = _Awake(Origins(), key)
        else:
            origins = Origins() if kept.state is None else Origins.from_bytes(kept.state, key)
            for part in kept.parts:
                from_bytes(part, key).tell(origins)
            entry = _Awake(
                origins, key, kept.last_part, len(kept.parts), sum(map(len, kept.parts)), whole=True
            )
            # Parts without a state are what came after the rest was forgotten.
            since_us = 0 if kept.state is None else kept.at_us
        if since_us < self._blind_until_us:
            # INVARIANT (blind): what nobody watched may have said anything; the journal is told before it says of a
            # later time that somebody watched.
            entry.origins.missed()
            entry.whole = False
        return entry
