"""One thing that is wrong or odd, and where."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from policies.error import PolicyError

CODES: Final = frozenset(
    (
        "always_exceeded", "always_false", "always_true", "constant_condition", "constant_key", "duplicate_rule",
        "limit_shadowed", "needless_permitted_is_done", "needless_witness", "never_exceeded", "never_holds",
        "never_matches", "redundant_rule", "removes_required", "reserves_all", "same_atom", "shadowed_rule",
        "simpler_formula", "unindexed_atom", "unused_define", "waits_for_report", "window_beyond_history",
    )
)  # fmt: skip
"""Of what is found beyond what the loader and the compiler say."""


class Level(StrEnum):
    """An error is something that cannot have been meant; a warning says less than it seems to."""

    ERROR = "error"
    WARNING = "warning"


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """Args: line, column: count from 1."""

    level: Level
    file: str
    line: int
    column: int
    code: str
    message: str
    hint: str = ""

    def __str__(self) -> str:
        hint = f"; {self.hint}" if self.hint else ""
        return f"{self.file}:{self.line}:{self.column}: {self.level}: {self.message} [{self.code}]{hint}"


def finding(level: Level, error: PolicyError) -> Finding:
    """A place with its message, as the loader and the compiler tell them, at a level."""
    return Finding(
        level=level,
        file=error.file,
        line=error.line,
        column=error.column,
        code=error.code,
        message=error.message,
        hint=error.hint,
    )
