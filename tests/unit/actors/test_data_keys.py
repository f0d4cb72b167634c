"""Keys of data subjects in the control store: made once, destroyed for good."""

from __future__ import annotations

import os
import random
import sqlite3
from pathlib import Path

import orjson
import pytest
from unit.actors.owners import World

from actors import data_keys as store
from actors.control import Control, open_control_journal
from actors.data_keys import Wanted
from actors.journal import FencedError
from controlplane.errors import UnavailableError
from evidence.record import EvidenceRow


def opened(path: Path) -> Control:
    return Control(open_control_journal(path, new_log_id="control.x"), World().surroundings())


@pytest.fixture
def control(tmp_path: Path) -> Control:
    return opened(tmp_path / "control.db")


def wanted(subject: str, identity: str = "", tenant: str = "default") -> Wanted:
    return tenant, subject, identity or os.urandom(16).hex(), os.urandom(60)


def erase(control: Control, subject: str, tenant: str = "default") -> bool:
    erased = control.data_keys.erase_subject(
        tenant=tenant, subject=subject, reason="erasure_request", by="k1"
    )
    assert erased["gone"]
    return bool(erased["erased"])


def events(control: Control) -> list[dict[str, object]]:
    rows = control.journal.pending(after_seq=-1, limit=10_000)
    return [orjson.loads(canonical) for _, canonical, _ in rows]


def test_a_subject_has_the_key_that_it_was_given_first(control: Control) -> None:
    first, second = wanted("s1"), wanted("s1")
    assert control.data_keys.data_keys(wanted=[first]) == [first[2:]]
    assert control.data_keys.data_keys(wanted=[second, wanted("s2", "i2")])[0] == first[2:]
    assert control.data_keys.data_keys_by_id(tenant="default", ids=[first[2], "none"]) == [
        ("s1", first[3]),
        None,
    ]


def test_one_that_is_wanted_twice_at_once_has_one_key(control: Control) -> None:
    first, second = control.data_keys.data_keys(wanted=[wanted("s1"), wanted("s1")])
    assert first == second is not None


def test_making_keys_leaves_no_evidence_and_no_lease(control: Control) -> None:
    control.data_keys.data_keys(wanted=[wanted("s1")])
    assert events(control) == []
    assert control.changes(0)[2] == []


def test_another_tenant_neither_opens_nor_erases_it(control: Control) -> None:
    (found,) = control.data_keys.data_keys(wanted=[wanted("s1", "i1")])
    assert found is not None
    assert control.data_keys.data_keys_by_id(tenant="acme", ids=["i1"]) == [None]
    assert not erase(control, "s1", tenant="acme")
    assert control.data_keys.data_keys_by_id(tenant="default", ids=["i1"]) != [None]


def test_an_erased_subject_has_no_key_and_its_next_one_is_another(control: Control) -> None:
    (before,) = control.data_keys.data_keys(wanted=[wanted("s1", "i1")])
    assert erase(control, "s1")
    assert control.data_keys.data_keys_by_id(tenant="default", ids=["i1"]) == [None]
    (after,) = control.data_keys.data_keys(wanted=[wanted("s1", "i2")])
    assert after != before


def test_erasing_leaves_one_event_however_often_it_is_asked(control: Control) -> None:
    control.data_keys.data_keys(wanted=[wanted("s1")])
    assert [erase(control, "s1"), erase(control, "s1"), erase(control, "nobody")] == [True, False, False]
    (event,) = events(control)
    details = orjson.loads(str(event["details"]))
    assert event["event_type"] == "subject_erased"
    assert details["subject"] == "s1" and details["reason"] == "erasure_request" and details["by"] == "k1"


def test_the_bytes_of_erased_keys_are_in_no_file_of_the_journal(tmp_path: Path) -> None:
    control = opened(tmp_path / "control.db")
    keys = [wanted(os.urandom(32).hex()) for _ in range(3_000)]
    for start in range(0, len(keys), 100):  # many pages, split while they fill
        control.data_keys.data_keys(wanted=keys[start : start + 100])
    random.Random(7).shuffle(keys)
    erased, left = keys[:200], keys[200:]
    for one in erased:
        assert erase(control, one[1])
    written = b"".join(path.read_bytes() for path in tmp_path.iterdir())
    assert not [one for one in erased if one[3][20:40] in written or one[2].encode() in written]
    assert all(one[3] in written for one in left)


