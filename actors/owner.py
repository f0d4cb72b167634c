"""What owns agents: the one place where an agent's past is read or written. No Ray in here.

An owner is single-threaded. It takes batches of prepared actions, decides each with the agent's state in view, makes
evidence and new state durable in one transaction, and only then answers.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from actors.active_bundle import ActiveBundle, capability_of
from actors.agent_journal import count_registered, find_session, wake
from actors.bounds import EVIDENCE_BACKLOG, OUTCOME_TIMEOUT_S
from actors.directory import LEASE_S, Activation, Directory
from actors.ids import COUNTER_BITS, agent_key, decision_id, subject_of_key
from actors.journal import Journal
from actors.live_agent import SESSIONS_AWAKE, LiveAgent, Session, standing_name, standing_workflow
from actors.origins import WorkflowOrigins
from actors.owner_clock import EventTime, OwnerClock
from actors.past_journal import begin_record
from actors.pasts import Pasts
from actors.records import AgentRecord
from actors.reservation_journal import begin_settlements
from actors.stops.own import OwnStops
from actors.tallies import WorkflowTallies
from actors.uses import Uses
from controlplane.errors import UnavailableError

if TYPE_CHECKING:
    from actors.shadowing import Shadow


@dataclass(frozen=True, slots=True, kw_only=True)
class OwnerSettings:
    """What an owner needs to know.

    Attributes:
        name: of its actor and journal, e.g. ``host-000``.
        ordinal: of its log; decision and session ids carry it.
        session_key: 32 bytes that authenticate session ids.
        awake_limit: how many agents stay in memory; the least recently used ones rest in the journal.
        evidence_backlog: how many evidence rows may wait to land before nothing more is decided.
        outcome_timeout_s: how long the outcome of a permitted action may take before that is a finding; 0 = for ever.
        stop_on_mismatch: whether an agent is stopped whose PEP executed something else than was allowed.
    """

    name: str
    ordinal: int
    session_key: bytes
    awake_limit: int = 2000
    evidence_backlog: int = EVIDENCE_BACKLOG
    outcome_timeout_s: int = OUTCOME_TIMEOUT_S
    stop_on_mismatch: bool = True


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


class BundleMismatchError(UnavailableError):
    """What was compiled is not what was activated."""

    code = "bundle_mismatch"


class EvidenceBacklogError(UnavailableError):
    """As much evidence waits to land as the journal may hold."""

    code = "evidence_backlog"


class Owner:
    """The agents of one journal. Not thread-safe.

    Attributes:
        registered: how many agents have a record here.
        uses: what awaits its row in the journal.
        stops: those that it has made itself, beside the directory's.
    """

    def __init__(
        self, settings: OwnerSettings, journal: Journal, directory: Directory, world: Surroundings
    ) -> None:
        self.settings = settings
        self.journal = journal
        self.directory = directory
        self.world = world
        self.active: ActiveBundle | None = None
        self.activation = Activation(
            journal.meta("active_digest", "") or None,
            journal.meta("activation", 0),
            bool(journal.meta("activation_lenient", 0)),
        )
        self._clock = OwnerClock(
            last_us=journal.meta("event_time_us", 0),
            wall_us=world.wall_us(),
            monotonic_us=world.monotonic_us(),
        )
        self._counter = int.from_bytes(world.random_bytes(2), "big")
        self._awake: OrderedDict[str, LiveAgent] = OrderedDict()
        self._crowded: list[LiveAgent] = []
        self.uses = Uses(journal)
        self.stops = OwnStops(journal)
        self.registered = count_registered(journal)
        begin_record(journal, now_us=self.event_time().us)
        begin_settlements(journal, now_us=self.event_time().us)
        self.pasts = Pasts(journal, self.record_by_key)
        self.origins = WorkflowOrigins(journal, settings.session_key)
        self.tallies = WorkflowTallies(journal)
        self.shadow: Shadow | None = None

    def adopt(self, active: ActiveBundle, activation: Activation) -> None:
        """Decide with another bundle from the next batch on. Durable when it returns.

        One that is older than what is journalled changes nothing.

        Raises: BundleMismatchError: the bundle is not the one that the activation names.
        """
        if active.digest != activation.digest:
            raise BundleMismatchError(
                f"the stored bundle {activation.digest} compiles to {active.digest} with this version; upload and "
                "activate its sources again",
                expected=activation.digest,
                found=active.digest,
            )
        # INVARIANT (agreement): an owner never goes back to an older activation, whichever message comes late.
        if activation.number < self.activation.number:
            return
        # INVARIANT (agreement): the journalled digest is the point of truth; it changes before the first decision
        # with the new bundle, never after.
        with self.journal.transaction() as step:
            step.set_meta("active_digest", active.digest)
            step.set_meta("activation", activation.number)
            step.set_meta("activation_lenient", int(activation.lenient))
            looks = active.bundle.looks_at_origins
            self.origins.use(step, looks=looks, now_us=self.event_time().us)
        self.pasts.use(active, activation.number, lenient=activation.lenient)
        self.active = active
        self.activation = activation

    def backlogged(self) -> bool:
        """Whether as much evidence waits to land as may."""
        journal = self.journal
        return journal.next_seq - journal.first_seq >= self.settings.evidence_backlog

    def refuse_backlog(self) -> None:
        """Asked before anything that leaves evidence; it goes by itself as evidence lands.

        INVARIANT (bounded): evidence is never dropped, and nothing is decided without it; so a table that takes
        none must stop decisions before the disk is full. The bound is passed by one batch at most.

        Raises: EvidenceBacklogError. Cost: an integer comparison, once a batch.
        """
        if self.backlogged():
            raise EvidenceBacklogError(
                f"{self.journal.pending_count()} rows of evidence of `{self.settings.name}` wait to land, as many as "
                "its journal may hold: nothing is decided until some have landed; `controlplane status` says what "
                "keeps the evidence writer from it"
            )

    # -- state that other parts of an owner share ----------------------------------------------------------------

    def event_time(self) -> EventTime:
        return self._clock.read(wall_us=self.world.wall_us(), monotonic_us=self.world.monotonic_us())

    def new_event_id(self, now_us: int) -> str:
        self._counter += 1
        random = int.from_bytes(self.world.random_bytes(6), "big") >> COUNTER_BITS << COUNTER_BITS
        random |= self._counter & (1 << COUNTER_BITS) - 1
        return decision_id(now_us=now_us, ordinal=self.settings.ordinal, random=random)

    def agent(self, key: str) -> LiveAgent:
        """The agent, woken from the journal if it rests."""
        agent = self._awake.get(key)
        if agent is None:
            agent = self._awake[key] = wake(self.journal, key)
            self.uses.bring_forward(agent)
        else:
            self._awake.move_to_end(key)
        return agent

    def lagging(self) -> bool:
        """Whether a newer bundle than ours has been the active one for longer than a lease lasts."""
        # INVARIANT (agreement): nobody keeps an old bundle for longer than a lease; whoever cannot change, denies.
        heard = self.directory
        if heard.activation.number <= self.activation.number:
            return False
        return self.world.monotonic_us() / 1e6 > heard.activation_known_s + LEASE_S

    def awake(self) -> int:
        return len(self._awake)

    def rest_surplus(self) -> None:
        """Let the least recently used agents rest, and the sessions of one that used many. Everything that an agent
        is stands in the journal, so dropping it from memory is all there is to it; never done within a batch, whose
        changes are not yet written."""
        while len(self._awake) > self.settings.awake_limit:
            self._awake.popitem(last=False)
        self.pasts.rest_surplus()
        self.origins.rest_surplus()
        self.tallies.rest_surplus()
        if self.shadow is not None:
            self.shadow.pasts.rest_surplus()
        if self._crowded:
            for agent in self._crowded:
                agent.sessions.clear()
            self._crowded.clear()
        if self.uses.full() and self.journal.usable:
            self.uses.carry_out()

    def count_sessions_anew(self) -> None:
        """Sessions that ran out were forgotten: whoever was at the limit may open others. Cost: O(awake agents)."""
        for agent in self._awake.values():
            agent.live_sessions = None

    def let_rest(self, key: str) -> None:
        """Let one agent rest; it wakes from the journal at its next action."""
        self._awake.pop(key, None)

    def forget_memory(self) -> None:
        """Let every agent and every past rest; each wakes from the journal at its next action."""
        self._awake.clear()
        self.pasts.forget_memory()
        self.origins.forget_memory()
        self.tallies.forget_memory()
        self.stops.forget_memory()
        if self.shadow is not None:
            self.shadow.pasts.forget_memory()

    def record(self, tenant: str, subject_type: str, subject_id: str) -> AgentRecord | None:
        """The registered facts about a subject: an agent's stand in this journal, everybody else's in the
        directory of principals."""
        if subject_type != "agent":
            return self.record_of(None, tenant, subject_type, subject_id)
        return self.agent(agent_key(tenant, subject_type, subject_id)).record

    def record_by_key(self, key: str) -> AgentRecord | None:
        """`record`, by agent key."""
        return self.record(*subject_of_key(key))

    def record_of(
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
                self.uses.bring_session_forward(agent.key, session)
                agent.sessions[name] = session
                if len(agent.sessions) > SESSIONS_AWAKE:
                    self._crowded.append(agent)
        return session

    def standing_session(self, agent: LiveAgent, now_us: int) -> Session:
        """The session that an agent has without opening one. It never ends by itself: its past is the agent's."""
        name = standing_name(agent.key)
        session = self.find_session(agent, name)
        if session is None:
            workflow = standing_workflow(agent.key)
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
