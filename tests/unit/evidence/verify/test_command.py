"""The verification as a command: what it prints, its exit status, and that it needs nothing of ours but `evidence`."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner
from unit.evidence.verify import attacks
from unit.evidence.verify.signed_table import EVIL, KEY_A, SignedTable, landed

from controlplane.cli.app import app
from evidence.verify.__main__ import main

ROOT = Path(__file__).parents[4]


@pytest.fixture
def table(tmp_path: Path) -> SignedTable:
    return landed(tmp_path / "evidence")


def changed(table: SignedTable) -> None:
    (path,) = [
        each for each in table.data_files() if "log-a-15" in attacks.read(each)["event_id"].to_pylist()
    ]
    attacks.rearrange(table, path, attacks.change(15, decision="allow"), hashes=False)


def test_the_exit_status_is_the_verdict(table: SignedTable, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = [str(table.path), "--key", str(KEY_A.public)]
    assert main(arguments) == 0
    assert capsys.readouterr().out.startswith("HOLDS: 90 rows of 2 logs in ")
    changed(table)
    assert main(arguments) == 1
    out = capsys.readouterr().out
    assert out.startswith("DOES NOT HOLD: 1 fault in ")
    assert "row 15 of log `log-a`" in out
    assert main([str(table.root / "none"), "--key", str(KEY_A.public)]) == 2
    assert capsys.readouterr().out.startswith("CANNOT TELL: ")


def test_json_holds_the_whole_report(table: SignedTable, capsys: pytest.CaptureFixture[str]) -> None:
    changed(table)
    assert main([str(table.path), "--key", str(KEY_A.public), "--json"]) == 1
    report = json.loads(capsys.readouterr().out)
    assert report["verdict"] == "does not hold"
    assert report["counts"] == {"row_changed": 1}
    (fault,) = report["faults"]
    assert (fault["code"], fault["first_seq"], fault["last_seq"]) == ("row_changed", 15, 15)
    assert [each["log_id"] for each in report["logs"]] == ["log-a", "log-b"]
    assert main([str(table.root), "--json"]) == 2
    assert json.loads(capsys.readouterr().out)["verdict"] == "cannot tell"


def test_many_faults_are_counted_and_the_first_are_shown(
    table: SignedTable, capsys: pytest.CaptureFixture[str]
) -> None:
    table.compact()
    for path in table.data_files():
        attacks.rearrange(
            table, path, lambda rows: [{**row, "agent_id": "another"} for row in rows], hashes=False
        )
    assert main([str(table.path), "--key", str(KEY_A.public)]) == 1
    out = capsys.readouterr().out
    assert "row_changed: 90" in out
    assert out.count("is not the one that its leaf_hash was made of") == 20
    assert "… and 70 more" in out


def test_what_a_stranger_wrote_does_not_steer_the_terminal(
    table: SignedTable, capsys: pytest.CaptureFixture[str]
) -> None:
    path = table.data_files()[0]
    attacks.append(
        table,
        path,
        lambda rows: [{**row, "log_id": "\x1b[2Jlog"} for row in rows],
        position=("\x1b[2Jlog", 9),
    )
    assert main([str(table.path), "--key", str(KEY_A.public)]) == 1
    assert "\x1b" not in capsys.readouterr().out


def test_it_stands_alone(table: SignedTable) -> None:
    """In a process of its own, with workers: nothing of ours but `evidence`, no Ray, no Delta library."""
    program = (
        "import sys; from evidence.verify.__main__ import main; import evidence.prove, evidence.proof; "
        "status = main(sys.argv[1:]); "
        "print(status, sorted(name for name in ('controlplane', 'actors', 'policies', 'graph', 'ray', 'deltalake', "
        "'duckdb', 'controlplane_sdk') if name in sys.modules))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, str(table.path), "--key", str(KEY_A.public)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        cwd=ROOT,
    )
    assert done.stdout.splitlines()[-1] == "0 []", done.stderr


def test_the_command_line_has_the_same_verdict(table: SignedTable) -> None:
    runner = CliRunner()
    arguments = ["evidence", "verify", str(table.path), "--key", str(KEY_A.public)]
    assert runner.invoke(app, arguments).exit_code == 0
    changed(table)
    found = runner.invoke(app, [*arguments, "--json"])
    assert found.exit_code == 1
    assert json.loads(found.stdout)["counts"] == {"row_changed": 1}
    assert runner.invoke(app, ["evidence", "verify", str(table.root / "none")]).exit_code == 2


def test_what_cannot_be_read_is_no_verdict_of_tampering(tmp_path: Path, table: SignedTable) -> None:
    """Status 1 says that evidence was tampered with: no data directory, or no witness file, does not."""
    runner = CliRunner()
    found = runner.invoke(app, ["evidence", "verify", "--data", str(tmp_path / "none")])
    assert found.exit_code == 2
    assert found.stdout.startswith("CANNOT TELL: no control plane in") and "name a table" in found.stdout
    found = runner.invoke(app, ["evidence", "verify", "--data", str(tmp_path / "none"), "--json"])
    assert (found.exit_code, json.loads(found.stdout)["verdict"]) == (2, "cannot tell")
    arguments = ["evidence", "verify", str(table.path), "--key", str(KEY_A.public), "--witness"]
    for witness in (tmp_path / "none" / "seen.notes", tmp_path):
        found = runner.invoke(app, [*arguments, str(witness)])
        assert found.exit_code == 2
        assert f"--witness takes a file, in a folder that is there; `{witness}` is none" in found.stdout
    (tmp_path / "seen.notes.new").mkdir()
    found = runner.invoke(app, [*arguments, str(tmp_path / "seen.notes")])
    assert found.exit_code == 2
    assert "nothing is wrong with the table, but the witness file" in found.stdout


def test_it_says_what_it_could_not_know_without_checkpoints_from_elsewhere(
    table: SignedTable, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = [str(table.path), "--key", str(KEY_A.public)]
    witness = ["--witness", str(tmp_path / "seen.notes")]
    alone, begun = (
        "no checkpoints from elsewhere were compared",
        "the witness file was not there and begins now",
    )
    assert main(arguments) == 0
    out = capsys.readouterr().out
    assert alone in out and begun not in out
    assert main([*arguments, *witness]) == 0
    out = capsys.readouterr().out
    assert alone in out and begun in out
    assert main([*arguments, *witness]) == 0
    out = capsys.readouterr().out
    assert alone not in out and begun not in out
    assert main([*arguments, "--checkpoints", str(table.files), "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert (report["brought_notes"] > 0, report["witness_begun"]) == (True, False)


def test_under_another_key_the_cause_comes_first(
    table: SignedTable, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([str(table.path), "--key", str(EVIL.public)]) == 1
    assert capsys.readouterr().out.splitlines()[1] == "key_unknown: 15 (is it the right --key?)"


def test_the_list_of_evidence_commands_cuts_no_line() -> None:
    assert "..." not in CliRunner().invoke(app, ["evidence", "--help"]).stdout.split("Commands:")[1]


def test_an_empty_table_is_nobodys(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """It was said to hold, under whatever key: what stands in the place of a table that was taken away."""
    empty, witness = SignedTable(tmp_path), tmp_path / "seen.notes"
    assert main([str(empty.path), "--key", str(KEY_A.public), "--witness", str(witness)]) == 2
    assert "has no rows and no signature: no key can be held against it" in capsys.readouterr().out
    assert not witness.exists()
