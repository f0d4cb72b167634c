"""A retention note that was signed and never used lies in the log for all to see: it lets nobody else delete."""

from __future__ import annotations

from pathlib import Path

import pytest
from deltalake import CommitProperties, DeltaTable
from unit.evidence.retired_tables import RetiredTable

from evidence.commit_metadata import KEY, CommitEvidence
from evidence.delta import retiring
from evidence.errors import EvidenceDamagedError
from evidence.note import Note
from evidence.verify.verifier import Options, verify


class Crash(BaseException):
    """The process ends here."""


@pytest.fixture
def replayed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> RetiredTable:
    """The writer stopped after the unlocking and locked again; later somebody else uses the note of that attempt."""
    table = RetiredTable(tmp_path)
    table.land(0, 4)
    departure = table.check(today=12)
    real = retiring.CommitProperties
    notes: list[str] = []

    def stopping(*given: object, **named: dict[str, str]) -> object:
        if notes:
            raise Crash
        notes.append(named["custom_metadata"][retiring.UNLOCK])
        return real(*given, **named)

    with monkeypatch.context() as patch:
        patch.setattr(retiring, "CommitProperties", stopping)
        with pytest.raises(Crash):
            table.leave(departure)
    table.open()
    table.land(10, 10)
    assert verify(str(table.path), Options(keys=[str(table.key())], jobs=1)).holds
    forged = DeltaTable(table.path)
    forged.alter.set_table_properties({"delta.appendOnly": "false"})
    forged.delete(
        f"event_date IN ({', '.join(repr(each.isoformat()) for each in departure.dates)})",
        commit_properties=CommitProperties(
            custom_metadata={KEY: CommitEvidence(retention=Note.parse(notes[0])).to_json()}
        ),
    )
    forged.alter.set_table_properties({"delta.appendOnly": "true"})
    return table


def test_the_verifier_sees_that_the_writer_did_not_sign_the_deletion(replayed: RetiredTable) -> None:
    report = verify(str(replayed.path), Options(keys=[str(replayed.key())], jobs=1))
    assert not report.holds


def test_the_writer_puts_no_signature_on_top_of_it(replayed: RetiredTable) -> None:
    with pytest.raises(EvidenceDamagedError, match="removes rows"):
        replayed.open()
