"""Actions of agents whose home is elsewhere than the session: their home owners are asked first, then it is decided.

A replica carries the answer from one owner to the other, so that no owner ever waits for another.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any, NamedTuple

from actors import messages, settlements
from actors.messages import PERMITTED, DecisionRequest
from controlplane.errors import GovernanceError, UnavailableError
from controlplane.service.fleet import Fleet
from controlplane.service.lanes import Lanes
from controlplane.service.settling import Settling
from controlplane.service.turns import left_s
from controlplane.wire.authzen import EvaluationRequest

# A home that is silent takes half of the time that its caller waits: who asked for others as well still gets those.
_SHARE = 0.5


class Stale(NamedTuple):
    """Prepared with an old record or another bundle: `answer` is the home's, as one that decides would give it."""

    request: DecisionRequest
    answer: tuple[Any, ...]


Vouched = DecisionRequest | Stale | GovernanceError
"""The request, with its vouch if it takes one; or why nobody vouches for it."""


class Vouching:
    """Asks home owners. One a replica."""

    def __init__(self, fleet: Fleet, lanes: Lanes, settling: Settling) -> None:
        self._fleet = fleet
        self._lanes = lanes
        self._settling = settling

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
                tag, answers = await self._lanes.to(home, "vouch").send(
                    digest, asked, timeout_s=left_s(deadline_us) * _SHARE
                )
                if tag == messages.STALE_BUNDLE:
                    if answers == digest:
                        raise UnavailableError(
                            "the agent's home is still compiling the active bundle", code="bundle_loading"
                        )
                    answers = [(tag, answers)] * len(asked)
            except GovernanceError as error:
                for position in positions:
                    vouched[position] = error
                return
            for position, request, answer in zip(positions, asked, answers, strict=True):
                vouched[position] = _read(request, answer)

        if foreign:
            await asyncio.gather(*(ask(home, positions) for home, positions in foreign.items()))
        return vouched

    async def settle(
        self,
        requests: Sequence[DecisionRequest],
        answers: Sequence[tuple[Any, ...]],
        deadline_us: int,
    ) -> None:
        """Tell home owners what became of what they hold for these actions.

        What was permitted counts there already, so nobody waits until they have heard it. What was not is waited for:
        whoever is denied and asks for something else is not to be judged by what did not happen.
        """
        said = [
            one
            for request, answer in zip(requests, answers, strict=True)
            if (one := settlements.settled(request, answer)) is not None and one.action is None
        ]
        if said:
            self._settling.tell(one for one in said if one.verdict == PERMITTED)
            await self._settling.told(
                [one for one in said if one.verdict != PERMITTED], within_s=left_s(deadline_us)
            )

    async def give_up(self, vouched: Sequence[Vouched], deadline_us: int) -> None:
        """Tell home owners that what they hold for these actions will certainly not be used: nobody who decides has
        seen it, or the one who has says that it is void."""
        said = [
            void
            for one in vouched
            if isinstance(one, DecisionRequest) and (void := settlements.settled(one, None)) is not None
        ]
        if said:
            await self._settling.told(said, within_s=left_s(deadline_us))

    async def leave_out_unvouched(
        self,
        vouched: Sequence[Vouched],
        waiting: Sequence[int],
        answers: list[Any],
        stop_on: str | None,
        deadline_us: int,
    ) -> tuple[list[DecisionRequest], list[int]]:
        """What can be decided, and the positions of that; for whom nobody vouched, why stands in `answers`.

        Where the first deny stops, what comes after one of those is cut off `answers`.
        """
        sent: list[DecisionRequest] = []
        positions: list[int] = []
        for place, (position, one) in enumerate(zip(waiting, vouched, strict=True)):
            if isinstance(one, DecisionRequest):
                sent.append(one)
                positions.append(position)
            elif isinstance(one, GovernanceError):
                answers[position] = one
                if stop_on == "deny":
                    del answers[position + 1 :]
                    await self.give_up(vouched[place + 1 :], deadline_us)
                    break
        return sent, positions


def _read(request: DecisionRequest, answer: tuple[Any, ...]) -> Vouched:
    match answer[0]:
        case messages.VOUCHED:
            return request._replace(vouch=tuple(answer[1:]))
        case messages.STALE_RECORD | messages.STALE_BUNDLE:
            return Stale(request, answer)
        case other:
            return UnavailableError(f"an owner answered `{other}`", code="protocol_error")
