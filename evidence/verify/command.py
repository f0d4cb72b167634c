"""The verification as a command: a progress bar, the verdict, an exit status. Shared by both ways to call it."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from evidence.verify.faults import Progress, UnreadableError
from evidence.verify.verifier import Options, verify

HOLDS: Final = 0
DOES_NOT_HOLD: Final = 1
CANNOT_TELL: Final = 2


def run(table: str, options: Options, *, as_json: bool) -> int:
    """Verify, print what was found, and return the exit status."""
    try:
        with progress_bar() as progress:
            report = verify(table, options, progress=progress)
    except (UnreadableError, OSError) as error:
        return cannot_tell(table, str(error), as_json=as_json)
    if as_json:
        print(json.dumps(report.as_json(), indent=2, ensure_ascii=False))
    else:
        for line in report.lines():
            print(printable(line))
    return HOLDS if report.holds else DOES_NOT_HOLD


def cannot_tell(table: str | None, message: str, *, as_json: bool) -> int:
    """Print that there is no verdict, and why; return the exit status."""
    if as_json:
        print(json.dumps({"verdict": "cannot tell", "table": table, "message": message}, indent=2))
    else:
        print(f"CANNOT TELL: {printable(message)}")
    return CANNOT_TELL


@contextmanager
def progress_bar() -> Iterator[Progress]:
    """On stderr, where that is a terminal."""
    if not sys.stderr.isatty():
        yield lambda what, done, total: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn
    from rich.progress import Progress as Bar

    columns = (TextColumn("{task.description:10}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Bar(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("")
        yield lambda what, done, total: bar.update(task, description=what, completed=done, total=total)


def printable(text: str) -> str:
    """What comes from a stranger's table must not steer a terminal."""
    return "".join(char if char.isprintable() else "\N{REPLACEMENT CHARACTER}" for char in text)
