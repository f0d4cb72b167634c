"""What the evidence table is: schema, properties, constraints; how it is created, and how another one is told."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Final

import pyarrow as pa
from deltalake import ColumnProperties, DeltaTable, PostCommitHookProperties, WriterProperties
from deltalake.exceptions import CommitFailedError, DeltaError, TableNotFoundError
from deltalake.schema import Field, Schema

from evidence.columns import COMMENTS, DECISIONS, SCHEMA
from evidence.contract import ABSENT, breaches, promised
from evidence.durability import LOG_DIRECTORY
from evidence.errors import EvidenceUnavailableError, SchemaMismatchError
from evidence.storage import Storage

PARTITION: Final = "event_date"

PROPERTIES: Final[Mapping[str, str]] = {
    "delta.appendOnly": "true",
    # Each version stays readable from the log: an audit asks what the table said at a time.
    "delta.enableExpiredLogCleanup": "false",
    # What queries filter on. Without this, delta-rs keeps statistics of the first 32 columns, lists included.
    "delta.dataSkippingStatsColumns": (
        "event_type,event_time,log_id,seq,tenant_id,agent_id,session_id,workflow_id,"
        "resource_id,decision,reason_code,bundle_hash,outcome"
    ),
}
# delta-rs accepts constraints only on a table that exists.
CONSTRAINTS: Final[Mapping[str, str]] = {
    "seq_from_zero": "seq >= 0",
    "decision_known": "decision IS NULL OR decision IN ("
    + ", ".join(f"'{decision}'" for decision in sorted(DECISIONS))
    + ")",
}

# Columns in which nearly every value is another one: building a dictionary for them is in vain.
_DISTINCT: Final = ("event_id", "event_time", "seq", "trace_id", "span_id", "arguments_digest", "leaf_hash")
WRITER: Final = WriterProperties(
    compression="ZSTD",
    compression_level=1,  # level 3 saves no space here and takes longer
    column_properties={name: ColumnProperties(dictionary_enabled=False) for name in _DISTINCT},
)
# Checkpoints are written where we can make them durable, not inside a commit.
HOOKS: Final = PostCommitHookProperties(create_checkpoint=False, cleanup_expired_logs=False)
_COLOURS: Final = re.compile(r"\x1b\[[0-9;]*m")
_ANSWER: Final = re.compile(r"(?=<\?xml|<Error)")
_SAID: Final = re.compile(r"<(Code|Message)>([^<]*)<")
ATTEMPTS: Final = 5
"""How often something is planned anew because another writer was first."""


@contextmanager
def unavailable(what: str) -> Iterator[None]:
    try:
        yield
    except (DeltaError, OSError) as error:
        raise EvidenceUnavailableError(f"{what}: {told(error)}") from error


def told(error: Exception) -> str:
    """An error's text in one line: object stores' come in many, coloured for a terminal."""
    # INVARIANT (credentials): of what a store answered its code and message remain. The rest may repeat the request,
    # with the key's id and the session's token, and this text goes to logs, the status and rows of evidence.
    said, *answer = _ANSWER.split(_COLOURS.sub("", str(error)), maxsplit=1)
    parts = [said, *(": ".join(text for _, text in _SAID.findall(one)) for one in answer)]
    return " ".join(" ".join(parts).split())


def opened(storage: Storage) -> DeltaTable | None:
    try:
        return DeltaTable(storage.uri, storage_options=storage.options)
    except TableNotFoundError:
        return None


def created(storage: Storage) -> DeltaTable:
    """Create the table in one commit: who opens it in the same moment sees all of it or nothing."""
    storage.prepare()
    if any(name != LOG_DIRECTORY for name in storage.names()) and opened(storage) is None:
        raise SchemaMismatchError(f"`{storage.uri}` is not empty and holds no evidence table")
    try:
        return DeltaTable.create(
            storage.uri,
            storage_options=storage.options,
            schema=_delta_schema(),
            name="evidence",
            description="what was decided, done and changed: docs/evidence-format.md",
            partition_by=[PARTITION],
            configuration=dict(PROPERTIES),
            post_commithook_properties=HOOKS,
        )
    except DeltaError:
        table = opened(storage)  # another process was first
        if table is None:
            raise
        return table


def _delta_schema() -> Schema:
    return Schema(
        [
            Field(field.name, field.type, nullable=field.nullable, metadata={"comment": COMMENTS[field.name]})
            for field in Schema.from_arrow(SCHEMA).fields
        ]
    )


def check_schema(table: DeltaTable, path: str) -> None:
    """Refuse to write what is not the evidence table of this version, or of one from which it can grow.

    Raises: SchemaMismatchError: columns, partitions or properties are others; also for a table that a later version
        has made: what its new columns promise, this one cannot keep. Reading it is fine.
    """
    expected, found = (promised(pa.schema(schema)) for schema in (_delta_schema(), table.schema()))
    broken = breaches(found, expected)
    if broken:
        extra = {breach.column for breach in broken} - {column.name for column in expected}
        if extra and not breaches(expected, found):
            raise SchemaMismatchError(
                f"the table at `{path}` was made by a later version: it has the column `{min(extra)}`; upgrade "
                "to write it, this version can only read it",
                column=min(extra),
                expected=ABSENT,
                found=next(str(column) for column in found if column.name == min(extra)),
            )
        # Said from our side: what we have, and what is there instead.
        said = (breaches(expected, found) or broken)[0]
        raise SchemaMismatchError(
            f"the table at `{path}` is not the evidence table of this version: {said}",
            column=said.column,
            expected=said.expected,
            found=said.found,
        )
    metadata = table.metadata()
    facts: list[tuple[str, Any, Any]] = [("partition columns", [PARTITION], metadata.partition_columns)]
    facts += [
        (f"property {key}", value, metadata.configuration.get(key)) for key, value in PROPERTIES.items()
    ]
    # A transaction version that expires is a log that lands twice.
    key = "delta.setTransactionRetentionDuration"
    facts.append((f"property {key}", None, metadata.configuration.get(key)))
    for what, ours, theirs in facts:
        if ours != theirs:
            raise SchemaMismatchError(
                f"the table at `{path}` has {what} {theirs}, expected {ours}", expected=ours, found=theirs
            )


def grow(table: DeltaTable) -> None:
    """Add the columns that this version has and the table lacks (`check_schema` came before), in one commit.

    Rows that are there have null in them, which canonical bytes leave out: their leaves stay what they are.
    """
    for _ in range(ATTEMPTS):
        there = {field.name for field in table.schema().fields}
        missing = [field for field in _delta_schema().fields if field.name not in there]
        if not missing:
            return
        try:
            table.alter.add_columns(missing, post_commithook_properties=HOOKS)
            return
        except CommitFailedError:
            table.update_incremental()  # another process does the same
    raise EvidenceUnavailableError("cannot add the columns of this version: other writers got ahead")


def constrain(table: DeltaTable) -> None:
    for name, expression in CONSTRAINTS.items():
        for _ in range(ATTEMPTS):
            if f"delta.constraints.{name}" in table.metadata().configuration:
                break
            try:
                table.alter.add_constraint({name: expression}, post_commithook_properties=HOOKS)
            except CommitFailedError:
                table.update_incremental()  # another process creates the same table
        else:
            raise EvidenceUnavailableError(f"cannot add the constraint `{name}`: other writers got ahead")


def sizes(table: DeltaTable) -> dict[str, int]:
    actions = pa.table(table.get_add_actions(flatten=True))
    paths, sizes = actions.column("path").to_pylist(), actions.column("size_bytes").to_pylist()
    return dict(zip(paths, sizes, strict=True))


def row_count(table: DeltaTable) -> int:
    return sum(pa.table(table.get_add_actions(flatten=True)).column("num_records").to_pylist())
