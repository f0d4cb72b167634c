"""The SQL of the views, and the script that creates them."""

from __future__ import annotations

from collections.abc import Sequence
from importlib import resources
from typing import Final, Literal, get_args

Dialect = Literal["duckdb", "spark"]
DIALECTS: Final[tuple[Dialect, ...]] = get_args(Dialect)
TABLE: Final = "evidence"
# Each after those that it reads.
VIEWS: Final = ("decisions", "denials", "boundaries", "approvals", "outcomes", "findings", "changes")


def select(view: str, dialect: Dialect) -> str:
    """The SELECT that is the view, over `evidence` and the views before it. Args: view: one of `VIEWS`."""
    return (resources.files(__package__) / dialect / f"{view}.sql").read_text(encoding="utf-8").rstrip()


def create(view: str, dialect: Dialect) -> str:
    """The statement that creates the view for one connection, its SELECT's comment first."""
    comment, body = _parted(select(view, dialect))
    # Temporary: a lasting view must not rest on `evidence`, where that is a view of the connection itself.
    return f"{comment}CREATE OR REPLACE TEMPORARY VIEW {view} AS\n{body}"


def script(dialect: Dialect, *, table: str | None = None, views: Sequence[str] = VIEWS) -> str:
    """SQL that creates views, each after those that it reads.

    Args:
        table: where the Delta table lies, as a path or URI that the engine reaches: `evidence` is made a view of it.
            None: there is an `evidence` already.
        views: which; those that they read come with them.
    """
    wanted = [view for view in VIEWS if view in views or (view == "decisions" and _READ_DECISIONS & {*views})]
    statements = [] if table is None else _table(dialect, table)
    return "\n".join(
        f"{statement};\n" for statement in [*statements, *(create(view, dialect) for view in wanted)]
    )


_READ_DECISIONS: Final = frozenset({"denials", "boundaries"})


def _table(dialect: Dialect, table: str) -> list[str]:
    if dialect == "spark":
        quoted = "`" + table.replace("`", "``") + "`"
        return [f"CREATE OR REPLACE TEMPORARY VIEW {TABLE} AS\nSELECT * FROM delta.{quoted}"]
    quoted = "'" + table.replace("'", "''") + "'"
    return [
        "INSTALL delta",
        "LOAD delta",
        f"CREATE OR REPLACE TEMPORARY VIEW {TABLE} AS\nSELECT * FROM delta_scan({quoted})",
    ]


def _parted(text: str) -> tuple[str, str]:
    lines = text.splitlines(keepends=True)
    body = next(place for place, line in enumerate(lines) if not line.startswith("--"))
    return "".join(lines[:body]), "".join(lines[body:])
