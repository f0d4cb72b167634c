"""The decision door: prepare an action here, have its owner decide it, answer as AuthZEN says."""

from __future__ import annotations

import asyncio
import itertools
import logging
import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import NamedTuple

from actors import messages
from actors.api_keys import Caller
from actors.messages import Decided, DecisionRequest
from controlplane.errors import (
    ConflictError,
    ForbiddenError,
    GovernanceError,
    UnavailableError,
)
from controlplane.privacy.data_keys import DataKeys
from controlplane.service.authorization import refuse_foreign
from controlplane.service.bundles import BundleCache
from controlplane.service.explanations import explanation
from controlplane.service.fleet import Fleet
from controlplane.service.lanes import Lanes
from controlplane.service.modifying import UNREPEATABLE, Said, said_of
from controlplane.service.owner_calls import OwnerCalls
from controlplane.service.preparing import Preparing
from controlplane.service.problems import status_of
from controlplane.service.rate_limits import RateLimiter
from controlplane.service.settling import Settling
from controlplane.service.turns import left_s
from controlplane.service.vouching import Stale, Vouching
from controlplane.wire import authzen
from controlplane.wire.authzen import BatchRequest, EvaluationRequest, ItemError, Semantic
from policies.effect import Effect

log = logging.getLogger(__name__)

# An activation and a changed record can each cost one more attempt.
_ATTEMPTS = 4
_BETWEEN_OWNERS_S = 0.1


class Answer(NamedTuple):
    """One answered item."""

    permitted: bool
    body: bytes


_NOTHING = Answer(False, b"")


