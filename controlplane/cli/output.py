"""How commands speak: tables for people, JSON for programs, one clear line for what went wrong.

Exit status: 0 done, 1 failed, 2 used wrongly; a command that answers a question has more, and says so in its help.
"""

from __future__ import annotations

import functools
import json
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, is_dataclass
from typing import TYPE_CHECKING, Annotated, Any, ParamSpec

import typer

from controlplane.errors import GovernanceError

if TYPE_CHECKING:
    from rich.console import Console

P = ParamSpec("P")

FAILED, USAGE = 1, 2

JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON, errors too.", show_default=False)]


def show(as_json: bool, value: object, human: Callable[[Console], None]) -> None:
    """Print `value` as JSON, or let `human` print it."""
    if as_json:
        typer.echo(json.dumps(value, indent=2, ensure_ascii=False, default=plain))
    else:
        human(screen())


def screen(*, stderr: bool = False) -> Console:
    from rich.console import Console

    # No markup: what we print comes from files and from the network, and may hold brackets. Without a
    # terminal nothing is folded, so that a digest stays one word for grep.
    width = None if (sys.stderr if stderr else sys.stdout).isatty() else 10_000
    return Console(markup=False, highlight=False, stderr=stderr, width=width)


def table(console: Console, columns: Sequence[str], rows: Iterable[Sequence[object]], *, empty: str) -> None:
    """Print rows under their columns, or `empty` when there are none."""
    from rich.table import Table

    drawn = Table(box=None, pad_edge=False, header_style="bold")
    for column in columns:
        drawn.add_column(column, overflow="fold")
    for row in rows:
        drawn.add_row(*(cell(value) for value in row))
    if drawn.row_count:
        console.print(drawn)
    else:
        console.print(empty)


def pairs(console: Console, values: Mapping[str, object]) -> None:
    """Print names and values, one pair a line; those without a value are left out."""
    known = {name: cell(value) for name, value in values.items() if value not in (None, "", [], {})}
    width = max(map(len, known), default=0)
    for name, text in known.items():
        console.print(f"{name:<{width}}  {text}", soft_wrap=True)


def cell(value: object) -> str:
    """One value as text that cannot steer a terminal."""
    match value:
        case None:
            return ""
        case bool():
            return "yes" if value else "no"
        case list() | tuple():
            text = ", ".join(cell(item) for item in value)
        case dict():
            text = json.dumps(value, ensure_ascii=False, default=plain)
        case bytes():
            text = value.hex()
        case _:
            text = str(value)
    return "".join(
        char if char.isprintable() or char == "\n" else "\N{REPLACEMENT CHARACTER}" for char in text
    )


def complain(as_json: bool, code: str, message: str, details: Mapping[str, Any] | None = None) -> None:
    """Say on stderr what is wrong, where, and what to do about it: a line for each error."""
    if as_json:
        error = {"code": code, "message": message, **(details or {})}
        typer.echo(json.dumps({"error": error}, ensure_ascii=False, default=plain), err=True)
        return
    findings = [plain(finding) for finding in (details or {}).get("errors") or ()]
    lines = [_located(finding) for finding in findings if isinstance(finding, dict) and "file" in finding]
    for line in lines or [f"controlplane: {message}"]:
        typer.echo(cell(line), err=True)


def plain(value: object) -> object:
    """What JSON has no form for: dataclasses as objects, bytes as hex, all else as text."""
    if is_dataclass(value) and not isinstance(value, type):
        return asdict(value)
    return value.hex() if isinstance(value, bytes) else value if isinstance(value, dict) else str(value)


def _located(finding: Mapping[str, Any]) -> str:
    hint = f"; {finding['hint']}" if finding.get("hint") else ""
    return f"{finding['file']}:{finding.get('line')}:{finding.get('column')}: {finding.get('message')}{hint}"


def reported(command: Callable[P, None]) -> Callable[P, None]:
    """Turn the errors that a command may meet into one line and exit status 1."""

    @functools.wraps(command)
    def run(*arguments: P.args, **options: P.kwargs) -> None:
        as_json = bool(options.get("as_json"))
        try:
            command(*arguments, **options)
        except GovernanceError as error:
            complain(as_json, error.code, error.message, error.fields)
            raise typer.Exit(FAILED) from None
        except OSError as error:
            where = f"`{error.filename}`: " if error.filename else ""
            complain(as_json, "os_error", f"{where}{(error.strerror or str(error)).lower()}")
            raise typer.Exit(FAILED) from None

    return run
