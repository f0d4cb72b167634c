"""What an action meets of the past at its owner, and what it leaves there for those that come."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from actors.ids import agent_key
from actors.live_agent import Session
from actors.messages import DecidedAction, DecisionRequest, Outcome
from actors.owner import Owner
from actors.past_journal import HistoryRow
from actors.pasts import Name
from actors.settlements import reserved
from policies.past import state_bytes
from policies.past.look import Look
from policies.past.monitor import FAILED, SUCCEEDED
from policies.past.program import Scope
from policies.past.slices import Event
from policies.quantities import text_of

_BARE = "t"  # an action of which a bundle remembered nothing: only its time follows
TOO_MANY_OPEN = "too_many_pending"


@dataclass(frozen=True, slots=True, kw_only=True)
class Met:
    """An action and the pasts that it belongs to.

    Attributes:
        look: None where the bundle looks at no past.
        names: of those pasts, in the order of `Scope`.
        refusal: why it is denied whatever the rules say.
    """

    look: Look | None
    names: tuple[Name, ...] = ()
    event: Event | None = None
    refusal: str | None = None


NOTHING = Met(look=None)


def meet(owner: Owner, request: DecisionRequest, session: Session | None, now_us: int) -> Met:
    """Wake the pasts of an action. Cost: a few dictionary lookups for those that are awake."""
    active = owner.active
    if active is None or session is None or not active.program.used:
        return NOTHING
    program = active.program
    key = agent_key(request.tenant, request.subject_type, request.subject_id)
    pasts = {}
    names: list[Name] = []
    records = {
        key: owner.record_of(owner.agent(key), request.tenant, request.subject_type, request.subject_id)
    }
    for scope, name, since_us in (
        (Scope.SESSION, session.name, session.opened_us),
        (Scope.WORKFLOW, session.workflow_id, session.workflow_since_us),
        (Scope.AGENT, key, 0),
    ):
        # An agent's own past is at home, wherever its session lives.
        if scope not in program.used or (scope is Scope.AGENT and request.vouch is not None):
            continue
        pasts[scope] = owner.pasts.of(
            scope, name, workflow=session.workflow_id, records=records, since_us=since_us
        )
        names.append((scope, name))
    event = Event(
        now_us,
        request.possibly & program.relevant,
        request.certainly & program.relevant,
        dict(request.measures),
    )
    crowded = any(past.crowded() for past in pasts.values())
    return Met(
        look=Look(program, pasts, event, _elsewhere(request)),
        names=tuple(names),
        event=event,
        refusal=TOO_MANY_OPEN if crowded else None,
    )


def permitted(
    owner: Owner, met: Met, request: DecisionRequest, session: Session, now_us: int
) -> tuple[HistoryRow, str]:
    """The action is past to what comes. Returns: its record, and what its outcome will ask for."""
    key = agent_key(request.tenant, request.subject_type, request.subject_id)
    row = HistoryRow(
        id=owner.pasts.next_id(),
        workflow=session.workflow_id,
        session=session.name,
        agent=key,
        at_us=now_us,
        kind=(request.action, request.resource_type, request.resource_id),
    )
    # A foreign agent's own past is told by a settlement.
    foreign = request.vouch is not None
    if met.look is None or met.event is None:
        # Nobody looks now; rules to come are told by the record.
        return row, f"{owner.pasts.number}:{row.id}:0:0:{'' if foreign else 0}:{_BARE}{now_us}"
    positions = met.look.permitted()
    places = [str(positions.get(scope, 0)) for scope in (Scope.SESSION, Scope.WORKFLOW)]
    places.append("" if foreign else str(positions.get(Scope.AGENT, 0)))
    event = state_bytes.encode_event(met.event).hex()
    return row, f"{owner.pasts.number}:{row.id}:{':'.join(places)}:{event}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """What an outcome changed.

    Attributes:
        history: id of its action's record; code: the outcome's, as the record has it.
        stale: pasts that the active bundle does not look at, and that would have changed.
    """

    history: int
    code: int
    changed: tuple[Name, ...] = ()
    stale: tuple[Name, ...] = ()


def reported(owner: Owner, outcome: Outcome, action: DecidedAction, session: str | None) -> Told:
    """Tell an action's pasts what it came to."""
    assert action.past is not None
    program_number, history, *positions, encoded = action.past.split(":")
    succeeded = outcome.status == "succeeded"
    code = SUCCEEDED if succeeded else FAILED
    active = owner.active
    if active is None or session is None or action.workflow_id is None:
        return Told(history=int(history), code=code)
    key = agent_key(action.tenant, action.subject_type, action.subject_id)
    names = {Scope.SESSION: session, Scope.WORKFLOW: action.workflow_id, Scope.AGENT: key}
    if encoded.startswith(_BARE):
        event = Event(int(encoded.removeprefix(_BARE)), 0, 0)
    else:
        event = state_bytes.decode_event(bytes.fromhex(encoded))
    kind = (action.action, action.resource_type, action.resource_id)
    records = {key: owner.record_of(owner.agent(key), action.tenant, action.subject_type, action.subject_id)}
    translated = owner.pasts.translated(int(program_number), event, key, kind, records)
    changed: list[Name] = []
    stale: list[Name] = []
    for scope, position in zip(Scope, positions, strict=True):
        name = (scope, names[scope])
        if not position:
            continue
        if scope not in active.program.used or translated is None:
            stale.append(name)
            continue
        past = owner.pasts.of(*name, workflow=action.workflow_id, records=records)
        past.outcome(translated, int(position), succeeded=succeeded, witnessed=outcome.witness)
        if outcome.status == "not_executed" and outcome.witness:
            past.give_back(translated)
        changed.append(name)
    return Told(history=int(history), code=code, changed=tuple(changed), stale=tuple(stale))


def findings(owner: Owner, met: Met) -> dict[str, Any]:
    """What the past said of the rules that asked, for evidence: names of rules, truths and levels, and no values."""
    if met.look is None or owner.active is None:
        return {}
    look = met.look
    found: dict[str, Any] = {}
    past = {rule.name: look.truths[rule.past] for rule in look.asked if rule.past is not None}
    if past:
        found["past"] = past
    limits = {}
    for rule in look.asked:
        if rule.limit is not None and rule.limit in look.levels:
            level, sums = look.levels[rule.limit], owner.active.program.limits[rule.limit].counted == "sum"
            shown = [str(one) if not sums else text_of(one) for one in (level.level or 0, level.above)]
            limits[rule.name] = {"level": None if level.level is None else shown[0], "above": shown[1]}
    if limits:
        found["limits"] = limits
    return found


def _elsewhere(request: DecisionRequest) -> dict[tuple[str, int], bool]:
    """The truths that the agent's home owner found over its own past."""
    held = reserved(request)
    return {} if held is None else {(kind, number): truth for kind, number, truth in held.truths}
