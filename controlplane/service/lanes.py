"""Natural batching: one call in flight per owner; what arrives meanwhile goes in the next.

No timers: an idle lane sends as soon as nobody else is at the door, and under load one call and one fsync serve many
decisions.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Sequence
from typing import Any, Literal

from actors.messages import BATCH, DecisionRequest
from controlplane.errors import GovernanceError, OverloadedError, UnavailableError
from controlplane.service.owner_calls import OwnerCalls

log = logging.getLogger(__name__)

MAX_BATCH = 256
"""Requests in one call: half for parcels of up to `SMALL`, half for larger ones, or for a single one of any size."""
SMALL = 16
MAX_WAITING = 20_000
MAX_CALLERS = 750
"""Who wait for one owner, whatever for: half of all that are let in, so that one that is silent never holds up the
others'."""
# Beyond the longest deadline: whoever waited has been answered by then.
_CALL_TIMEOUT_S = 31.0
# How long a batch waits at most for those at the door, in turns of the event loop. That one turn which brings nobody
# ends it was measured: at 32 connections 0.49 of a no-op's rate (no turn at all 0.46, two 0.47, three 0.44).
_MOST_TURNS = 64
# How exactly deadlines are kept. One look at all who wait costs less than a timer for each.
_SWEEP_S = 0.02

Method = Literal["decide", "vouch"]


class _Parcel:
    """Requests that must travel together, and who waits for their answers."""

    __slots__ = ("answered", "deadline_s", "digest", "requests")

    def __init__(
        self,
        digest: str | None,
        requests: Sequence[DecisionRequest],
        answered: asyncio.Future[tuple[Any, ...]],
        deadline_s: float,
    ) -> None:
        self.digest = digest
        self.requests = [tuple(request) for request in requests]
        self.answered = answered
        self.deadline_s = deadline_s


