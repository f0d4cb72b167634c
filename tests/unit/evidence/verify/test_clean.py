"""Tables that nobody touched verify, whatever was done to them in the ordinary way."""

from __future__ import annotations

from pathlib import Path

from unit.evidence.verify.signed_table import landed


def test_a_table_as_it_landed_holds(tmp_path: Path) -> None:
    table = landed(tmp_path)
    report = table.verify()
    print("\n".join(report.lines()))
    assert report.holds
    assert (report.rows, report.version, report.pinned) == (90, table.version, True)
    assert {each.log_id: (each.rows, each.signed) for each in report.logs} == {
        "log-a": (60, 60),
        "log-b": (30, 30),
    }
    assert report.delta_entries_signed == table.version
