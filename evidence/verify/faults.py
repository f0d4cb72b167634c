"""What a verification finds wrong: stable codes, and where."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final, Literal

Code = Literal[
    "row_changed",
    "row_missing",
    "row_duplicate",
    "tail_missing",
    "log_missing",
    "checkpoint_forged",
    "checkpoint_inconsistent",
    "checkpoint_missing",
    "key_unknown",
    "split_view",
    "delta_operation",
    "delta_log_rewritten",
    "file_changed",
    "schema",
]

Progress = Callable[[str, int, int], None]
"""Told of each step: what is looked at, how much of it is done, of how much."""

KEPT_PER_CODE: Final = 200
FILES_NAMED: Final = 5


class UnreadableError(Exception):
    """What is to be verified cannot be read, or there is no key to verify it with: no verdict either way."""

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.message = message


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """One thing that is wrong, and what is known of where.

    Attributes:
        first_seq, last_seq: of the rows, both ends included.
        file: relative to the table; or the file of notes that disagrees.
        version: of the Delta table.
    """

    code: Code
    message: str
    log_id: str | None = None
    first_seq: int | None = None
    last_seq: int | None = None
    file: str | None = None
    version: int | None = None


@dataclass(slots=True)
class Faults:
    """Faults as they are found: the first 200 of each code are kept, all are counted."""

    kept: list[Fault] = field(default_factory=list)
    counts: Counter[str] = field(default_factory=Counter)

    def add(
        self,
        code: Code,
        message: str,
        *,
        log_id: str | None = None,
        first_seq: int | None = None,
        last_seq: int | None = None,
        file: str | None = None,
        version: int | None = None,
    ) -> None:
        self.counts[code] += 1
        if self.counts[code] <= KEPT_PER_CODE:
            self.kept.append(
                Fault(
                    code=code,
                    message=message,
                    log_id=log_id,
                    first_seq=first_seq,
                    last_seq=first_seq if last_seq is None else last_seq,
                    file=file,
                    version=version,
                )
            )

    def extend(self, faults: list[Fault]) -> None:
        for fault in faults:
            self.counts[fault.code] += 1
            if self.counts[fault.code] <= KEPT_PER_CODE:
                self.kept.append(fault)

    def __bool__(self) -> bool:
        return bool(self.counts)


def seqs(first: int, last: int, what: str = "") -> str:
    """Rows in words, both ends included; `what` is said of them, as of one or of many."""
    one = first == last
    words = f"row {first}" if one else f"rows {first} to {last}"
    return f"{words} {'is' if one else 'are'} {what}" if what else words


def named(files: list[str]) -> str:
    """Files in words: the first few, and how many more."""
    more = f" and {len(files) - FILES_NAMED} more" if len(files) > FILES_NAMED else ""
    return ", ".join(f"`{file}`" for file in files[:FILES_NAMED]) + more
