"""Where an action's values come from, at its workflow's owner: what rules are told, and what it leaves behind."""

from __future__ import annotations

from functools import partial
from typing import Any

import orjson

from actors.agent_journal import find_by_key
from actors.approvals import values as approval_values
from actors.ids import decision_key
from actors.live_agent import Session
from actors.messages import DecidedAction, DecisionRequest
from actors.owner import Owner
from actors.remembering import Met
from policies import clause_words
from policies.action import Json
from policies.asked.judgement import Answer, Reply, judge
from policies.asked.scope import Scope
from policies.catalog import ResourceFacts
from policies.origin.facts import Fact
from policies.origin.happened import Acted, Returned
from policies.origin.origins import Origins
from policies.origin.told import Told
from policies.origin.trust import looked_up_by, result_trust
from policies.origin.units import Unit
from policies.rule_clauses import OriginFinding, RuleClauses


def clauses(
    owner: Owner, request: DecisionRequest, session: Session | None, met: Met, now_us: int
) -> RuleClauses:
    """What the clauses of rules ask of an action beside its atoms. Cost: a lookup for a workflow that is awake."""
    if session is None:
        return RuleClauses(met.look)
    asked_for = partial(_answer, owner, request, session)
    if request.units is None:
        return RuleClauses(met.look, asked_for=asked_for)
    approved = partial(approval_values.approved, owner, request, session, now_us)
    return RuleClauses(met.look, origins_of(owner, session), _units(request), asked_for, approved)


def count(owner: Owner, request: DecisionRequest, session: Session) -> None:
    """A permitted action counts in its session's scope."""
    scope = None if session.basis is None else session.basis.scope
    if scope is not None and scope.counts:
        facts = _facts(owner, request)
        effects = None if facts is None else facts.effects
        owner.tallies.add(session.workflow_id, scope, effects=effects, tool=request.resource_id)


def _answer(owner: Owner, request: DecisionRequest, session: Session) -> Answer:
    return answer(owner, session, request.resource_id, _facts(owner, request), request.objects)


def answer(owner: Owner, session: Session, tool: str, facts: ResourceFacts | None, objects: bytes) -> Answer:
    """Whether what a session was opened for asks for an action. Args: objects: see `Prepared`."""
    basis = None if session.basis is None else session.basis.decisive
    arguments: dict[str, Json] = orjson.loads(objects) if objects else {}
    if isinstance(basis, Scope) and basis.objects and not objects:
        # What is not looked at is not covered, or an action would leave its scope by being long.
        return Answer(Reply.NO, False, "the action has too many destinations and targets to look at")
    return judge(
        basis,
        effects=None if facts is None else facts.effects,
        tool=tool,
        arguments=arguments,
        types=None if facts is None else facts.arguments,
        tallies=owner.tallies.of(session.workflow_id),
    )


def _facts(owner: Owner, request: DecisionRequest) -> ResourceFacts | None:
    active = owner.active
    return active.facts(request.resource_type, request.resource_id) if active is not None else None


def origins_of(owner: Owner, session: Session) -> Origins:
    return owner.origins.of(session.workflow_id, since_us=session.workflow_since_us)


def permitted(owner: Owner, request: DecisionRequest, session: Session, decision_id: str) -> str | None:
    """The action was permitted. Returns: what its result is looked up by, for the report of its outcome."""
    if request.units is None:
        return None
    units = _units(request)
    looked_up = looked_up_by(origins_of(owner, session), units)
    awaited = result_trust(_facts(owner, request)).awaited
    happened = Acted(units, decision_key(decision_id), awaited)
    owner.origins.tell(session.workflow_id, happened, since_us=session.workflow_since_us)
    return str(looked_up)


def reported(
    owner: Owner, workflow: str, told: Told, *, decision_id: str, looked_up: str | None, witnessed: bool
) -> None:
    """The result of an action is told."""
    happened = Returned(
        told,
        decision_key(decision_id),
        Fact.UNTRUSTED if looked_up is None else Fact(looked_up),
        witnessed,
    )
    owner.origins.tell(workflow, happened, since_us=0)


def findings(owner: Owner, found: RuleClauses) -> dict[str, Any]:
    """What origins said of the rules that asked, for evidence: places, facts and sources, and no values."""
    described: dict[str, Any] = {}
    if found.findings:
        described["origin"] = {rule: _described(owner, one) for rule, one in found.findings.items()}
    if found.remembered:
        described["remembered"] = {rule: sorted(values) for rule, values in found.remembered.items()}
    if found.answer is not None:
        reply, estimated, because = found.answer
        described["asked"] = {"answer": str(reply), "estimated": estimated, "because": because}
    return described


def explained(owner: Owner, found: RuleClauses, rules: list[str]) -> str:
    """The first of these rules' findings in words; "" where there is none."""

    def result_of(source: int) -> str:
        said = _said(owner, source)
        return "" if said is None else f"`{said[1]}`, decision {said[0]}"

    return clause_words.explained(found, rules, result_of)


def _described(owner: Owner, one: OriginFinding) -> dict[str, Any]:
    described: dict[str, Any] = {"argument": one.pointer, "fact": str(one.fact), "value": one.shown}
    said = None if one.source is None else _said(owner, one.source)
    if said is not None:
        described["decision"], described["resource"] = said
    for name in ("over_bound", "outstanding"):
        if getattr(one, name):
            described[name] = True
    return described


def _said(owner: Owner, source: int) -> tuple[str, str] | None:
    """The decision whose result said a value, and what was called; None = nobody, or it was more than a day ago."""
    found = find_by_key(owner.journal, source)
    if found is None:
        return None
    identity, request = found
    return identity, DecidedAction(*orjson.loads(request)).resource_id


def _units(request: DecisionRequest) -> tuple[Unit, ...]:
    return tuple([Unit._make(unit) for unit in request.units or ()])
