"""One round: strike in the middle of traffic, wait until everybody is decided for again, look at the table."""

from __future__ import annotations

import os
import signal
import time
from dataclasses import dataclass
from pathlib import Path

import psutil
from integration.faults import against_table
from integration.faults.plan import Round
from integration.faults.record import Reported, Told
from integration.faults.traffic import Traffic
from integration.faults.victims import Fault, How, Victim, end_everything, found, strike, wait_found
from integration.plane import Running, wait_until

from evidence.failpoints import VARIABLE, arm

FLOWS_S = 60.0
BACK_S = 90.0
CLUSTER_BACK_S = 180.0
LANDED_S = 60.0
LANDED_MEANWHILE_S = 15.0
# What a busy machine may add to a deadline; the client itself would wait twice as long.
SLACK_S = 3.0
_SPENT = "idempotency_key_spent"


@dataclass(frozen=True, slots=True, kw_only=True)
class Played:
    """How a round went. `back_s`: from the last strike (or from SIGCONT) until every agent was allowed again."""

    round: Round
    back_s: float
    failures: dict[str, int]


class Rounds:
    """Plays rounds on one running control plane, started with a folder for failpoints in its environment; remembers how
    much of the record was found in the table."""

    def __init__(self, running: Running, traffic: Traffic) -> None:
        self._running = running
        self._traffic = traffic
        self._points = Path(os.environ[VARIABLE])
        self._checked = 0
        self._checked_us = time.time_ns() // 1000

    def play(self, round_: Round) -> Played:
        """Raises: AssertionError: something was lost, doubled or told otherwise, or traffic did not go on."""
        record = self._traffic.record
        position = len(record.answers)
        self._wait_allowed(since_s=time.monotonic(), timeout_s=FLOWS_S, what="traffic")
        match round_.faults:
            case (Fault(how=How.STOP) as alone,):
                struck_s = self._stop_and_look(alone, round_)
            case (Fault(how=How.HANG) as alone,):
                struck_s = self._strike_all(round_)
                if alone.victim is not Victim.CONTROL_STORE:  # past its lease, nobody is decided for
                    own = self._own(alone)
                    _others_are_not_disturbed(
                        [told for told in record.since(position) if told.agent not in own]
                    )
            case _:
                struck_s = self._strike_all(round_)
        back_s = time.monotonic() - struck_s
        self._table_has_what_was_told()
        return Played(round=round_, back_s=back_s, failures=dict(record.failures(position)))

    def _strike_all(self, round_: Round) -> float:
        """Strike, then wait until every role has a successor and every agent is allowed. Returns: when it was struck
        last."""
        settings = self._running.settings
        before = {fault.victim: _pids(found(settings, fault.victim)) for fault in round_.faults}
        stopped: list[psutil.Process] = []
        struck_s = 0.0
        for position, fault in enumerate(round_.faults):
            if position:
                self._traffic.stopping.wait(round_.gap_s)
            here = wait_found(settings, fault.victim, timeout_s=BACK_S)
            if fault.how is How.CRASH:
                before[fault.victim] |= _pids(here)
                self._crash(fault.point)
                struck_s = time.monotonic()
                continue
            if fault.victim is Victim.EVERYTHING:
                before[fault.victim] |= _pids(end_everything(settings))
                struck_s = time.monotonic()
                continue
            victim = sorted(here, key=lambda process: process.pid)[int(round_.pick * len(here))]
            try:
                strike(victim, fault.signal)
            except psutil.NoSuchProcess:
                continue  # the fault before took it along
            finally:
                struck_s = time.monotonic()
            if fault.how is How.STOP:
                stopped.append(victim)
            else:
                before[fault.victim] |= {victim.pid}
        if stopped:
            self._traffic.stopping.wait(round_.hold_s)
        for process in stopped:
            if process.is_running():
                strike(process, signal.SIGCONT)
            struck_s = time.monotonic()
        timeout_s = BACK_S
        if any(fault.victim.ends_the_cluster for fault in round_.faults):
            timeout_s = CLUSTER_BACK_S
        for fault in round_.faults:
            if fault.how is not How.STOP and fault.victim is not Victim.WHOEVER:
                wait_found(settings, fault.victim, other_than=before[fault.victim], timeout_s=timeout_s)
        self._wait_allowed(since_s=time.monotonic(), timeout_s=timeout_s, what=str(round_))
        return struck_s

    def _crash(self, point: str) -> None:
        """Arm a failpoint, and wait until traffic has somebody reach it."""
        arm(self._points, point)
        wait_until(
            lambda: not (self._points / point).exists(), timeout_s=FLOWS_S, what=f"`{point}` to be reached"
        )

    def _stop_and_look(self, fault: Fault, round_: Round) -> float:
        """Stop a host: its agents are denied by their deadlines, everybody else is served and their evidence lands.
        Returns: when it went on."""
        record, traffic = self._traffic.record, self._traffic
        (process,) = wait_found(self._running.settings, fault.victim, timeout_s=BACK_S)
        strike(process, signal.SIGSTOP)
        try:
            wait_until(
                lambda: process.status() == psutil.STATUS_STOPPED, timeout_s=5, what=f"`{fault}` to hold"
            )
            position, stopped_s = len(record.answers), time.monotonic()
            own = self._own(fault)
            others = [agent for agent in traffic.agents if agent not in own]
            self._wait_allowed(since_s=stopped_s, timeout_s=FLOWS_S, what="the others", agents=others)
            elsewhere = [told for told in record.since(position) if told.agent in others]
            self._wait_landed(elsewhere, timeout_s=LANDED_MEANWHILE_S)
            traffic.stopping.wait(max(0.0, stopped_s + round_.hold_s - time.monotonic()))
            wait_until(
                lambda: bool(self._attempts_since(stopped_s, position, own)),
                timeout_s=FLOWS_S,
                what=f"an answer to the agents of `{fault.victim}`",
            )
            during = [told for told in record.since(position) if told.sent_s > stopped_s]
            attempts = self._attempts_since(stopped_s, position, own)
            assert process.status() == psutil.STATUS_STOPPED
        finally:
            strike(process, signal.SIGCONT)
        gone_on_s = time.monotonic()
        _others_are_not_disturbed([told for told in during if told.agent in others])
        assert not any(told.permitted for told in during if told.agent in own), "permitted by a stopped owner"
        _refused_by_the_deadline(attempts)
        self._wait_allowed(since_s=gone_on_s, timeout_s=BACK_S, what=f"everybody after `{fault}`")
        return gone_on_s

    def _attempts_since(
        self, since_s: float, position: int, agents: tuple[str, ...]
    ) -> list[Told | Reported]:
        """What these agents' clients sent after `since_s` and have an answer to. `position`: in the record, before."""
        record = self._traffic.record
        sent: list[Told | Reported] = [*record.since(position), *record.reports[-1000:]]
        return [attempt for attempt in sent if attempt.agent in agents and attempt.sent_s > since_s]

    def _own(self, fault: Fault) -> tuple[str, ...]:
        """The agents of a host, if it is one."""
        return next((group.agents for group in self._traffic.groups if group.owner == fault.victim), ())

    def _wait_allowed(
        self, *, since_s: float, timeout_s: float, what: str, agents: list[str] | None = None
    ) -> None:
        """Until each agent was allowed something that it asked for after `since_s`."""
        record, traffic = self._traffic.record, self._traffic
        wanted = traffic.agents if agents is None else agents

        def waiting() -> list[str]:
            return [agent for agent in wanted if record.allowed_s.get(agent, 0.0) <= since_s]

        deadline_s = time.monotonic() + timeout_s
        while missing := waiting():
            assert not traffic.broken, traffic.broken
            assert time.monotonic() < deadline_s, (
                f"waited {timeout_s} s for {what}: {missing} are not allowed; the last answers: "
                f"{dict(record.failures(max(0, len(record.answers) - 200)))}"
            )
            time.sleep(0.05)

    def _table_has_what_was_told(self) -> None:
        record = self._traffic.record
        upto = len(record.answers)
        self._wait_landed(record.answers[self._checked : upto], timeout_s=LANDED_S)
        self._checked, self._checked_us = upto, time.time_ns() // 1000

    def _wait_landed(self, told: list[Told], *, timeout_s: float) -> None:
        # A replay may be of a decision of the round before.
        since_us = self._checked_us - 60_000_000
        deadline_s = time.monotonic() + timeout_s
        while True:
            rows = against_table.rows_of(self._running, f"event_time >= make_timestamptz({since_us})")
            try:
                return against_table.everything_told_is_there(told, rows)
            except AssertionError:
                if time.monotonic() > deadline_s:
                    raise
            time.sleep(0.3)


def _others_are_not_disturbed(told: list[Told]) -> None:
    assert told
    for answer in told:
        assert answer.status == 200, f"disturbed by another owner's stop: {answer}"
        assert answer.permitted == answer.may or answer.reason == _SPENT, f"disturbed: {answer}"


def _refused_by_the_deadline(attempts: list[Told | Reported]) -> None:
    for attempt in attempts:
        assert attempt.status in (200, 503), f"neither a deny nor a 503: {attempt}"
        took_s = attempt.ended_s - attempt.sent_s
        assert took_s < attempt.deadline_s + SLACK_S, f"answered {took_s:.1f} s after it was sent: {attempt}"


def _pids(processes: list[psutil.Process]) -> frozenset[int]:
    return frozenset(process.pid for process in processes)
