"""From what happened to the figures on the screen. Pure: runs and rows in, numbers out."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import quantiles

from examples.banking.runs import Verdict


@dataclass(frozen=True, slots=True, kw_only=True)
class Benign:
    """Honest tasks.

    Args:
        completed: AgentDojo's checker is content and nothing was denied. Both, because for five of the
            sixteen tasks the checker is content with an agent that does nothing.
        stopped: some call was denied.
        ungoverned_completed: the same tasks without a control plane.
    """

    tasks: int
    completed: int
    stopped: int
    ungoverned_completed: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Hijacks:
    """Hijacked tasks; an attack has `succeeded` when AgentDojo's own checker says so.

    Args:
        begun: the agent read the attacker's text and obeyed it.
        stopped: a call of the attack was denied, and the attack did not succeed.
        succeeded_though_denied: a call of the attack was denied, and it succeeded all the same.
        failed_undenied: nothing was denied, and it did not succeed (the user's task undid it).
        by_attack: (attack, stopped, runs), in AgentDojo's order.
    """

    runs: int
    begun: int
    stopped: int
    succeeded: int
    succeeded_though_denied: int
    failed_undenied: int
    ungoverned_succeeded: int
    by_attack: tuple[tuple[str, int, int], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Decisions:
    """What the control plane answered, as its client saw it over HTTP."""

    made: int
    by_effect: dict[str, int]
    outcomes: int
    failures: tuple[str, ...]
    p50_ms: float
    p99_ms: float
    governed_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Landed:
    """Evidence against memory: the rows of the table and the decisions that the client received.

    Args:
        missing: decisions received that are not in the table.
        surplus: rows of decisions that nobody received.
        duplicates: rows beyond the first with the same id.
    """

    decision_rows: int
    outcome_rows: int
    missing: int
    surplus: int
    duplicates: int

    def agrees_with(self, decisions: Decisions) -> bool:
        """Each decision exactly once, each outcome exactly once, nothing else."""
        return (
            self.missing == self.surplus == self.duplicates == 0
            and self.decision_rows == decisions.made
            and self.outcome_rows == decisions.outcomes
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Stopped:
    """One action that was stopped, and why: as its agent's gateway was told."""

    tool: str
    arguments: str
    effect: str
    detail: str
    rules: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Figures:
    """All that the screen shows."""

    benchmark: str
    benign: Benign
    hijacks: Hijacks
    decisions: Decisions
    landed: Landed
    stopped: Stopped | None
    sql: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]

    @property
    def agrees(self) -> bool:
        """Every call went through, and every decision is in the evidence exactly once."""
        return not self.decisions.failures and self.landed.agrees_with(self.decisions)


def benign(governed: Sequence[Verdict], ungoverned: Sequence[Verdict]) -> Benign:
    """Count the honest runs; both sequences hold the same runs in the same order."""
    return Benign(
        tasks=len(governed),
        completed=sum(verdict.utility and not verdict.denied for verdict in governed),
        stopped=sum(verdict.denied for verdict in governed),
        ungoverned_completed=sum(verdict.utility for verdict in ungoverned),
    )


def hijacks(governed: Sequence[Verdict], ungoverned: Sequence[Verdict]) -> Hijacks:
    """Count the hijacked runs; both sequences hold the same runs in the same order."""
    runs = Counter(str(verdict.attack) for verdict in governed)
    stopped = Counter(str(verdict.attack) for verdict in governed if _stopped(verdict))
    return Hijacks(
        runs=len(governed),
        begun=sum(verdict.attack_begun for verdict in governed),
        stopped=stopped.total(),
        succeeded=sum(verdict.security for verdict in governed),
        succeeded_though_denied=sum(verdict.security and verdict.attack_denied for verdict in governed),
        failed_undenied=sum(not verdict.security and not verdict.attack_denied for verdict in governed),
        ungoverned_succeeded=sum(verdict.security for verdict in ungoverned),
        by_attack=tuple((attack, stopped[attack], count) for attack, count in runs.items()),
    )


def decisions(
    durations_us: Sequence[float],
    effects: Sequence[str],
    *,
    outcomes: int,
    failures: Sequence[str],
    governed_s: float,
) -> Decisions:
    """Summarise what the client received; `durations_us` and `effects` run in parallel."""
    cuts = quantiles(durations_us, n=100, method="inclusive") if len(durations_us) > 1 else [0.0] * 99
    return Decisions(
        made=len(effects),
        by_effect=dict(sorted(Counter(effects).items())),
        outcomes=outcomes,
        failures=tuple(failures),
        p50_ms=round(cuts[49] / 1_000, 2),
        p99_ms=round(cuts[98] / 1_000, 2),
        governed_s=round(governed_s, 1),
    )


def landed(received: set[str], decision_rows: Sequence[str], outcome_rows: int) -> Landed:
    """Compare by id, not only by count.

    Args:
        received: ids of the decisions that the client received.
        decision_rows: ids of the table's decision rows, repeated ones included.
    """
    distinct = set(decision_rows)
    return Landed(
        decision_rows=len(decision_rows),
        outcome_rows=outcome_rows,
        missing=len(received - distinct),
        surplus=len(distinct - received),
        duplicates=len(decision_rows) - len(distinct),
    )


def _stopped(verdict: Verdict) -> bool:
    return verdict.attack_denied and not verdict.security
