"""Shadow bundles: what another bundle would have answered, recorded beside each decision and enforced by nobody.

A shadow has monitors and budgets of its own, over what the *active* bundle permitted. Whatever goes wrong with it, the
decision stands: it is left out of that row.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable
from functools import partial
from typing import Any

from actors import tracing
from actors.active_bundle import ActiveBundle
from actors.ids import agent_key
from actors.journal import Transaction
from actors.live_agent import Session
from actors.messages import DecidedAction, DecisionRequest, Outcome, Shadowed
from actors.owner import Owner
from actors.past_journal import forget_shadow
from actors.pasts import Name, Pasts
from policies.bundle import Bundle
from policies.effect import Effect
from policies.origin.origins import Origins
from policies.origin.units import Unit
from policies.past import state_bytes
from policies.past.look import Look
from policies.past.program import Scope
from policies.past.slices import Event
from policies.rewriting import REWRITE_UNSTABLE
from policies.rule_clauses import RuleClauses
from policies.verdict import Clauses, Verdict, modified, rewriting
from policies.verdict import decide as verdict_of

log = logging.getLogger(__name__)

_ACTIVATION = -1  # of no bundle that decides; a shadow that is replaced leaves nothing behind


class Shadow:
    """The shadow bundle of one owner."""

    def __init__(self, active: ActiveBundle, pasts: Pasts) -> None:
        self.bundle = active
        self.pasts = pasts

    @classmethod
    def cast(cls, owner: Owner, active: ActiveBundle) -> Shadow:
        """Watch with this bundle from now on. Its rules are told what the record knows, as if it were activated."""
        pasts = Pasts(owner.journal, owner.record_by_key, shadow=True)
        if owner.journal.meta("shadow_digest", "") != active.digest:
            with owner.journal.transaction() as step:
                forget_shadow(step)
                step.set_meta("shadow_digest", active.digest)
        pasts.use(active, _ACTIVATION, lenient=False)
        return cls(active, pasts)


class Watched:
    """What the shadow made of one action.

    Attributes:
        found: for evidence: ``{"bundle", "decision", "rules"}``; empty where it could not be asked.
        changed: pasts to save; remembered: what an outcome will ask for.
    """

    __slots__ = ("changed", "found", "remembered")

    def __init__(self, found: dict[str, Any], changed: Iterable[Name] = (), remembered: str = "") -> None:
        self.found = found
        self.changed = tuple(changed)
        self.remembered = remembered


NOTHING = Watched({})


def watch(
    owner: Owner,
    shadow: Shadow,
    request: DecisionRequest,
    session: Session,
    now_us: int,
    *,
    permitted: bool,
    refusal: str | None,
) -> Watched:
    """Ask the shadow about an action that was decided.

    Args:
        permitted: by the active bundle: whether it happened, and so is past to the shadow, too.
        refusal: what denies it whatever rules say.
    """
    names = _names(request, session)
    if request.shadow is None or Shadowed._make(request.shadow).digest != shadow.bundle.digest:
        if permitted:
            shadow.pasts.drop(names)  # it has missed something: it reads the record when it is asked again
        return NOTHING
    prepared = Shadowed._make(request.shadow)
    try:
        return _watch(owner, shadow, request, prepared, session, now_us, names, permitted, refusal)
    except Exception:
        log.exception("the shadow bundle failed on an action; its decision stands")
        shadow.pasts.drop(names)
        return NOTHING


def _watch(
    owner: Owner,
    shadow: Shadow,
    request: DecisionRequest,
    prepared: Shadowed,
    session: Session,
    now_us: int,
    names: list[Name],
    permitted: bool,
    refusal: str | None,
) -> Watched:
    program = shadow.bundle.program
    key = agent_key(request.tenant, request.subject_type, request.subject_id)
    records = {
        key: owner.record_of(owner.agent(key), request.tenant, request.subject_type, request.subject_id)
    }
    pasts = {
        scope: shadow.pasts.of(scope, name, workflow=session.workflow_id, records=records)
        for scope, name in names
        if scope in program.used
    }
    event = Event(
        now_us,
        prepared.possibly & program.relevant,
        prepared.certainly & program.relevant,
        dict(prepared.measures),
    )
    look = Look(program, pasts, event)
    facts = shadow.bundle.facts(request.resource_type, request.resource_id)
    asked_for = partial(tracing.answer, owner, session, request.resource_id, facts, prepared.objects)
    clauses = RuleClauses(look, *_origins(owner, request, prepared, session), asked_for).holds
    verdict = _verdict(shadow.bundle.bundle, prepared, refusal or prepared.refusal, clauses)
    found = {
        "bundle": shadow.bundle.digest,
        "decision": str(verdict.effect),
        "rules": [reason.rule for reason in verdict.reasons],
    }
    if permitted:
        positions = look.permitted()
        places = ":".join(str(positions.get(scope, 0)) for scope in Scope)
        remembered = f"{shadow.pasts.number}:{places}:{state_bytes.encode_event(event).hex()}"
        return Watched(found, [(scope, name) for scope, name in names if scope in pasts], remembered)
    if verdict.effect is Effect.DENY:
        counting = look.denied()
        return Watched(found, [(scope, name) for scope, name in names if scope in counting])
    return Watched(found)


def _verdict(bundle: Bundle, prepared: Shadowed, refusal: str | None, clauses: Clauses) -> Verdict:
    """What a shadow would answer. A rewriting that takes the past to decide is told and not carried out: the verdict
    is on what it was asked."""
    further: tuple[int, ...] = ()
    if refusal is None:
        further = rewriting(bundle, possibly=prepared.possibly, wanted=prepared.wanted, clauses=clauses)
        refusal = REWRITE_UNSTABLE if further and prepared.rewritten else None
    verdict = verdict_of(
        bundle,
        possibly=prepared.possibly,
        certainly=prepared.certainly,
        refusal=refusal,
        clauses=clauses,
        wanted=prepared.wanted,
    )
    return modified(bundle, verdict, prepared.rewritten or further)


def told(
    owner: Owner, shadow: Shadow, step: Transaction, outcome: Outcome, action: DecidedAction, session: str
) -> None:
    """Tell the shadow what an action came to."""
    assert action.workflow_id is not None
    key = agent_key(action.tenant, action.subject_type, action.subject_id)
    names = {Scope.SESSION: session, Scope.WORKFLOW: action.workflow_id, Scope.AGENT: key}
    program, *positions, encoded = action.shadow_past.split(":") if action.shadow_past else ("", "")
    if program != str(shadow.pasts.number):
        shadow.pasts.forget(step, names.items())
        shadow.pasts.drop(names.items())
        return
    event = state_bytes.decode_event(bytes.fromhex(encoded))
    changed: list[Name] = []
    for scope, position in zip(Scope, positions, strict=True):
        if scope not in shadow.bundle.program.used:
            continue
        past = shadow.pasts.of(scope, names[scope], workflow=action.workflow_id, records={})
        past.outcome(event, int(position), succeeded=outcome.status == "succeeded", witnessed=outcome.witness)
        if outcome.status == "not_executed" and outcome.witness:
            past.give_back(event)
        changed.append((scope, names[scope]))
    shadow.pasts.save(step, changed, now_us=owner.event_time().us, recorded=owner.pasts.newest())


def _origins(
    owner: Owner, request: DecisionRequest, prepared: Shadowed, session: Session
) -> tuple[Origins | None, tuple[Unit, ...]]:
    """What is known for rules with `origin`: nothing where the active bundle has none, and nobody traced anything."""
    if request.units is None:
        return None, ()
    return tracing.origins_of(owner, session), tuple([Unit._make(unit) for unit in prepared.units])


def _names(request: DecisionRequest, session: Session) -> list[Name]:
    names: list[Name] = [(Scope.SESSION, session.name), (Scope.WORKFLOW, session.workflow_id)]
    if request.vouch is None:
        key = agent_key(request.tenant, request.subject_type, request.subject_id)
        names.append((Scope.AGENT, key))
    return names
