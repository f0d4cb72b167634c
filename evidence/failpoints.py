"""Places at which a process ends itself, so that a test can crash it exactly there.

They are armed only in a process whose environment names a folder when it starts (`EVIDENCE_FAILPOINTS`). A file in it
that is named like a point ends, by SIGKILL, the process that reaches that point next; the file is gone then. What
stands in it is how many times the point is passed first.

Nobody can arm a process that runs: whoever may change its environment may end it anyway.
"""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import Final

VARIABLE: Final = "EVIDENCE_FAILPOINTS"

POINTS: Final = frozenset(
    {
        "journal.before_commit",
        "journal.after_commit",
        "journal.before_trim",
        "journal.after_trim",
        "handover.before_answer",
        "handover.received",
        "table.before_commit",
        "table.after_commit",
        "table.after_sync",
        "writer.before_trim",
        "writer.after_trim",
        "checkpoints.before_file",
        "files.still_empty",
        "checkpoints.after_file",
        "checkpoints.before_record",
        "checkpoints.after_record",
        "table.before_compaction",
        "table.after_compaction",
        "table.before_vacuum",
        "table.after_vacuum",
        "table.before_delta_checkpoint",
        "table.after_delta_checkpoint",
    }
)
"""Every point that there is: a crash test that leaves one out is not whole."""

_folder = os.environ.get(VARIABLE)


def reach(point: str) -> None:
    """Go on, unless this point is armed. Cost: a truth test (25 ns) in a process that was not started for it."""
    if _folder:
        _end_if_armed(Path(_folder) / point)


def arm(folder: Path, point: str, *, passes: int = 0) -> None:
    """End the process that reaches `point` after it was passed `passes` times. Raises: KeyError: no such point."""
    if point not in POINTS:
        raise KeyError(point)
    draft = folder / f".{point}"
    draft.write_text(str(passes), encoding="ascii")
    draft.replace(folder / point)


def disarm(folder: Path, point: str) -> bool:
    """Returns: whether it was still armed."""
    try:
        (folder / point).unlink()
    except FileNotFoundError:
        return False
    return True


def _end_if_armed(path: Path) -> None:
    claim = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        # Of several processes that reach it at once, the one that takes the file away counts, and ends.
        path.rename(claim)
    except FileNotFoundError:
        return
    passes = int(claim.read_text(encoding="ascii"))
    if passes > 0:
        claim.write_text(str(passes - 1), encoding="ascii")
        claim.rename(path)
        return
    claim.unlink()
    os.kill(os.getpid(), signal.SIGKILL)
