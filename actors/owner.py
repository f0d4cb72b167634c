"""What owns agents: the one place where an agent's past is read or written. No Ray in here.

An owner is single-threaded. It takes batches of prepared actions, decides each with the agent's state in view, makes
evidence and new state durable in one transaction, and only then answers.
"""

from __future__ import annotations

import json
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import Any

from actors import evidence_rows
from actors.active_bundle import ActiveBundle, capability_of
from actors.agent_journal import find_session, save_decisions, save_seen, save_sessions, wake
from actors.directory import Activation, Directory
from actors.ids import agent_key, decision_id, read_session_id
from actors.journal import Journal, Transaction
from actors.live_agent import LiveAgent, Seen, SeenKey, Session
from actors.messages import (
    BATCH,
    CONFLICT,
    DECIDED,
    SKIPPED,
    STALE_BUNDLE,
    STALE_RECORD,
    Decided,
    DecidedAction,
    DecisionRequest,
)
from actors.owner_clock import EventTime, OwnerClock
from actors.records import AgentRecord
from policies.effect import Effect
from policies.verdict import decide

ALLOW_LIFETIME_US = 30_000_000

# Denials that say nothing about the action itself: they do not bind an idempotency key, so that a retry is decided.
_TRANSIENT = frozenset({"deadline_passed", "clock_uncertain", "lease_expired", "no_active_bundle"})

