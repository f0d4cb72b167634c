"""Log files that stop growing: DATA/logs holds at most two files of each name."""

from __future__ import annotations

from pathlib import Path
from typing import BinaryIO

BOUND_BYTES = 1024 * 1024


def open_bounded(path: Path) -> BinaryIO:
    """Open for appending; a file past the bound becomes `<name>.1` first, in place of an older one."""
    if path.exists() and path.stat().st_size > BOUND_BYTES:
        path.replace(path.with_name(path.name + ".1"))
    return path.open("ab", buffering=0)


def tail(path: Path, *, lines: int) -> str:
    """The last lines, for an error message; empty when there is no such file."""
    try:
        text = path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
    return "\n".join([line for line in text.splitlines() if line.strip()][-lines:])
