"""A whole run: traffic, rounds, the last comparison, and what to say of it."""

from __future__ import annotations

import statistics
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from integration.faults import against_table
from integration.faults.against_table import Compared
from integration.faults.plan import Round
from integration.faults.rounds import Played, Rounds
from integration.faults.traffic import Traffic, register
from integration.faults.victims import Victim
from integration.plane import Running


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """What was played, and what was compared at the end."""

    played: list[Played]
    compared: Compared
    failures: dict[str, int]


def run(
    running: Running, plan: Sequence[Round], *, seed: int, repeat: str, say: Callable[[str], None]
) -> Result:
    """Play a plan in the middle of traffic and compare everything at the end.

    Args:
        seed: of the plan; the clients draw from it, too.
        repeat: the command that plays this plan again.
    Raises: AssertionError: names the round, its seed, and how to repeat it.
    """
    traffic = Traffic(running, register(running), seed)
    rounds = Rounds(running, traffic)
    played: list[Played] = []
    traffic.start()
    try:
        for round_ in plan:
            try:
                done = rounds.play(round_)
            except AssertionError as error:
                raise AssertionError(
                    f"round {round_.number} of seed {seed} ({round_}): {error}\nrepeat with: {repeat}"
                ) from error
            played.append(done)
            say(
                f"round {round_.number:3d}  seed {seed}  {round_!s:<52} back after {done.back_s:5.1f} s"
                f"  {len(traffic.record.decisions()):7d} decisions  {sum(done.failures.values()):4d} unanswered"
                f"  {done.failures.get('0 ReadTimeout', 0):2d} of them far past their deadline"
            )
    finally:
        traffic.stop()
    running.wait_until_landed(timeout_s=60)
    try:
        compared = against_table.compare(traffic.record, against_table.rows_of(running))
    except AssertionError as error:
        raise AssertionError(
            f"after the last round of seed {seed}: {error}\nrepeat with: {repeat}"
        ) from error
    return Result(played=played, compared=compared, failures=dict(traffic.record.failures()))


def summary(result: Result) -> list[str]:
    """Recovery by kind of fault, and how much was compared."""
    by_kind: dict[str, list[float]] = defaultdict(list)
    for done in result.played:
        kind = str(done.round.faults[0]) if len(done.round.faults) == 1 else "two faults"
        if any(fault.victim.ends_the_cluster for fault in done.round.faults):
            kind = "the whole cluster"
        if any(fault.victim is Victim.EVERYTHING for fault in done.round.faults):
            kind = "everything at once"
        by_kind[kind].append(done.back_s)
    compared = result.compared
    return [
        f"{len(result.played)} rounds, {sum(len(done.round.faults) for done in result.played)} faults",
        *(
            f"  {kind:<24} {len(times):3d} times, back after {statistics.median(times):5.1f} s (median), "
            f"{max(times):5.1f} s (longest)"
            for kind, times in sorted(by_kind.items())
        ),
        f"compared {compared.decisions} decisions ({compared.permits} allowed), {compared.keys} idempotency keys, "
        f"{compared.outcomes} outcomes with {compared.rows} rows in {compared.logs} logs; "
        f"{compared.unseen} decisions reached no client (their answers were lost: denied)",
        f"attempts without a decision: {dict(sorted(result.failures.items()))}",
    ]