Answer = tuple[Any, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class OwnerSettings:
    """What an owner needs to know.

    Attributes:
        name: of its actor and journal, e.g. ``host-000``.
        ordinal: of its log; decision and session ids carry it.
        session_key: 32 bytes that authenticate session ids.
        awake_limit: how many agents stay in memory; the least recently used ones rest in the journal.
    """

    name: str
    ordinal: int
    session_key: bytes
    awake_limit: int = 2000


@dataclass(frozen=True, slots=True, kw_only=True)
class Surroundings:
    """The world as an owner sees it, passed in so that tests can hold it still.

    Attributes:
        wall_us: wall clock, microseconds since the epoch.
        monotonic_us: monotonic clock, microseconds.
        random_bytes: cryptographically strong randomness.
    """

    wall_us: Callable[[], int]
    monotonic_us: Callable[[], int]
    random_bytes: Callable[[int], bytes]


class Owner:
    """The agents of one journal. Not thread-safe."""

    def __init__(
        self, settings: OwnerSettings, journal: Journal, directory: Directory, world: Surroundings
    ) -> None:
        self.settings = settings
        self.journal = journal
        self.directory = directory
        self.world = world
        self.active: ActiveBundle | None = None
        self.activation = Activation(journal.meta("active_digest", "") or None, journal.meta("activation", 0))
        self._clock = OwnerClock(
            last_us=journal.meta("event_time_us", 0),
            wall_us=world.wall_us(),
            monotonic_us=world.monotonic_us(),
        )
        self._awake: OrderedDict[str, LiveAgent] = OrderedDict()

    # -- decisions ---------------------------------------------------------------------------------------------

    def decide(self, digest: str | None, raw: Sequence[tuple[Any, ...]]) -> tuple[Any, ...]:
        """Decide a batch, in order; what was permitted is past to the later ones.

        Args:
            digest: of the bundle that the batch was prepared with (bit i means nothing without it).
            raw: `DecisionRequest` tuples.
        Returns: ``(BATCH, answers)``, each answer tagged as `actors.messages` says, or ``(STALE_BUNDLE, digest)``.
            Everything DECIDED is durable (but dry runs).
        Raises: JournalError: nothing was decided; the caller answers nobody with a permission.
        Cost: one fsync, and about 40 µs an action.
        """
        current = self.active.digest if self.active else None
        if digest != self.activation.digest or digest != current:
            return (STALE_BUNDLE, self.activation.digest)
        requests = [DecisionRequest._make(item) for item in raw]
        answers = self._stale_records(requests)
        step = _Step(self.event_time())
        try:
            with self.journal.transaction() as transaction:
                for position, request in enumerate(requests):
                    if answers[position] is None:
                        answers[position] = self._decide_one(request, step, transaction)
                step.save(transaction)
        except BaseException:
            # What was changed in memory did not become durable: everybody wakes from the journal again.
            self._awake.clear()
            raise
        self.rest_surplus()
        return (BATCH, answers)

    def _stale_records(self, requests: list[DecisionRequest]) -> list[Answer | None]:
        """STALE_RECORD for what was prepared with another version of its subject's record, and for its whole group
        (so that the items of a group are decided in order), None for the rest."""
        answers: list[Answer | None] = []
        stale_groups: set[int] = set()
        for request in requests:
            record = self.record(request.tenant, request.subject_type, request.subject_id)
            version = record.record_version if record else 0
            if request.record_version == version:
                answers.append(None)
                continue
            answers.append((STALE_RECORD, version, json.dumps(record.to_json()) if record else None))
            stale_groups.add(request.group)
        for position, request in enumerate(requests):
            if answers[position] is None and request.group and request.group in stale_groups:
                answers[position] = (STALE_RECORD, request.record_version, None)
        return answers

    def _decide_one(self, request: DecisionRequest, step: _Step, transaction: Transaction) -> Answer:
        if request.group and request.group in step.stopped_groups:
            return (SKIPPED,)
        key = agent_key(request.tenant, request.subject_type, request.subject_id)
        replay = None if request.dry_run else self._replay(key, request, step)
        if replay is not None and replay[0] == CONFLICT:
            return replay
        agent = self.agent(key)
        record = self._record_of(agent, request.tenant, request.subject_type, request.subject_id)
        session, session_refusal = self._session(agent, record, request, step)
        if replay is not None and replay[0] == DECIDED:
            answer = Decided._make(replay[1:])
        else:
            refusal = (
                "idempotency_key_spent" if replay is not None else self._refusal(record, request, step.time)
            )
            answer = self._verdict(request, refusal or session_refusal, session, step)
            if not request.dry_run:
                self._keep(
                    key, agent, record, session, request, answer, step, transaction, bind=replay is None
                )
        permitted = answer.effect in (Effect.ALLOW, Effect.MODIFY) and not request.dry_run
        if request.stop_on == ("permit" if permitted else "deny"):
            step.stopped_groups.add(request.group)
        return (DECIDED, *answer)

    def _replay(self, key: str, request: DecisionRequest, step: _Step) -> Answer | None:
        """What an idempotency key is bound to: the decision again, a CONFLICT, or ``(SPENT,)``."""
        if request.idempotency_key is None:
            return None
        bound = step.bound.get((key, request.idempotency_key))
        if bound is None:
            rows = self.journal.read(
                "SELECT d.digest, d.answer, d.outcome FROM idempotency i JOIN decisions d ON d.id = i.decision"
                " WHERE i.agent = ? AND i.key = ?",
                (key, request.idempotency_key),
            )
            if not rows:
                return None
            bound = rows[0]
        digest, answer_json, outcome = bound
        if digest != _binding(request):
            return (
                CONFLICT,
                f"idempotency key `{request.idempotency_key}` is bound to another action or other arguments",
            )
        answer = read_answer(answer_json)
        if outcome is not None or 0 < answer.expires_us <= step.time.us:
            return ("spent",)
        return (DECIDED, *answer._replace(replayed=True))

    def _refusal(self, record: AgentRecord | None, request: DecisionRequest, time: EventTime) -> str | None:
        """Why this is denied whatever the rules say, if it is."""
        if not time.certain:
            return "clock_uncertain"
        if not self.directory.fresh(now_s=self.world.monotonic_us() / 1e6):
            return "lease_expired"
        if request.deadline_us <= self.world.wall_us():
            return "deadline_passed"
        if record is None:
            return "unknown_agent" if request.subject_type == "agent" else "unknown_subject"
        if self.active is None:
            return "no_active_bundle"
        return None

    def _verdict(
        self, request: DecisionRequest, refusal: str | None, session: Session | None, step: _Step
    ) -> Decided:
        if refusal is None and self.active is not None:
            verdict = decide(
                self.active.bundle,
                possibly=request.possibly,
                certainly=request.certainly,
                refusal=request.refusal,
            )
            effect, reason_code = verdict.effect, verdict.reason_code
            reasons = tuple((r.rule, r.because, r.controls) for r in verdict.reasons)
            detail = request.detail if reason_code == request.refusal else ""
        else:
            effect, reason_code, reasons, detail = Effect.DENY, refusal or "no_active_bundle", (), ""
        permitted = effect in (Effect.ALLOW, Effect.MODIFY)
        random = int.from_bytes(self.world.random_bytes(6), "big")
        return Decided(
            id=""
            if request.dry_run
            else decision_id(now_us=step.time.us, ordinal=self.settings.ordinal, random=random),
            effect=str(effect),
            reason_code=reason_code,
            reasons=reasons,
            detail=detail,
            session=session.name if session else None,
            expires_us=step.time.us + ALLOW_LIFETIME_US if permitted else 0,
            bundle=self.activation.digest,
            replayed=False,
        )

    def _keep(
        self,
        key: str,
        agent: LiveAgent,
        record: AgentRecord | None,
        session: Session | None,
        request: DecisionRequest,
        answer: Decided,
        step: _Step,
        transaction: Transaction,
        *,
        bind: bool,
    ) -> None:
        """Everything that a decision leaves behind: evidence, what was seen, the session's use, the replay."""
        now_us = step.time.us
        active = self.active
        facts = active.facts(request.resource_type, request.resource_id) if active else None
        transaction.append(
            evidence_rows.decision_row(
                request,
                answer,
                time_us=now_us,
                duration_us=max(0, self.world.wall_us() - request.received_us),
                workflow_id=session.workflow_id if session else None,
                record=record,
                facts=facts,
                atoms=active.defined(request.possibly) if active else [],
            )
        )
        if session is not None:
            session.last_us = now_us
            if answer.expires_us:
                session.actions += 1
            step.sessions[key, session.name] = session
        if answer.expires_us and active is not None:
            capability = active.capability(request.resource_type, request.resource_id)
            seen_key, seen = agent.see(
                (request.action, request.resource_type, request.resource_id), capability, now_us
            )
            step.seen[key, seen_key] = seen
        remembered = json.dumps(
            DecidedAction(
                tenant=request.tenant,
                subject_type=request.subject_type,
                subject_id=request.subject_id,
                action=request.action,
                resource_type=request.resource_type,
                resource_id=request.resource_id,
                arguments_digest=request.arguments_digest.hex(),
                evidence_digest=request.evidence_digest.hex(),
                workflow_id=session.workflow_id if session else None,
            )
        )
        answer_json = json.dumps(answer)
        binding = _binding(request)
        step.decisions.append((answer.id, key, now_us, binding, answer_json, remembered))
        if bind and request.idempotency_key is not None and answer.reason_code not in _TRANSIENT:
            step.bound[key, request.idempotency_key] = (binding, answer_json, None)
            step.keys.append((key, request.idempotency_key, answer.id, now_us))

    def _session(
        self, agent: LiveAgent, record: AgentRecord | None, request: DecisionRequest, step: _Step
    ) -> tuple[Session | None, str | None]:
        """The session that an action belongs to, or why it has none."""
        if request.session is None:
            if record is None:
                return None, None
            if not record.standing:
                return None, "session_required"
            return self.standing_session(agent, step.time.us), None
        genuine = read_session_id(request.session, key=self.settings.session_key, subject=agent.key)
        if genuine is None or genuine.ordinal != self.settings.ordinal:
            return None, "unknown_session"
        session = self.find_session(agent, genuine.text)
        if session is None:
            return None, "unknown_session"
        if genuine.expires_us <= step.time.us:
            return session, "session_expired"
        state = session.state(step.time.us)
        return session, None if state == "live" else f"session_{state}"

    def adopt(self, active: ActiveBundle, activation: Activation) -> None:
        """Decide with another bundle from the next batch on. Durable when it returns.

        Raises: ValueError: the bundle is not the one that the activation names.
        """
        if active.digest != activation.digest:
            raise ValueError(f"compiled bundle {active.digest}, activation names {activation.digest}")
        # INVARIANT (agreement): the journalled digest is the point of truth; it changes before the first decision
        # with the new bundle, never after.
        with self.journal.transaction() as step:
            step.set_meta("active_digest", active.digest)
            step.set_meta("activation", activation.number)
        self.active = active
        self.activation = activation

    # -- state that other parts of an owner share ----------------------------------------------------------------

    def event_time(self) -> EventTime:
        return self._clock.read(wall_us=self.world.wall_us(), monotonic_us=self.world.monotonic_us())

    def new_event_id(self, now_us: int) -> str:
        random = int.from_bytes(self.world.random_bytes(6), "big")
        return decision_id(now_us=now_us, ordinal=self.settings.ordinal, random=random)

    def agent(self, key: str) -> LiveAgent:
        """The agent, woken from the journal if it rests."""
        agent = self._awake.get(key)
        if agent is None:
            agent = self._awake[key] = wake(self.journal, key)
        else:
            self._awake.move_to_end(key)
        return agent

    def awake(self) -> int:
        return len(self._awake)

    def rest_surplus(self) -> None:
        """Let the least recently used agents rest. Everything that an agent is stands in the journal, so dropping
        it from memory is all there is to it; never done within a batch, whose changes are not yet written."""
        while len(self._awake) > self.settings.awake_limit:
            self._awake.popitem(last=False)

    def let_rest(self, key: str) -> None:
        """Let one agent rest; it wakes from the journal at its next action."""
        self._awake.pop(key, None)

    def forget_memory(self) -> None:
        """Let every agent rest; each wakes from the journal at its next action."""
        self._awake.clear()

    def record(self, tenant: str, subject_type: str, subject_id: str) -> AgentRecord | None:
        """The registered facts about a subject: an agent's stand in this journal, everybody else's in the
        directory of principals."""
        if subject_type != "agent":
            return self._record_of(None, tenant, subject_type, subject_id)
        return self.agent(agent_key(tenant, subject_type, subject_id)).record

    def _record_of(
        self, agent: LiveAgent | None, tenant: str, subject_type: str, subject_id: str
    ) -> AgentRecord | None:
        if subject_type == "agent":
            return agent.record if agent else None
        principal = self.directory.get("principal", agent_key(tenant, subject_type, subject_id))
        return AgentRecord.from_json(principal) if principal else None

    def find_session(self, agent: LiveAgent, name: str) -> Session | None:
        session = agent.sessions.get(name)
        if session is None:
            session = find_session(self.journal, agent.key, name)
            if session is not None:
                agent.sessions[name] = session
        return session

    def standing_session(self, agent: LiveAgent, now_us: int) -> Session:
        """The session that an agent has without opening one. It never ends by itself: its past is the agent's."""
        name = standing_name(agent.key)
        session = self.find_session(agent, name)
        if session is None:
            workflow = "wfl_" + name.removeprefix("ses_")
            session = Session(name=name, workflow_id=workflow, opened_us=now_us, last_us=now_us)
            agent.sessions[name] = session
        elif session.state(now_us) == "expired":
            session.last_us = now_us
        return session

    def capability(self, resource_type: str, resource_id: str) -> Any:
        """What a resource is, under the active catalog."""
        if self.active is None:
            return capability_of(resource_type, resource_id, None)
        return self.active.capability(resource_type, resource_id)


class _Step:
    """What one batch writes, collected so that each table is written once."""

    def __init__(self, time: EventTime) -> None:
        self.time = time
        self.sessions: dict[tuple[str, str], Session] = {}
        self.seen: dict[tuple[str, SeenKey], Seen] = {}
        self.decisions: list[tuple[Any, ...]] = []
        self.keys: list[tuple[Any, ...]] = []
        self.bound: dict[tuple[str, str], tuple[bytes, str, str | None]] = {}
        self.stopped_groups: set[int] = set()

    def save(self, transaction: Transaction) -> None:
        save_sessions(transaction, [(key, session) for (key, _), session in self.sessions.items()])
        save_seen(transaction, [(key, seen_key, seen) for (key, seen_key), seen in self.seen.items()])
        save_decisions(transaction, self.decisions, self.keys)
        transaction.set_meta("event_time_us", self.time.us)


def standing_name(key: str) -> str:
    """The session id that stands in evidence for actions without a session. It authenticates nothing."""
    return "ses_standing_" + sha256(key.encode()).hexdigest()[:20]


def read_answer(text: str) -> Decided:
    values = json.loads(text)
    answer = Decided._make(values)
    return answer._replace(reasons=tuple((r, b, tuple(c)) for r, b, c in answer.reasons))


def _binding(request: DecisionRequest) -> bytes:
    """What an idempotency key is bound to: the whole action, so that a key cannot be carried to another tool."""
    target = f"{request.session}\0{request.action}\0{request.resource_type}\0{request.resource_id}\0".encode()
    return target + request.arguments_digest
