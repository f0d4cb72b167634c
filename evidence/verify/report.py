"""What a verification found, for people and for programs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Final

from evidence.verify.faults import Fault

SHOWN: Final = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class LogReport:
    """One log.

    Attributes:
        rows: that are there; size: with those that left under retention.
        signed: how far the newest signed root reaches that the rows led to.
        checked, unchecked: signed roots that were compared; those that could not be, within what left or is missing.
        witnessed: how far checkpoints reach that enough witnesses cosigned; None: none of them, or nobody asked.
    """

    log_id: str
    rows: int
    size: int
    signed: int
    checked: int
    unchecked: int
    witnessed: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """The verdict (`holds`) and what it rests on.

    Attributes:
        pinned: the auditor brought the key; if not, whoever wrote the table chose the key as well.
        keys: verifier keys that signed, oldest first.
        version: the newest of the table.
        delta_entries_signed: how many entries of the Delta log, from the first on, are signed.
        counts: faults of each code; `faults` has the first 200 of each.
    """

    table: str
    holds: bool
    name: str
    pinned: bool
    keys: tuple[str, ...]
    version: int
    rows: int
    retained_rows: int
    files: int
    delta_entries_signed: int
    checkpoints_table: bool
    foreign_notes: int
    logs: tuple[LogReport, ...]
    faults: tuple[Fault, ...]
    counts: Mapping[str, int] = field(default_factory=dict)

    def as_json(self) -> dict[str, Any]:
        found = asdict(self)
        return {"verdict": "holds" if found.pop("holds") else "does not hold", **found}

    def lines(self) -> Iterator[str]:
        """For people: the verdict, then what is wrong, then what it rests on."""
        roots = sum(log.checked for log in self.logs)
        if self.holds:
            yield (
                f"HOLDS: {self.rows} rows of {len(self.logs)} logs in {self.files} files are what `{self.name}` signed "
                f"({roots} signed roots, {self.delta_entries_signed} of {self.version + 1} versions signed)"
            )
        else:
            total = sum(self.counts.values())
            yield f"DOES NOT HOLD: {total} fault{'s' if total > 1 else ''} in `{self.table}`"
            yield from self._fault_lines()
        if not self.pinned:
            yield (
                f"not pinned: the key was found beside the table ({self.keys[-1]}); whoever could replace the table "
                "could replace the key. Give the one that you were told with --key"
            )
        if self.retained_rows:
            yield f"{self.retained_rows} rows left under signed retention notes"
        unchecked = sum(log.unchecked for log in self.logs)
        if unchecked:
            yield f"{unchecked} signed roots could not be compared: they lie within what left, or what is missing"
        if not self.checkpoints_table:
            yield "there is no table of checkpoints beside the table: a cut-off end would show only in other copies"
        if self.foreign_notes:
            yield f"{self.foreign_notes} notes of other deployments were left out"
        for log in self.logs:
            if log.witnessed is not None:
                yield f"log `{log.log_id}` is witnessed up to {log.witnessed} of {log.size} rows"

    def _fault_lines(self) -> Iterator[str]:
        for code, count in sorted(self.counts.items()):
            found = [fault for fault in self.faults if fault.code == code]
            yield f"{code}: {count}"
            for fault in found[:SHOWN]:
                places = [
                    f"file {fault.file}" if fault.file else "",
                    f"version {fault.version}" if fault.version is not None else "",
                ]
                where = ", ".join(
                    place for place in places if place and place.split()[-1] not in fault.message
                )
                yield f"  {fault.message}{f' ({where})' if where else ''}"
            if count > SHOWN:
                yield f"  … and {count - min(SHOWN, len(found))} more (--json has the first {len(found)})"