class DecisionDoor:
    """Evaluates requests. One a replica. Args: large, digest_key, keys: see `Preparing`."""

    def __init__(
        self,
        fleet: Fleet,
        bundles: BundleCache,
        limiter: RateLimiter,
        calls: OwnerCalls,
        settling: Settling,
        large: asyncio.Lock,
        *,
        digest_key: bytes,
        keys: DataKeys,
    ) -> None:
        self._fleet = fleet
        self._limiter = limiter
        self._lanes = Lanes(calls)
        self._vouching = Vouching(fleet, self._lanes, settling)
        self._preparing = Preparing(fleet, bundles, large, digest_key=digest_key, keys=keys)
        self._groups = itertools.count(1)

    async def evaluation(self, caller: Caller, request: EvaluationRequest, deadline_us: int) -> bytes:
        """Answer one evaluation.

        Args:
            deadline_us: wall clock after which nobody waits for the answer.
        Raises: ForbiddenError, ConflictError, OverloadedError, UnavailableError; the caller is denied by each.
        """
        refuse_foreign(caller, request.subject_type, request.subject_id)
        self._limiter.count(caller, request.subject_type, request.subject_id)
        answer, digest, asked, rules = await self._decide_at_once(caller, request, deadline_us)
        if answer is None:
            (answer,) = await self._decide(
                caller, [request], None, deadline_us, digest, asked=asked, rules=rules
            )
        if isinstance(answer, GovernanceError):
            raise answer
        return answer.body

    async def evaluations(self, caller: Caller, batch: BatchRequest, deadline_us: int) -> bytes:
        """Answer a batch, which costs its key as many requests as it has items.

        An item that cannot be evaluated is a deny that says why; the others go on.
        """
        if len(batch.items) > 1:
            self._limiter.charge(caller, len(batch.items) - 1)
        items = [self._checked(caller, item) for item in batch.items]
        if batch.semantic is Semantic.EXECUTE_ALL:
            answers = await self._all(caller, items, deadline_us)
        else:
            answers = await self._until(caller, items, batch.semantic, deadline_us)
        return authzen.batch_answer(answer.body for answer in answers)

    def _checked(self, caller: Caller, item: EvaluationRequest | ItemError) -> EvaluationRequest | ItemError:
        if isinstance(item, EvaluationRequest):
            try:
                refuse_foreign(caller, item.subject_type, item.subject_id)
            except ForbiddenError as error:
                return ItemError(status=403, code=error.code, message=error.message)
            too_fast = self._limiter.charge_agent(caller, item.subject_type, item.subject_id)
            if too_fast is not None:
                return ItemError(status=429, code=too_fast.code, message=too_fast.message)
        return item

    async def _all(
        self, caller: Caller, items: Sequence[EvaluationRequest | ItemError], deadline_us: int
    ) -> list[Answer]:
        """Every item, those of one owner in one group, in order."""
        answers: list[Answer] = [_NOTHING] * len(items)
        by_owner: dict[str, list[int]] = {}
        for position, item in enumerate(items):
            if isinstance(item, ItemError):
                answers[position] = _denied(item)
            else:
                owner = self._owner(caller, item)
                by_owner.setdefault(owner, []).append(position)

        async def ask(positions: list[int]) -> None:
            requests = [item for p in positions if isinstance(item := items[p], EvaluationRequest)]
            for position, answer in zip(
                positions, await self._decide_or_deny(caller, requests, None, deadline_us), strict=True
            ):
                answers[position] = answer

        await asyncio.gather(*(ask(positions) for positions in by_owner.values()))
        return answers

    async def _until(
        self,
        caller: Caller,
        items: Sequence[EvaluationRequest | ItemError],
        semantic: Semantic,
        deadline_us: int,
    ) -> list[Answer]:
        """Items in order until the first answer that stops; runs of items of one owner go together."""
        stop_on = "permit" if semantic is Semantic.PERMIT_ON_FIRST_PERMIT else "deny"
        answers: list[Answer] = []

        def owner(item: EvaluationRequest | ItemError) -> str | None:
            if isinstance(item, ItemError):
                return None
            return self._owner(caller, item)

        for _, run in itertools.groupby(items, owner):
            for_owner: list[EvaluationRequest] = []
            for item in run:
                if isinstance(item, ItemError):
                    answers.append(_denied(item))
                    if stop_on == "deny":
                        return answers
                else:
                    for_owner.append(item)
            if not for_owner:
                continue
            found = await self._decide_or_deny(caller, for_owner, stop_on, deadline_us)
            answers += found
            if len(found) < len(for_owner) or found[-1].permitted == (stop_on == "permit"):
                return answers
        return answers

    def _owner(self, caller: Caller, request: EvaluationRequest) -> str:
        return self._fleet.deciding_owner(
            caller.tenant, request.subject_type, request.subject_id, request.session
        )

    async def _decide_or_deny(
        self, caller: Caller, requests: list[EvaluationRequest], stop_on: str | None, deadline_us: int
    ) -> list[Answer]:
        """Like `_decide`, but what fails becomes items that are denied and say why; what was decided before stands."""
        known: list[Answer | GovernanceError | None] = [None] * len(requests)
        try:
            best = self._preparing.best()
            answers = await self._decide(caller, requests, stop_on, deadline_us, best, answers=known)
        except GovernanceError as error:
            if stop_on == "deny":
                answers = [*_before_short_circuit(known), error]
            else:
                answers = [error if answer is None else answer for answer in known]
        return [_denied(answer) if isinstance(answer, GovernanceError) else answer for answer in answers]

    async def _decide_at_once(
        self, caller: Caller, request: EvaluationRequest, deadline_us: int
    ) -> tuple[Answer | GovernanceError | None, str | None, int, tuple[int, ...] | None]:
        """What `_decide` comes to for nearly every single request, without what only the others need: policies that
        are loaded, an agent at home, an owner that agrees on both. A quarter less work for a replica.

        Returns: the answer, or None; with which bundle `_decide` is to ask, how often was asked, and by which rules
            the action is to be rewritten before. With None, nothing was decided.
        Raises: as `_decide`.
        """
        digest = self._preparing.best()
        preparer = self._preparing.ready(digest)
        owner = self._owner(caller, request)
        if preparer is None or self._vouching.is_foreign(owner, caller.tenant, request):
            return None, digest, 0, None
        if preparer.bundle.catalog.encrypts:
            await self._preparing.fetch_keys(caller, preparer, (request,), deadline_us)
        prepared = self._preparing.prepare(
            caller, preparer, time.time_ns() // 1000, deadline_us, 0, None, request
        )
        tag, content = await self._lanes.to(owner).send(digest, (prepared,), timeout_s=left_s(deadline_us))
        if tag != messages.BATCH:
            return None, content, 1, None
        (answer,) = content
        if answer[0] == messages.DECIDED:
            return _answer(Decided._make(answer[1:]), prepared, request), digest, 1, None
        if answer[0] == messages.REWRITE:
            return None, digest, 0, answer[1:]
        if answer[0] == messages.STALE_RECORD:
            self._preparing.learn(prepared, answer)
        return None, digest, 1, None

    async def _decide(
        self,
        caller: Caller,
        requests: list[EvaluationRequest],
        stop_on: str | None,
        deadline_us: int,
        digest: str | None,
        *,
        asked: int = 0,
        rules: tuple[int, ...] | None = None,
        answers: list[Answer | GovernanceError | None] | None = None,
    ) -> list[Answer | GovernanceError]:
        """Have requests of one owner decided, in order.

        Args:
            digest: of the bundle to prepare with first.
            asked: how often the owner was asked already; rules: by which it wants the first one rewritten.
            answers: takes them as they come, one None a request.
        Returns: an answer a request; fewer when `stop_on` cut the rest.
        Raises: UnavailableError, OverloadedError: nobody was permitted anything but what stands in `answers`.
        """
        owner = self._owner(caller, requests[0])
        lane = self._lanes.to(owner)
        group = next(self._groups) if len(requests) > 1 else 0
        received_us = time.time_ns() // 1000
        if answers is None:
            answers = [None] * len(requests)
        rewriting = {} if rules is None else {0: rules}
        skipped = False
        together = len(requests)
        attempts = itertools.count(asked)
        while (attempt := next(attempts)) < _ATTEMPTS:
            waiting = [position for position, answer in enumerate(answers) if answer is None][:together]
            preparer, prepared_with = None, digest
            if digest is not None:
                preparer = await self._preparing.preparer(digest, timeout_s=left_s(deadline_us))
                asked_now = [requests[position] for position in waiting]
                await self._preparing.fetch_keys(caller, preparer, asked_now, deadline_us)

            stage_one = partial(
                self._preparing.prepare, caller, preparer, received_us, deadline_us, group, stop_on
            )

            def prepare(
                position: int, stage_one: Callable[..., DecisionRequest] = stage_one
            ) -> DecisionRequest:
                return stage_one(requests[position], rewriting.get(position))

            prepared = await self._preparing.in_pieces(prepare, waiting, deadline_us)
            vouched = await self._vouching.vouch(owner, digest, prepared, deadline_us)
            stale = [one for one in vouched if isinstance(one, Stale)]
            for one in stale:
                if one.answer[0] == messages.STALE_BUNDLE:
                    digest = one.answer[1]
                else:
                    self._preparing.learn(one.request, one.answer)
            if stale:
                # Rules are named by numbers of a bundle, and found with what was known of the agent.
                rewriting.clear()
                await self._vouching.give_up(vouched, deadline_us)
                if digest != prepared_with:
                    # Two owners that are about to change do not change in the same moment.
                    await asyncio.sleep(_BETWEEN_OWNERS_S * attempt)
                continue
            sent, waiting = await self._vouching.leave_out_unvouched(
                vouched, waiting, answers, stop_on, deadline_us
            )
            if not sent:
                if None not in answers:
                    return _before_short_circuit(answers)
                attempts = itertools.count(attempt)
                continue
            tag, content = await lane.send(digest, sent, timeout_s=left_s(deadline_us))
            if tag == messages.STALE_BUNDLE:
                await self._vouching.give_up(sent, deadline_us)
                if content == digest:
                    # The owner was started anew: its journal names the bundle, and it is not compiled yet.
                    raise UnavailableError(
                        "the agent's owner is still compiling the active bundle", code="bundle_loading"
                    )
                digest = content
                rewriting.clear()
                continue
            assert tag == messages.BATCH, tag
            await self._vouching.settle(sent, content, deadline_us)
            # Where one is rewritten first, those after it wait: few go with it, and more and more after that.
            together = 2 if any(answer[0] == messages.REWRITE for answer in content) else 2 * together
            for position, request, answer in zip(waiting, sent, content, strict=True):
                match answer[0]:
                    case messages.DECIDED:
                        answers[position] = _answer(Decided._make(answer[1:]), request, requests[position])
                    case messages.REWRITE:
                        rewriting[position] = answer[1:]
                    case messages.CONFLICT:
                        answers[position] = ConflictError(answer[1], code="idempotency_conflict")
                    case messages.SKIPPED:
                        skipped = True
                    case messages.STALE_RECORD:
                        rewriting.pop(position, None)
                        self._preparing.learn(request, answer)
                    case other:
                        raise UnavailableError(f"an owner answered `{other}`", code="protocol_error")
            if skipped or None not in answers or _stopped(stop_on, [answers[one] for one in waiting]):
                return _before_short_circuit(answers)
            if any(answers[one] is not None or one in rewriting for one in waiting):
                # Each action is decided once and rewritten once, so that this comes to an end.
                attempts = itertools.count(attempt)
        raise UnavailableError(
            "the active bundle or the subject's record keeps changing; try again", code="bundle_changing"
        )