def test_while_somebody_reads_the_journal_it_says_that_the_bytes_are_not_gone_and_finishes_later(
    tmp_path: Path,
) -> None:
    control = opened(tmp_path / "control.db")
    one = wanted("s1")
    control.data_keys.data_keys(wanted=[one])
    backup = sqlite3.connect(tmp_path / "control.db", isolation_level=None)
    backup.execute("BEGIN")
    backup.execute("SELECT * FROM data_keys").fetchall()
    erased = control.data_keys.erase_subject(tenant="default", subject="s1", reason="r", by="k1")
    assert erased == {"erased": True, "gone": False}
    backup.execute("COMMIT")
    control.data_keys.finish_erasing()
    assert control.data_keys.erasing is False
    assert not any(one[3] in path.read_bytes() for path in tmp_path.iterdir())
    backup.close()


def test_what_an_erasure_could_not_finish_before_the_store_died_is_finished_when_it_opens(
    tmp_path: Path,
) -> None:
    control = opened(tmp_path / "control.db")
    one = wanted("s1")
    control.data_keys.data_keys(wanted=[one])
    control.journal.empty_log()
    with control.journal.transaction() as step:  # committed, and no more
        step.execute("DELETE FROM data_keys")
    assert any(one[3] in path.read_bytes() for path in tmp_path.iterdir())
    opened(tmp_path / "control.db")
    assert not any(one[3] in path.read_bytes() for path in tmp_path.iterdir())


def test_there_is_an_end_to_subjects_and_to_what_is_asked_at_once(
    control: Control, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(store, "MOST_DATA_KEYS", 2)
    found = control.data_keys.data_keys(wanted=[wanted("s1"), wanted("s2"), wanted("s3")])
    assert [one is not None for one in found] == [True, True, False]
    assert control.data_keys.data_keys(wanted=[wanted("s4")]) == [None]
    assert len(caplog.records) == 1 and "is masked" in caplog.text
    assert erase(control, "s1")
    assert control.data_keys.data_keys(wanted=[wanted("s3")]) != [None]
    with pytest.raises(UnavailableError):
        control.data_keys.data_keys(wanted=[wanted("s1")] * (store.MOST_AT_ONCE + 1))


def test_the_count_survives_a_restart(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store, "MOST_DATA_KEYS", 1)
    opened(tmp_path / "control.db").data_keys.data_keys(wanted=[wanted("s1")])
    assert opened(tmp_path / "control.db").data_keys.data_keys(wanted=[wanted("s2")]) == [None]


def test_a_store_that_was_superseded_hands_out_nothing(tmp_path: Path) -> None:
    first = opened(tmp_path / "control.db")
    one = wanted("s1")
    first.data_keys.data_keys(wanted=[one])
    opened(tmp_path / "control.db")
    with pytest.raises(FencedError):
        first.data_keys.data_keys_by_id(tenant="default", ids=[one[2]])


def test_what_auditors_reveal_keeps_within_the_journals_bound_and_erasing_is_never_refused(
    tmp_path: Path,
) -> None:
    journal = open_control_journal(tmp_path / "control.db", new_log_id="control.x")
    control = Control(journal, World().surroundings(), evidence_backlog=1)
    control.data_keys.data_keys(wanted=[wanted("s1")])
    control.data_keys.record_reveal(tenant="default", details={"decision": "d"}, about=EvidenceRow())
    with pytest.raises(UnavailableError) as refused:
        control.data_keys.record_reveal(tenant="default", details={"decision": "d"}, about=EvidenceRow())
    assert refused.value.code == "evidence_backlog"
    assert erase(control, "s1")
    assert [event["event_type"] for event in events(control)] == ["arguments_revealed", "subject_erased"]
