"""Ask the evidence table in SQL: with DuckDB, in memory, from the table alone, reading and nothing else."""

from __future__ import annotations

import re
import threading
from typing import Final

import duckdb
import pyarrow as pa

from evidence.delta.reading import open_dataset
from evidence.errors import QueryError
from evidence.views.texts import TABLE, VIEWS, create

_BATCH_ROWS: Final = 10_000
_UNKNOWN_TABLE: Final = re.compile(r"Table with name (.+) does not exist!")


def query(
    path: str,
    sql: str,
    *,
    max_rows: int = 100_000,
    timeout_s: float = 60.0,
    memory_limit_bytes: int = 2 * 2**30,
) -> pa.Table:
    """Run one SELECT over the table's rows as they are now; needs no control plane.

    Args:
        path: directory of the Delta table.
        sql: DuckDB SQL over `evidence` and its views (`evidence.views`); it can reach no file, network, extension or
            setting.
    Returns: at most `max_rows` rows.
    Raises:
        QueryError: wrong SQL, not one SELECT, or beyond the given time, memory or rows.
        NoEvidenceError, EvidenceUnavailableError: the table cannot be read.
    """
    dataset = open_dataset(path)
    with duckdb.connect(":memory:") as connection:
        connection.register(TABLE, dataset)
        connection.execute("SET TimeZone = 'UTC'")
        connection.execute(f"SET memory_limit = '{memory_limit_bytes}B'")
        connection.execute("SET max_temp_directory_size = '0B'")
        _create_views(connection, path)
        # INVARIANT (read only): what follows is the operator's text. Nothing outside this memory can be
        # reached any more, and the lock keeps the text from undoing that.
        connection.execute("SET python_enable_replacements = false")
        connection.execute("SET enable_external_access = false")
        connection.execute("SET lock_configuration = true")
        return _run(connection, sql, max_rows=max_rows, timeout_s=timeout_s)


def _create_views(connection: duckdb.DuckDBPyConnection, path: str) -> None:
    for view in VIEWS:
        try:
            connection.execute(create(view, "duckdb"))
        except duckdb.Error as error:
            raise QueryError(
                f"`{path}` is no evidence table: the view `{view}` cannot read it: {error}"
            ) from error


def _run(connection: duckdb.DuckDBPyConnection, sql: str, *, max_rows: int, timeout_s: float) -> pa.Table:
    too_slow = threading.Event()

    def stop() -> None:
        too_slow.set()
        connection.interrupt()

    timer = threading.Timer(timeout_s, stop)
    timer.daemon = True
    timer.start()
    try:
        statements = connection.extract_statements(sql)
        if len(statements) != 1 or statements[0].type != duckdb.StatementType.SELECT:
            raise QueryError(f"expected one SELECT over `{TABLE}` or its views, found `{sql.strip()}`")
        return _fetched(connection.sql(sql).to_arrow_reader(_BATCH_ROWS), max_rows)
    except duckdb.CatalogException as error:
        # DuckDB would propose one of its own catalog's tables.
        unknown = _UNKNOWN_TABLE.search(str(error))
        if unknown is None:
            raise QueryError(f"the query failed: {error}") from error
        raise QueryError(
            f"there is no table `{unknown[1]}`: the evidence is `{TABLE}`, with the views {', '.join(VIEWS)}",
            code="unknown_table",
        ) from error
    except duckdb.OutOfMemoryException as error:
        raise QueryError("the query needs more memory than it may use", code="query_too_large") from error
    except (
        duckdb.Error,
        pa.ArrowException,
        OSError,
    ) as error:  # while rows stream, DuckDB's arrive as OSError
        if too_slow.is_set():
            raise QueryError(f"the query took more than {timeout_s:g} s", code="query_too_slow") from error
        raise QueryError(f"the query failed: {error}") from error
    finally:
        timer.cancel()


def _fetched(reader: pa.RecordBatchReader, max_rows: int) -> pa.Table:
    batches: list[pa.RecordBatch] = []
    rows = 0
    for batch in reader:
        rows += len(batch)
        if rows > max_rows:
            raise QueryError(
                f"the query has more than {max_rows} rows; add a limit or aggregate", code="query_too_large"
            )
        batches.append(batch)
    return pa.Table.from_batches(batches, schema=reader.schema)