class Lane:
    """The way to one owner.

    Args:
        owner: name of its actor.
        method: what it is asked.
        waiting: who waits for this owner; shared by its lanes.
    """

    def __init__(
        self, owner: str, calls: OwnerCalls, method: Method = "decide", waiting: set[_Parcel] | None = None
    ) -> None:
        self._owner = owner
        self._calls = calls
        self._method = method
        # Parcels of few requests, and of many: neither a flood of batches holds up single decisions, nor the reverse.
        self._waiting: tuple[deque[_Parcel], deque[_Parcel]] = (deque(), deque())
        self._large_turn = False
        self._size = 0
        self._answered = 0
        self._sender: asyncio.Task[None] | None = None
        self._open: set[_Parcel] = set() if waiting is None else waiting
        self._sweeping = False

    async def send(
        self, digest: str | None, requests: Sequence[DecisionRequest], *, timeout_s: float
    ) -> tuple[Any, ...]:
        """Have requests decided, in order.

        Args:
            digest: of the bundle that they were prepared with.
            timeout_s: how long the caller waits at most.
        Returns: what the owner's method returns for these requests.
        Raises: OverloadedError: the lane is full. UnavailableError: the owner did not answer in time.
        """
        if self._size + len(requests) > MAX_WAITING or len(self._open) >= MAX_CALLERS:
            raise OverloadedError(
                f"{len(self._open)} requests with {self._size} actions wait for `{self._owner}`; try again later"
            )
        loop = asyncio.get_running_loop()
        parcel = _Parcel(digest, requests, loop.create_future(), loop.time() + timeout_s)
        self._waiting[len(requests) > SMALL].append(parcel)
        self._size += len(requests)
        self._open.add(parcel)
        if self._sender is None:
            self._sender = loop.create_task(self._run())
        if not self._sweeping:
            self._sweeping = True
            loop.call_later(_SWEEP_S, self._sweep)
        try:
            return await parcel.answered
        finally:
            self._open.discard(parcel)

    def _sweep(self) -> None:
        """Answer whoever would wait past their deadline, a little early rather than late."""
        loop = asyncio.get_running_loop()
        late_s = loop.time() + _SWEEP_S
        for parcel in self._open:
            if parcel.deadline_s < late_s and not parcel.answered.done():
                parcel.answered.set_exception(
                    UnavailableError(
                        f"`{self._owner}` did not answer by the request's deadline", code="owner_timeout"
                    )
                )
        self._sweeping = bool(self._open)
        if self._sweeping:
            loop.call_later(_SWEEP_S, self._sweep)

    async def _run(self) -> None:
        try:
            while self._size:
                await self._gather()
                # A waiter that went away, or whose deadline passed, is dropped before it is sent; once sent, it
                # cannot break the others' batch.
                batch = [parcel for parcel in self._take() if not parcel.answered.done()]
                if batch:
                    await self._deliver(batch)
                    self._answered = sum(len(parcel.requests) for parcel in batch)
        finally:
            # Whatever happened, the next request starts a sender anew.
            self._sender = None

    async def _gather(self) -> None:
        """Let those who are at the door already come along: a batch costs its owner about the same whatever its size.

        Gone on with as soon as the event loop turns once without bringing anybody, so that one alone waits for
        microseconds; or half of those are here who can be expected, which are the ones who wait and those who were
        answered last: the owner decides one half while the replica answers, reads and prepares the other. Without this
        all who ask again and again end up in one batch now and then, and replica and owner then wait for each other.
        """
        enough = min(MAX_BATCH, (self._size + self._answered + 1) // 2)
        for _ in range(_MOST_TURNS):
            if self._size >= enough:
                return
            before = self._size
            await asyncio.sleep(0)
            if self._size <= before:
                return

    def _take(self) -> list[_Parcel]:
        """The parcels for the next call: as many as fit, all prepared with one bundle, the small ones first."""
        # Those of one kind choose the bundle, and the next time those of the other.
        self._large_turn = not self._large_turn
        digest = (self._waiting[self._large_turn] or self._waiting[not self._large_turn])[0].digest
        taken: list[_Parcel] = []
        for queue in self._waiting:
            size = 0
            while queue and queue[0].digest == digest:
                size += len(queue[0].requests)
                if size > MAX_BATCH // 2 and size > len(queue[0].requests):
                    break
                parcel = queue.popleft()
                taken.append(parcel)
                self._size -= len(parcel.requests)
        return taken

    async def _deliver(self, batch: list[_Parcel]) -> GovernanceError | None:
        """Have a batch decided and tell whoever waits. Returns: why it was not, if so."""
        requests = [request for parcel in batch for request in parcel.requests]
        try:
            tag, answers = await self._calls.call(
                self._owner, self._method, batch[0].digest, requests, timeout_s=_CALL_TIMEOUT_S
            )
        except Exception as error:
            ours = _as_ours(error, self._owner)
            if not _undecided(error) or len(batch) == 1:
                _fail(batch, ours)
                return ours
            # The owner choked on something in the batch and decided nothing: each parcel on its own, so that one
            # caller's request is not the fault of all.
            log.error("`%s` failed on a batch of %d; they are sent one by one", self._owner, len(batch))
            for position, parcel in enumerate(batch):
                found = None if parcel.answered.done() else await self._deliver([parcel])
                if found is not None and not _undecided(found):
                    _fail(
                        batch[position:], found
                    )  # it has gone silent meanwhile: nobody waits for it once each
                    return found
            return None
        position = 0
        for parcel in batch:
            own = answers[position : position + len(parcel.requests)] if tag == BATCH else answers
            position += len(parcel.requests)
            if not parcel.answered.done():
                parcel.answered.set_result((tag, own))
        return None


def _undecided(error: Exception) -> bool:
    """Whether the owner certainly rolled the whole batch back: it raised, rather than went silent or was not asked."""
    if isinstance(error, UnavailableError):
        return error.code == "owner_failed"
    return isinstance(error, GovernanceError) and not isinstance(error, OverloadedError)


def _as_ours(error: Exception, owner: str) -> GovernanceError:
    if isinstance(error, UnavailableError | OverloadedError):
        return error
    log.error("`%s` failed: %r", owner, error)
    return UnavailableError(f"`{owner}` failed; its log says why", code="owner_failed")


def _fail(batch: list[_Parcel], error: GovernanceError) -> None:
    for parcel in batch:
        if not parcel.answered.done():
            parcel.answered.set_exception(error)
            # Retrieved here, so that a waiter that went away leaves no "never retrieved" warning.
            parcel.answered.exception()


class Lanes:
    """One lane an owner and method."""

    def __init__(self, calls: OwnerCalls) -> None:
        self._lanes: dict[tuple[str, Method], Lane] = {}
        self._waiting: dict[str, set[_Parcel]] = {}
        self._calls = calls

    def to(self, owner: str, method: Method = "decide") -> Lane:
        lane = self._lanes.get((owner, method))
        if lane is None:
            waiting = self._waiting.setdefault(owner, set())
            lane = self._lanes[owner, method] = Lane(owner, self._calls, method, waiting)
        return lane
