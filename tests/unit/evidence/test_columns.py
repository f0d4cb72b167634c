"""The columns are a contract: whoever changes this list breaks somebody's queries."""

from __future__ import annotations

import hashlib
import typing
from pathlib import Path

import pytest

from evidence import columns
from evidence.columns import COLUMNS, COMMENTS, SCHEMA, SCHEMA_VERSION, EvidenceRow
from evidence.contract import Promise, breaches, promised, recorded

# Digests of the contracts that were published: who changes one changes what was promised.
PUBLISHED = {1: "3fe0c73669951ccfeaf4eacb537a8bd2211b59824b538a25c0fcb347cdfcb8fb"}
CONTRACTS = sorted(Path(columns.__file__).with_name("schema").glob("*.json"))

HOW = """
To add a column: a nullable one, at the end of evidence/columns.py; raise SCHEMA_VERSION; write the new contract with
    python -c "from evidence.columns import *; from evidence.contract import *; print(record_text(SCHEMA_VERSION, \
    promised(SCHEMA)), end='')" > evidence/schema/v<N>.json
and add its SHA-256 to PUBLISHED here. All else breaks what somebody has written against the table.
"""


def contract(version: int) -> tuple[Promise, ...]:
    said, found = recorded((CONTRACTS[0].parent / f"v{version}.json").read_text(encoding="utf-8"))
    assert said == version
    return found


def test_each_version_has_a_contract_and_none_that_was_published_has_changed() -> None:
    assert {path.name for path in CONTRACTS} == {f"v{n}.json" for n in range(1, SCHEMA_VERSION + 1)}, HOW
    digests = {int(path.stem[1:]): hashlib.sha256(path.read_bytes()).hexdigest() for path in CONTRACTS}
    assert digests == PUBLISHED, HOW


def test_the_columns_are_those_of_the_newest_contract() -> None:
    assert promised(SCHEMA) == contract(SCHEMA_VERSION), HOW


@pytest.mark.parametrize("version", PUBLISHED)
def test_the_columns_keep_every_contract_before(version: int) -> None:
    assert breaches(contract(version), promised(SCHEMA)) == [], HOW


def test_a_row_may_name_each_column_that_does_not_follow_from_others() -> None:
    derived = {"event_date", "ingest_time", "leaf_hash"}
    assert set(typing.get_type_hints(EvidenceRow)) == {c.name for c in COLUMNS} - derived


def test_each_column_says_what_it_means() -> None:
    assert all(COMMENTS[name] for name in SCHEMA.names)
