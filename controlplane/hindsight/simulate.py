"""Replay a period of the evidence table under another bundle."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

from controlplane.hindsight.evidence_rows import Record
from controlplane.hindsight.period import Period, PeriodReader
from policies.bundle import Bundle
from policies.replay.simulation import Simulation, SimulationReport, reach_us

_TOLD_EACH: Final = 1_000

Progress = Callable[[int, int], None]
"""(rows told, of so many)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Simulated:
    """Args: from_us: where the past that was told begins; unknown: what cannot be known, in words."""

    report: SimulationReport
    from_us: int
    unknown: tuple[str, ...]


def simulate(
    reader: PeriodReader,
    bundle: Bundle,
    recorded: Mapping[str, Bundle],
    period: Period,
    *,
    progress: Progress = lambda told, of: None,
) -> Simulated:
    """Judge what happened in a period, after telling as much of what was before as the bundle looks back.

    Args:
        recorded: the bundles that decided, by digest, those that are at hand.
    Raises: EvidenceError: the table cannot be read.
    Cost: reading the rows, and about 0.2 ms each.
    """
    told = Period(from_us=period.from_us - reach_us(bundle), until_us=period.until_us)
    record = Record()
    simulation = Simulation(bundle, recorded, since_us=period.from_us)
    registrations = reader.registrations(period.until_us)
    total = reader.count(told)
    done = at = 0
    for row in reader.rows(told):
        while at < len(registrations) and registrations[at]["time_us"] <= row["time_us"]:
            record.read(registrations[at])
            at += 1
        event = record.read(row)
        if event is not None:
            simulation.tell(event)
        done += 1
        if done % _TOLD_EACH == 0:
            progress(done, total)
    progress(done, total)
    report = simulation.report()
    return Simulated(report=report, from_us=told.from_us, unknown=tuple(_unknown(report, record)))


def _unknown(report: SimulationReport, record: Record) -> list[str]:
    """What no record tells, as far as it could have mattered."""
    found = [
        "values of arguments are masked, `context`, `resource.properties` and `subject.attributes` are not recorded: "
        "what reads them is open, unless the bundle that decided asked the same"
    ]
    without = report.decisions - report.told
    if without:
        found.append(
            f"{without} decisions were made with bundles that are not at hand: what these found is not used"
        )
    if record.strangers:
        shown = ", ".join(sorted(record.strangers)[:5])
        more = f" and {len(record.strangers) - 5} more" if len(record.strangers) > 5 else ""
        found.append(
            f"registrations that are not in the table, so that labels and roles are open: {shown}{more}"
        )
    return found
