"""The pasts that an owner holds: of its sessions, workflows and agents, awake or resting in the journal.

What an action changes is written in the transaction that decides it, so that dropping a past from memory is all there
is to letting it rest; one that meets another bundle than its last one is carried over when it is first used.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping

from actors import past_journal
from actors.active_bundle import ActiveBundle
from actors.ids import subject_of_key
from actors.journal import Journal, Transaction
from actors.past_journal import HistoryRow, PastRow, Recalled
from actors.records import AgentRecord
from actors.reservation_journal import open_of_agent
from policies.action import Subject
from policies.past import state_bytes
from policies.past.monitor import UNREPORTED
from policies.past.program import Scope
from policies.past.recall import Recorded
from policies.past.slices import Event
from policies.past.state import Open, Past
from policies.past.translation import Described, Translation

PASTS_AWAKE = 8_000
"""Of one owner; each takes a few hundred bytes, and with keys up to about 100 kB for each rule that has them."""

Name = tuple[Scope, str]


class Pasts:
    """Pasts by scope and name, as the active bundle remembers them. Not thread-safe.

    Args:
        record_of: what is registered of an agent key here; None = its home is elsewhere, or it is not registered.
        shadow: whether they are those of a shadow bundle, which may miss what happened: it reads the record then.
    Attributes:
        number: of the active bundle's program in this journal.
    """

    def __init__(
        self, journal: Journal, record_of: Callable[[str], AgentRecord | None], *, shadow: bool = False
    ) -> None:
        self._journal = journal
        self._record_of = record_of
        self._shadow = shadow
        self._active: ActiveBundle | None = None
        self._lenient = False
        self._awake: OrderedDict[Name, Past] = OrderedDict()
        self._translations: dict[int, Translation] = {}
        self._kinds: dict[tuple[str, str, str], int] = {}
        self._newest = past_journal.newest(journal)
        self._activation = 0
        self.number = 0

    def use(self, active: ActiveBundle, activation: int, *, lenient: bool) -> None:
        """Remember as this bundle does from now on.

        Args:
            lenient: whether conditions of new rules count as untrue of what was before them.
        """
        self.number = past_journal.begin_activation(
            self._journal, activation, active.digest, active.described.to_json()
        )
        self._activation = activation
        self._active = active
        self._lenient = lenient
        self._awake.clear()
        self._translations.clear()

    def of(
        self,
        scope: Scope,
        name: str,
        *,
        workflow: str,
        records: dict[str, AgentRecord | None],
        since_us: int = 0,
    ) -> Past:
        """One past, woken from the journal if it rests.

        Args:
            name: of the session or workflow; the agent key.
            workflow: of the session at hand.
            records: what is known of agents, for the rules to which the past is told.
            since_us: when the scope began, if that is known: it has no past before.
        Cost: an index lookup and a decoding for one that rests; a reading of the record after an activation with
            rules that are new.
        """
        past = self._awake.get((scope, name))
        if past is None:
            past = self._awake[scope, name] = self._wake(scope, name, workflow, records, since_us)
        else:
            self._awake.move_to_end((scope, name))
        return past

    def save(
        self, step: Transaction, changed: Iterable[Name], *, now_us: int, recorded: int | None = None
    ) -> None:
        """Write what an action changed.

        Args:
            recorded: the highest id of the record, where somebody else counts it.
        Cost: 10 µs a past, and more where there are many keys.
        """
        past_journal.save_pasts(
            step,
            [
                PastRow(
                    scope,
                    name,
                    self._activation,
                    self._newest if recorded is None else recorded,
                    now_us,
                    state_bytes.encode(self._awake[scope, name]),
                )
                for scope, name in changed
            ],
            shadow=self._shadow,
        )

    def forget(self, step: Transaction, names: Iterable[Name]) -> None:
        """Drop what is kept of pasts that the active bundle does not look at, because it would be out of date: a
        bundle that looks at them again is told by the record."""
        past_journal.forget_pasts(step, names, shadow=self._shadow)

    def record(self, step: Transaction, rows: Iterable[HistoryRow]) -> None:
        """Write permitted actions down for rules to come."""
        past_journal.save_history(self._journal, step, rows, self._kinds)

    def next_id(self) -> int:
        """The id of the next recorded action."""
        self._newest += 1
        return self._newest

    def newest(self) -> int:
        """The highest id of the record."""
        return self._newest

    def drop(self, names: Iterable[Name]) -> None:
        """Let pasts rest as they are in the journal."""
        for name in names:
            self._awake.pop(name, None)

    def rest_surplus(self) -> None:
        while len(self._awake) > PASTS_AWAKE:
            self._awake.popitem(last=False)

    def forget_memory(self) -> None:
        """What did not become durable is not remembered."""
        self._awake.clear()
        self._kinds.clear()
        if self._journal.usable:
            self._newest = past_journal.newest(self._journal)

    def translated(
        self,
        number: int,
        event: Event,
        agent: str,
        kind: tuple[str, str, str],
        records: dict[str, AgentRecord | None],
    ) -> Event | None:
        """An action with the active program's numbers instead of an earlier one's; None = those are not known.

        Args:
            agent, kind: whose, and what it was (action, resource type, resource id): what holds of it by these alone.
        """
        if number == self.number:
            return event
        active = self._active
        if active is None or past_journal.described(self._journal, number) is None:
            return None
        found = self._translations.get(number)
        if found is None:
            found = self._translations[number] = Translation(self._described(number), active.described)
        return found.event(event, self.as_recorded(event.time_us, agent, kind, records))

    def as_recorded(
        self, at_us: int, agent: str, kind: tuple[str, str, str], records: Mapping[str, AgentRecord | None]
    ) -> Event:
        """An action as the record tells it to the active program."""
        assert self._active is not None
        recorded = self._recorded(Recalled(0, agent, at_us, kind, UNREPORTED, False), records)
        return self._active.recall(lenient=self._lenient).event(recorded)

    def _wake(
        self, scope: Scope, name: str, workflow: str, records: dict[str, AgentRecord | None], since_us: int
    ) -> Past:
        assert self._active is not None
        program = self._active.program
        resting = past_journal.read_past(self._journal, scope, name, shadow=self._shadow)
        if resting is not None and resting.activation == self._activation and not self._shadow:
            return state_bytes.decode(program, scope, resting.state)
        recalled, unknown_until_us = past_journal.recall(self._journal, scope, name, workflow=workflow)
        if self._shadow and resting is not None:
            if not recalled or recalled[-1].id <= resting.recorded:
                return state_bytes.decode(program, scope, resting.state)
            resting = None
        if unknown_until_us < since_us:
            unknown_until_us = 0
        recorded = [self._recorded(one, records) for one in recalled]
        recall = self._active.recall(lenient=self._lenient)
        new_monitors = frozenset(range(len(program.monitors)))
        new_accounts = frozenset(range(len(program.limits)))
        past = Past(program, scope)
        past.position = len(recorded)
        programs = (
            past_journal.programs_since(self._journal, resting.activation) if resting is not None else []
        )
        if resting is not None and programs:
            old = self._described(programs[0])
            stored = state_bytes.decode(program, scope, resting.state, [slots for _, slots in old.monitors])
            missed = bool(recalled) and recalled[-1].id > resting.recorded
            # What happened under a bundle in between was seen by those alone that were in it, too.
            between = [self._described(one) for one in programs[1:]] if missed else []
            translation = Translation(old, self._active.described, between)
            # What is open is told by and by, with everything else.
            still_open = _taken_out(recorded, [one for one in stored.open if not one.reservation])
            told = [None if one is None else recall.event(one) for one in still_open]
            past = translation.past(stored, program, scope, told)
            new_monitors, new_accounts = translation.new_monitors, translation.new_accounts
        # An outcome may be the next that it hears of.
        past.last_us = max([past.last_us, unknown_until_us, *(one.time_us for one in recorded[-1:])])
        recall.tell(past, new_monitors, new_accounts, recorded, unknown_until_us=unknown_until_us)
        if scope is Scope.AGENT and not self._shadow:
            self._reserve_again(past, name, records)
        return past

    def _reserve_again(self, past: Past, agent: str, records: dict[str, AgentRecord | None]) -> None:
        """Let what is reserved count, also where a bundle in between did not look at agents' pasts."""
        known = past.reserved()
        for row in open_of_agent(self._journal, agent):
            if row.id in known:
                continue
            event = self.translated(
                row.program, state_bytes.decode_event(row.event), agent, row.kind, records
            )
            if event is None:
                event = Event(row.created_us, past.program.relevant, 0)
            past.permit(event._replace(time_us=max(event.time_us, past.last_us)), reservation=row.id)

    def _described(self, program: int) -> Described:
        described = past_journal.described(self._journal, program)
        assert described is not None, program
        return Described.from_json(described)

    def _recorded(self, one: Recalled, records: Mapping[str, AgentRecord | None]) -> Recorded:
        """A recorded action; labels are those that its agent has today, where its record is here."""
        tenant, subject_type, subject_id = subject_of_key(one.agent)
        record = records[one.agent] if one.agent in records else self._record_of(one.agent)
        return Recorded(
            one.at_us,
            tenant,
            Subject(type=subject_type, id=subject_id, labels=record.labels if record is not None else ()),
            *one.kind,
            one.outcome,
            one.witnessed,
            labels_known=record is not None,
        )


def _taken_out(recorded: list[Recorded], opened: list[Open]) -> list[Recorded | None]:
    """Take from the record, near its end, the actions that are open; what lies between was done elsewhere.

    Returns: one each, None where the record does not go back so far.
    """
    found: list[Recorded | None] = []
    place = len(recorded) - 1
    for one in reversed(opened):
        while place >= 0 and recorded[place].time_us > one.event.time_us:
            place -= 1
        known = place >= 0 and recorded[place].time_us == one.event.time_us
        found.append(recorded.pop(place) if known else None)
        place -= known
    return found[::-1]
