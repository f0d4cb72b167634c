"""Actions of agents whose home is elsewhere than the session: their home owners are asked first, then it is decided.

A replica carries the answer from one owner to the other, so that no owner ever waits for another.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any, NamedTuple

from actors import messages
from actors.messages import DecisionRequest
from controlplane.errors import GovernanceError, UnavailableError
from controlplane.service.fleet import Fleet
from controlplane.service.lanes import Lanes
from controlplane.service.turns import left_s
from controlplane.wire.authzen import EvaluationRequest

# A home that is silent takes half of the time that its caller waits: who asked for others as well still gets those.
_SHARE = 0.5


class Stale(NamedTuple):
    """It was prepared with an old record: `answer` is the home owner's, as an owner that decides would give it."""

    request: DecisionRequest
    answer: tuple[Any, ...]


Vouched = DecisionRequest | Stale | GovernanceError
"""The request, with its vouch if it takes one; or why nobody vouches for it."""


class Vouching:
    """Asks home owners. One a replica."""

    def __init__(self, fleet: Fleet, lanes: Lanes) -> None:
        self._fleet = fleet
        self._lanes = lanes

    def is_foreign(self, owner: str, tenant: str, request: EvaluationRequest | DecisionRequest) -> bool:
        """Whether the agent of an action lives with another owner than the one that is to decide it."""
        if request.subject_type != "agent" or request.session is None:
            return False
        return self._fleet.owner_of(tenant, request.subject_type, request.subject_id) != owner

    async def vouch(
        self, owner: str, digest: str | None, requests: Sequence[DecisionRequest], deadline_us: int
    ) -> list[Vouched]:
        """Have each action vouched for whose agent does not live with the owner that is to decide it.

        Args:
            owner: name of the one that decides them all.
        Returns: one a request, in their order. Never raises for what a home owner answers, or does not.
        Cost: nothing but look-ups where nobody is foreign; else one call for each home owner, all at a time.
        """
        vouched: list[Vouched] = list(requests)
        foreign: dict[str, list[int]] = {}
        for position, request in enumerate(requests):
            if self.is_foreign(owner, request.tenant, request):
                home = self._fleet.owner_of(request.tenant, request.subject_type, request.subject_id)
                foreign.setdefault(home, []).append(position)

        async def ask(home: str, positions: list[int]) -> None:
            asked = [requests[position] for position in positions]
            try:
                _, answers = await self._lanes.to(home, "vouch").send(
                    digest, asked, timeout_s=left_s(deadline_us) * _SHARE
                )
            except GovernanceError as error:
                for position in positions:
                    vouched[position] = error
                return
            for position, request, answer in zip(positions, asked, answers, strict=True):
                vouched[position] = _read(request, answer)

        if foreign:
            await asyncio.gather(*(ask(home, positions) for home, positions in foreign.items()))
        return vouched

    def settle(self, requests: Sequence[DecisionRequest], answers: Sequence[tuple[Any, ...]]) -> None:
        """Tell home owners what became of what they hold for these actions: confirmed by a permission, else cancelled.

        They hold nothing yet: every `Vouch.reservation` is None.
        """


def leave_out_unvouched(
    vouched: Sequence[Vouched],
    waiting: Sequence[int],
    answers: list[Any],
    stop_on: str | None,
) -> tuple[list[DecisionRequest], list[int]]:
    """What can be decided, and the positions of that; for whom nobody vouched, why stands in `answers`.

    Where the first deny stops, what comes after one of those is cut off `answers`.
    """
    sent: list[DecisionRequest] = []
    positions: list[int] = []
    for position, one in zip(waiting, vouched, strict=True):
        if isinstance(one, DecisionRequest):
            sent.append(one)
            positions.append(position)
        elif isinstance(one, GovernanceError):
            answers[position] = one
            if stop_on == "deny":
                del answers[position + 1 :]
                break
    return sent, positions


def _read(request: DecisionRequest, answer: tuple[Any, ...]) -> Vouched:
    match answer[0]:
        case messages.VOUCHED:
            return request._replace(vouch=tuple(answer[1:]))
        case messages.STALE_RECORD:
            return Stale(request, answer)
        case other:
            return UnavailableError(f"an owner answered `{other}`", code="protocol_error")
