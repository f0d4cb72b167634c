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
        brought_notes: checkpoints of this deployment that the auditor brought, and that were compared.
        witness_begun: the auditor's own file was not there, and was made.
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
    brought_notes: int
    witness_begun: bool
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
        if self.witness_begun:
            yield "the witness file was not there and begins now: this run could compare nothing with it"
        if not self.brought_notes:
            yield (
                "no checkpoints from elsewhere were compared: that the end was cut off with the copies beside the "
                "table, or that who holds the key has written all of it anew, would not show. Bring what others have "
                "kept with --checkpoints, or keep a memory of your own with --witness"
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
        # Under a wrong key everything lacks its checkpoint: the cause comes first.
        for code, count in sorted(self.counts.items(), key=lambda each: (each[0] != "key_unknown", each[0])):
            found = [fault for fault in self.faults if fault.code == code]
            yield f"{code}: {count}{' (is it the right --key?)' if code == 'key_unknown' else ''}"
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
