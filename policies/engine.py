"""The whole engine in one process: sessions, workflows and their pasts, decided on a clock that the caller holds.

For stories, replays, simulations and analyses. It is the same core that owners run: `Preparer`, `Look`, `decide`; what
is missing here is everything that makes an answer durable. Not thread-safe.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from policies.action import Action, Json, Resource, Subject
from policies.asked.basis import Basis
from policies.asked.estimate import Estimator
from policies.asked.judgement import Answer, judge
from policies.asked.lexicons import english
from policies.asked.scope import Scope as AskedScope
from policies.asked.tallies import Tallies
from policies.bundle import Bundle
from policies.catalog import ResourceFacts
from policies.delegation import Grant, Refusal, narrow
from policies.effect import Effect
from policies.engine_session import EngineSession
from policies.origin.facts import Fact
from policies.origin.happened import Acted
from policies.origin.hashing import TokenHasher
from policies.origin.origins import Origins
from policies.origin.telling import told_by_result, told_by_task
from policies.origin.trust import looked_up_by, result_trust
from policies.past.look import Look
from policies.past.program import Scope
from policies.past.slices import Event
from policies.past.state import Past
from policies.prepare import Prepared, Preparer
from policies.rewriting import REWRITE_UNSTABLE, Rewriting, prepare
from policies.rule_clauses import RuleClauses
from policies.stops import STOPPED, StoppedNames
from policies.verdict import Verdict, decide, escalating, matched_rules, modified, rewriting


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineDecision:
    """What was decided, and what it takes to report an outcome.

    Attributes:
        rewriting: the action as it was decided, rewritten or not, and by which rules.
        matched: names of all rules that matched, whether or not their effect decided; empty for a refusal.
        positions: of the action in the pasts of its session, where it was permitted.
        clauses: what the past and the origins said; None for a refusal.
        number: of the action, counted over all.
        looked_up: the worst of where the values come from that its result is looked up by.
        approved: of an escalated action that was approved: what is decided then.
    """

    verdict: Verdict
    rewriting: Rewriting
    session: EngineSession
    event: Event
    matched: tuple[str, ...] = ()
    positions: Mapping[Scope, int] = field(default_factory=dict)
    clauses: RuleClauses | None = None
    number: int = 0
    looked_up: Fact = Fact.UNKNOWN
    approved: Verdict | None = None

    @property
    def prepared(self) -> Prepared:
        return self.rewriting.prepared

    @property
    def permitted(self) -> bool:
        return (self.approved or self.verdict).effect in (Effect.ALLOW, Effect.MODIFY)


class Engine:
    """One bundle and everything that happened under it.

    Args:
        estimator: of what tasks ask for; the English lexicon unless said otherwise.

    Cost: that of a `Preparer` to make; a decision costs tens of microseconds.
    """

    def __init__(self, bundle: Bundle, *, estimator: Estimator | None = None) -> None:
        self.bundle = bundle
        self._hasher = TokenHasher(bytes(32))
        self._preparer = Preparer(bundle, hasher=self._hasher)
        self._pasts: dict[tuple[Scope, str], Past] = {}
        self._origins: dict[str, Origins] = {}
        self._tallies: dict[str, Tallies] = {}
        self._estimator: Estimator = estimator or english()
        self._stopped = StoppedNames()
        self._decided = 0

    def forget(self) -> None:
        """Begin again with an empty past."""
        self._pasts = {}
        self._origins = {}
        self._tallies = {}
        self._stopped = StoppedNames()

    def open_session(
        self,
        name: str,
        subject: Subject,
        *,
        tenant: str = "default",
        parent: EngineSession | None = None,
        grant: Grant | None = None,
        workflow: str | None = None,
        task: str | None = None,
        scope: AskedScope | None = None,
    ) -> EngineSession:
        """Open a session that begins a workflow, joins the one it names, or belongs to its parent's.

        Args:
            task: what the user asks for.
            scope: what the session is for, as declared.
            grant: what the parent delegates, as `delegate` gave it.
        """
        root = parent.workflow if parent is not None else workflow or name
        grants = (*parent.grants, grant) if parent is not None and grant is not None else ()
        agent = f"{tenant}/{subject.type}/{subject.id}"
        names = {Scope.SESSION: name, Scope.WORKFLOW: root, Scope.AGENT: agent}
        pasts = {
            scope: self._past(scope, names[scope]) for scope in Scope if scope in self.bundle.program.used
        }
        basis = self._basis(task, scope)
        if parent is not None:
            basis = (basis or Basis()).below(parent.basis)
        if task is not None:
            self._origins_of(root).task(told_by_task(task, self._hasher))
        return EngineSession(
            name=name,
            tenant=tenant,
            subject=subject,
            workflow=root,
            parent=parent,
            grants=grants,
            pasts=pasts,
            basis=basis,
        )

    def add_task(self, session: EngineSession, task: str, scope: AskedScope | None = None) -> None:
        """The user asks for more."""
        turn = self._basis(task, scope)
        assert turn is not None
        session.basis = turn if session.basis is None else session.basis.after(turn)
        self._origins_of(session.workflow).task(told_by_task(task, self._hasher))

    def _basis(self, task: str | None, scope: AskedScope | None) -> Basis | None:
        if task is None and scope is None:
            return None
        estimate = None if task is None else self._estimator.estimate(task)
        return Basis(scope=scope, estimate=estimate)

    def delegate(self, session: EngineSession, asked: Grant, *, now_us: int) -> Grant | Refusal:
        """The grant that a session can give, or why it cannot."""
        return narrow(session.grants, asked, now_us=now_us)

    def decide(
        self,
        session: EngineSession,
        *,
        action: str = "call",
        resource: Resource,
        arguments: Mapping[str, Json],
        context: Mapping[str, Json],
        now_us: int,
        approve: bool = False,
    ) -> EngineDecision:
        """Decide one action, rewritten first where rules say so; what is permitted is past to the next.

        Args:
            now_us: not before the last decision's.
            approve: if it is escalated, approve it at once: every rule that names who may.
        """
        asked = Action(
            tenant=session.tenant,
            subject=session.subject,
            name=action,
            resource=resource,
            arguments=arguments,
            context=context,
            now_us=now_us,
        )
        origins = self._origins_of(session.workflow)
        facts = self.bundle.catalog.facts(resource.type, resource.id)
        rewritten = prepare(self._preparer, asked)
        event, clauses = self._met(session, rewritten, origins, facts)
        refusal = self._refusal(session, resource, now_us) or rewritten.prepared.refusal
        if refusal is None and (rules := self._rewriting(rewritten, clauses)):
            if not rewritten.rules:
                rewritten = prepare(self._preparer, asked, rules)
                event, clauses = self._met(session, rewritten, origins, facts)
                refusal = rewritten.prepared.refusal
                rules = () if refusal is not None else self._rewriting(rewritten, clauses)
            refusal = REWRITE_UNSTABLE if rules else refusal
        prepared, look = rewritten.prepared, clauses.look
        assert look is not None
        verdict = decide(
            self.bundle,
            possibly=prepared.possibly,
            certainly=prepared.certainly,
            refusal=refusal,
            clauses=clauses.holds,
            wanted=rewritten.wanted,
        )
        approved: Verdict | None = None
        if approve and verdict.effect is Effect.ESCALATE:
            approved = decide(
                self.bundle,
                possibly=prepared.possibly,
                certainly=prepared.certainly,
                clauses=clauses.holds,
                wanted=rewritten.wanted,
                lifted=frozenset(
                    number
                    for number in escalating(self.bundle, verdict)
                    if self.bundle.rules[number].approval is not None
                ),
            )
            approved = modified(self.bundle, approved, rewritten.rules)
        verdict = modified(self.bundle, verdict, rewritten.rules)
        matched: tuple[str, ...] = ()
        if refusal is None:
            found = matched_rules(
                self.bundle,
                possibly=prepared.possibly,
                certainly=prepared.certainly,
                clauses=clauses.holds,
                wanted=rewritten.wanted,
            )
            matched = (
                *(self.bundle.rules[number].name for number in rewritten.rules),
                *(rule.name for rule in found),
            )
        positions: Mapping[Scope, int] = {}
        looked_up = Fact.UNKNOWN
        self._decided += 1
        effect = (approved or verdict).effect
        if effect in (Effect.ALLOW, Effect.MODIFY):
            positions = look.permitted()
            if prepared.units is not None:
                looked_up = looked_up_by(origins, prepared.units)
                awaited = result_trust(facts).awaited
                Acted(prepared.units, self._decided, awaited).tell(origins)
            if session.basis is not None:
                before = self._tallies.get(session.workflow, Tallies())
                self._tallies[session.workflow] = before.after(
                    session.basis.scope,
                    effects=facts.effects if facts is not None else None,
                    tool=resource.id,
                )
        elif verdict.reason_code != STOPPED and effect is Effect.DENY:
            look.denied()
            if self.bundle.stops and verdict.reasons:
                self._stopped.stop(
                    self.bundle.stops,
                    [reason.rule for reason in verdict.reasons],
                    agent=session.agent,
                    workflow=session.workflow,
                    now_us=now_us,
                )
        return EngineDecision(
            verdict=verdict,
            rewriting=rewritten,
            session=session,
            event=event,
            matched=matched,
            positions=positions,
            clauses=clauses if refusal is None else None,
            number=self._decided,
            looked_up=looked_up,
            approved=approved,
        )

    def report(
        self,
        decision: EngineDecision,
        status: str,
        *,
        witnessed: bool,
        resource: Resource | None = None,
        result: Json = None,
        complete: bool = True,
    ) -> None:
        """What a permitted action came to: "succeeded", "failed" or "not_executed". Once for each decision.

        Args:
            resource: what it was carried out on, where there is a result to tell.
            result: what it returned; None = nothing is told of it.
            complete: whether that is all that it returned.
        """
        if self.bundle.looks_at_origins and (result is not None or status != "succeeded"):
            facts = self.bundle.catalog.facts(resource.type, resource.id) if resource is not None else None
            returns, default, _ = result_trust(facts)
            told = told_by_result(result, returns, default=default, hasher=self._hasher, complete=complete)
            self._origins_of(decision.session.workflow).result(
                told, source=decision.number, looked_up=decision.looked_up, trusting=witnessed
            )
        for scope, position in decision.positions.items():
            past = decision.session.pasts[scope]
            past.outcome(decision.event, position, succeeded=status == "succeeded", witnessed=witnessed)
            if status == "not_executed" and witnessed:
                past.give_back(decision.event)

    def _met(
        self, session: EngineSession, found: Rewriting, origins: Origins, facts: ResourceFacts | None
    ) -> tuple[Event, RuleClauses]:
        """An action as its session's past sees it, and what rules may ask of it."""
        action, prepared = found.action, found.prepared
        event = Event(action.now_us, prepared.possibly, prepared.certainly, dict(prepared.measures))
        look = Look(self.bundle.program, session.pasts, event)
        return event, RuleClauses(
            look,
            origins,
            prepared.units or (),
            lambda: self._asked_for(session, action.resource, facts, action.arguments),
        )

    def _rewriting(self, found: Rewriting, clauses: RuleClauses) -> tuple[int, ...]:
        return rewriting(
            self.bundle, possibly=found.prepared.possibly, wanted=found.wanted, clauses=clauses.holds
        )

    def _asked_for(
        self,
        session: EngineSession,
        resource: Resource,
        facts: ResourceFacts | None,
        arguments: Mapping[str, Json],
    ) -> Answer:
        return judge(
            None if session.basis is None else session.basis.decisive,
            effects=None if facts is None else facts.effects,
            tool=resource.id,
            arguments=arguments,
            types=None if facts is None else facts.arguments,
            tallies=self._tallies.get(session.workflow, Tallies()),
        )

    def _origins_of(self, workflow: str) -> Origins:
        found = self._origins.get(workflow)
        if found is None:
            found = self._origins[workflow] = Origins()
        return found

    def _past(self, scope: Scope, name: str) -> Past:
        past = self._pasts.get((scope, name))
        if past is None:
            past = self._pasts[scope, name] = Past(self.bundle.program, scope)
        return past

    def _refusal(self, session: EngineSession, resource: Resource, now_us: int) -> str | None:
        if self.bundle.stops and self._stopped.meets(
            agents=session.acting(), workflow=session.workflow, now_us=now_us
        ):
            return STOPPED
        return session.outside(resource, now_us)
