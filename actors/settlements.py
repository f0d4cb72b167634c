"""What the owner of a workflow makes of reservations, which the homes of foreign agents hold for their actions.

Its word is final and durable: in the transaction that decides it is written down what became of each reservation that
came along, and the home is told until it has acknowledged it.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from actors import reservation_journal
from actors.delegations import COUNTED
from actors.ids import agent_key, time_of_decision
from actors.journal import Transaction
from actors.messages import (
    DECIDED,
    DENIED,
    PERMITTED,
    VOID,
    Decided,
    DecisionRequest,
    Done,
    Outcome,
    Reserved,
    Settlement,
    Vouch,
)
from actors.owner import Owner
from policies.effect import Effect
from policies.rewriting import REWRITE_UNSTABLE

RESERVATION_VOID = "reservation_void"
STALE_VOUCH = "stale_vouch"
_COUNTED = COUNTED | {"rule_deny", "default_deny", REWRITE_UNSTABLE}


def reserved(request: DecisionRequest) -> Reserved | None:
    """What the home of the agent holds for an action, and found; None = nothing."""
    if request.vouch is None:
        return None
    reservation = Vouch._make(request.vouch).reservation
    return None if reservation is None else Reserved._make(reservation)


def refusal(owner: Owner, request: DecisionRequest, used: set[str]) -> str | None:
    """Why an action cannot be decided with what its home reserved.

    Args:
        used: reservations that the same batch has used; this one is added.
    Cost: nothing where nothing is reserved, else an index lookup.
    """
    held = reserved(request)
    if held is None:
        return None
    # INVARIANT (agreement): truths are those of numbered clauses; under another bundle they say nothing.
    if held.digest != owner.activation.digest or (not held.id and not request.dry_run):
        return STALE_VOUCH
    if held.id in used or (held.id and reservation_journal.find_settlement(owner.journal, held.id)):
        return RESERVATION_VOID
    if held.id:
        used.add(held.id)
    return None


def settled(request: DecisionRequest, answer: Sequence[Any] | None) -> Settlement | None:
    """What becomes of an action's reservation; None = nothing, or it was spoken of before.

    Args:
        answer: the owner's; None = it was not decided.
    """
    held = reserved(request)
    if held is None or not held.id:
        return None
    verdict = VOID if answer is None else _verdict(request, answer)
    if verdict is None:
        return None
    if held.held:
        return Settlement(held.id, verdict)
    if verdict != PERMITTED:
        return None
    key = agent_key(request.tenant, request.subject_type, request.subject_id)
    done = Done(key, request.session or "", request.action, request.resource_type, request.resource_id)
    return Settlement(held.id, verdict, action=tuple(done))


def _verdict(request: DecisionRequest, answer: Sequence[Any]) -> str | None:
    if answer[0] != DECIDED:
        return VOID
    decided = Decided._make(answer[1:])
    if decided.reason_code == RESERVATION_VOID:
        return None
    if decided.replayed:
        return VOID
    if decided.expires_us:
        return PERMITTED
    counted = decided.reason_code in _COUNTED or decided.reason_code == request.refusal
    return DENIED if decided.effect == Effect.DENY and counted else VOID


def keep(
    transaction: Transaction,
    requests: Iterable[DecisionRequest],
    answers: Iterable[Sequence[Any] | None],
    *,
    now_us: int,
) -> None:
    """Write down what became of the reservations of a batch; where there is no answer they are void."""
    for request, answer in zip(requests, answers, strict=True):
        if request.vouch is None or (said := settled(request, answer)) is None:
            continue
        decision = answer[1] if answer is not None and said.verdict == PERMITTED else None
        reservation_journal.save_settlement(transaction, said, decision=decision, now_us=now_us)


def give_up(owner: Owner, raw: Sequence[tuple[Any, ...]]) -> None:
    """The batch is to be prepared anew: what was reserved for it will not be used. Cost: nothing if nothing was."""
    requests = [DecisionRequest._make(item) for item in raw]
    if any(settled(request, None) is not None for request in requests):
        with owner.journal.transaction() as step:
            keep(step, requests, [None] * len(requests), now_us=owner.event_time().us)


def report(owner: Owner, step: Transaction, outcome: Outcome) -> Settlement | None:
    """Pass an outcome on to the home of a foreign action. Returns: what is to be told there; None = nothing."""
    found = reservation_journal.settlement_of_decision(owner.journal, outcome.decision_id)
    if found is None:
        return None
    told = found._replace(outcome=outcome.status, witness=outcome.witness)
    reservation_journal.save_settled_outcome(step, told)
    return told


def fates(owner: Owner, reservations: Sequence[str]) -> list[tuple[Any, ...]]:
    """What became of reservations of which their home has heard nothing. Durable when it returns.

    Returns: `Settlement` tuples, in order. One that was never seen is void from now on, whatever comes late; one from
    before this journal counts as permitted, since nobody knows.
    """
    # INVARIANT (single owner): what is only read must not come from an owner that was superseded.
    owner.journal.refuse_fenced()
    now_us = owner.event_time().us
    known_from_us = owner.journal.meta("settlements_from_us", 0)
    said: list[Settlement] = []
    unseen: list[str] = []
    for reservation in reservations:
        found = reservation_journal.find_settlement(owner.journal, reservation)
        if found is None:
            before = time_of_decision(reservation) // 1000 < known_from_us // 1000
            found = Settlement(reservation, PERMITTED if before else VOID)
            if not before:
                unseen.append(reservation)
        said.append(found)
    if unseen:
        with owner.journal.transaction() as step:
            for reservation in unseen:
                reservation_journal.save_tombstone(step, reservation, now_us=now_us)
    return [tuple(one) for one in said]


def acknowledged(owner: Owner, settlements: Iterable[Settlement]) -> None:
    """A home has them: they are sent no more."""
    with owner.journal.transaction() as step:
        reservation_journal.acknowledge(step, settlements)
