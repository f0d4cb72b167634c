"""A proof of one event: what `prove` writes, `check-proof` accepts; whatever is changed in it, it does not."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner
from unit.evidence.evidence_samples import log
from unit.evidence.verify import attacks
from unit.evidence.verify.signed_table import EVIL, KEY_A, KEY_B, NAME, SignedTable, landed
from unit.evidence.verify.test_clean import FIRST_DATE, STEP_US, retire

from controlplane.cli.app import app
from evidence.merkle import CompactRange
from evidence.proof import NoProofError, Proof, check
from evidence.prove import prove

KEYS = [str(KEY_A.public)]


@pytest.fixture
def table(tmp_path: Path) -> SignedTable:
    return landed(tmp_path / "evidence")


def proven(table: SignedTable, event: str) -> Proof:
    return Proof.parse(prove(str(table.path), event, keys=KEYS).to_json().encode())


@pytest.mark.parametrize("seq", [0, 1, 25, 47, 48, 59])
def test_every_row_can_be_proven(table: SignedTable, seq: int) -> None:
    shown = check(proven(table, f"log-a-{seq}"), [KEY_A.public])
    assert (shown.name, shown.log_id, shown.index, shown.size) == (NAME, "log-a", seq, 60)
    assert shown.row["event_id"] == f"log-a-{seq}"
    assert shown.row["reasons"] == ['Grüße, "quoted"\n\ttabbed \u2028 \x7f 🚫', ""]


def test_rows_that_are_left_can_be_proven_after_a_date_has_gone(table: SignedTable) -> None:
    retire(table, "2026-09-04", FIRST_DATE)
    assert check(proven(table, "log-a-50"), [KEY_A.public]).index == 50
    with pytest.raises(NoProofError, match="no event `log-a-5`"):
        proven(table, "log-a-5")


@pytest.mark.parametrize("pinned", [KEY_A, KEY_B])
def test_a_proof_reaches_over_rotations(table: SignedTable, pinned: Any) -> None:
    table.rotate(KEY_B)
    table.land(log(60, 69, log_id="log-a", step_us=STEP_US))
    proof = proven(table, "log-a-3")
    assert check(proof, [pinned.public]).key == KEY_B.public
    assert check(proven(table, "log-b-3"), [pinned.public]).key == KEY_A.public


def refused(proof: Proof, message: str, *, key: Any = KEY_A) -> None:
    with pytest.raises(NoProofError, match=message):
        check(proof, [key.public])


def test_what_is_changed_is_refused(table: SignedTable) -> None:
    proof = proven(table, "log-a-25")
    refused(replace(proof, row={**proof.row, "decision": "allow"}), "leads to another root")
    refused(replace(proof, row={**proof.row, "added": "more"}), "leads to another root")
    refused(
        replace(proof, row={k: v for k, v in proof.row.items() if k != "rule_ids"}), "leads to another root"
    )
    refused(replace(proof, index=24), "leads to another root")
    refused(replace(proof, index=2**40), "outside a tree")
    refused(replace(proof, hashes=proof.hashes[:-1]), "too short")
    refused(replace(proof, hashes=(*proof.hashes, bytes(32))), "too long")
    refused(replace(proof, hashes=(b"", *proof.hashes[1:])), "32 bytes")
    refused(replace(proof, row={**proof.row, "details": "\ud800"}), "no canonical form")
    refused(proof, "right --key", key=EVIL)
    other = proven(table, "log-b-25").checkpoint
    refused(replace(proof, checkpoint=other), "another root|outside|too long")
    forged = table.note("log-a", CompactRange().append([bytes(32)] * 60), key=EVIL)
    refused(replace(proof, checkpoint=forged), "another root")
    lie = type(forged)(text=forged.text, signatures=proof.checkpoint.signatures)
    refused(replace(proof, checkpoint=lie), "another root")


def test_a_checkpoint_of_another_log_says_nothing_of_a_row(table: SignedTable) -> None:
    """The row of a log, proven in a tree that the deployment signed as another log's."""
    proof = proven(table, "log-a-25")
    moved = table.note("log-c", table.ranges["log-a"])
    refused(replace(proof, checkpoint=moved), "number 25 of log `log-a`")


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (lambda found: found | {"format": "another"}, "not of the format"),
        (lambda found: found | {"more": 1}, "the members"),
        (lambda found: found | {"index": True}, "`index` is a number"),
        (lambda found: found | {"row": []}, "no object"),
        (lambda found: found | {"row": {"a": {"b": 1}}}, "a value of `a`"),
        (lambda found: found | {"row": {"a": 2**53}}, "a value of `a`"),
        (lambda found: found | {"row": {"a": None}}, "a value of `a`"),
        (lambda found: found | {"row": {"a": 1.5}}, "no whole number"),
        (lambda found: found | {"hashes": ["?"]}, "cannot be read"),
        (lambda found: found | {"hashes": 1}, "cannot be read"),
        (lambda found: found | {"checkpoint": "x"}, "cannot be read"),
    ],
)
def test_what_is_no_proof_is_refused(
    table: SignedTable, edit: Callable[[dict[str, Any]], dict[str, Any]], message: str
) -> None:
    found = json.loads(prove(str(table.path), "log-a-25", keys=KEYS).to_json())
    with pytest.raises(NoProofError, match=message):
        Proof.parse(json.dumps(edit(found)).encode())


def test_a_name_that_stands_there_twice_is_refused(table: SignedTable) -> None:
    text = prove(str(table.path), "log-a-25", keys=KEYS).to_json()
    twice = text.replace('"decision": "deny",', '"decision": "allow", "decision": "deny",')
    with pytest.raises(NoProofError, match="twice"):
        Proof.parse(twice.encode())


@pytest.mark.parametrize("hashes", [False, True])
def test_a_changed_row_is_never_proven(table: SignedTable, hashes: bool) -> None:
    path = next(
        path for path in table.data_files() if "log-a-25" in attacks.read(path)["event_id"].to_pylist()
    )
    attacks.rearrange(table, path, attacks.change(25, decision="allow"), hashes=hashes)
    with pytest.raises(NoProofError, match="not what was signed"):
        proven(table, "log-a-25")


def test_the_commands(table: SignedTable, tmp_path: Path) -> None:
    runner, file = CliRunner(), tmp_path / "proof.json"
    made = runner.invoke(app, ["evidence", "prove", "log-a-25", "--table", str(table.path), "-o", str(file)])
    assert made.exit_code == 0, made.stderr
    shown = runner.invoke(app, ["evidence", "check-proof", str(file), "--key", KEYS[0]])
    assert (shown.exit_code, shown.stdout.splitlines()[0][:24]) == (0, "PROVEN: event `log-a-25`")
    shown = runner.invoke(app, ["evidence", "check-proof", str(file), "--key", KEYS[0], "--json"])
    assert json.loads(shown.stdout)["index"] == 25
    shown = runner.invoke(app, ["evidence", "check-proof", str(file), "--key", str(EVIL.public)])
    assert (shown.exit_code, "proves nothing" in shown.stderr) == (1, True)
    shown = runner.invoke(app, ["evidence", "prove", "nobody", "--table", str(table.path)])
    assert (shown.exit_code, "no event `nobody`" in shown.stderr) == (1, True)