def _stopped(stop_on: str | None, answers: Sequence[Answer | GovernanceError | None]) -> bool:
    """Whether one of these answers is one after which nothing more is asked."""
    if stop_on is None:
        return False
    permits = [isinstance(answer, Answer) and answer.permitted for answer in answers if answer is not None]
    return (stop_on == "permit") in permits


def _before_short_circuit(
    answers: Sequence[Answer | GovernanceError | None],
) -> list[Answer | GovernanceError]:
    found: list[Answer | GovernanceError] = []
    for answer in answers:
        if answer is None:
            break
        found.append(answer)
    return found


def _answer(decided: Decided, request: DecisionRequest, asked: EvaluationRequest) -> Answer:
    said = said_of(decided, request, asked)
    if said is None:
        # INVARIANT (fail closed): nobody is permitted other arguments than those that were decided.
        decided = decided._replace(
            effect=Effect.DENY, reason_code=UNREPEATABLE, reasons=(), detail="", expires_us=0
        )
        said = Said(request.arguments_digest)
    body = authzen.answer(
        decision_id=decided.id,
        effect=decided.effect,
        reason_code=decided.reason_code,
        arguments_digest=said.digest,
        modified=said.modified,
        bundle=decided.bundle,
        session=decided.session,
        reasons=decided.reasons,
        detail=decided.detail or explanation(decided.reason_code),
        expires_at_us=decided.expires_us,
        replayed=decided.replayed,
        dry_run=request.dry_run,
        access=decided.access,
        approval=decided.approval,
    )
    return Answer(decided.expires_us > 0 and not request.dry_run, body)


def _denied(error: ItemError | GovernanceError) -> Answer:
    """An item that could not be evaluated: a deny that says why."""
    if isinstance(error, ItemError):
        return Answer(False, authzen.error_answer(error))
    return Answer(False, authzen.error_answer(error, status=status_of(error)))
