from __future__ import annotations

import json
import os
import shutil
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from unit.evidence.evidence_samples import NOON_US, log
from unit.evidence.signed_tables import CREATED, NAME, Deployment
from unit.evidence.test_signed_landing import land

from evidence import signing_keys
from evidence.checkpoint import Checkpoint
from evidence.delta import heads as heads_module
from evidence.delta.heads import Signing
from evidence.delta.reading import open_dataset
from evidence.delta.table import EvidenceTable
from evidence.errors import EvidenceDamagedError, EvidenceKeyError
from evidence.note import Note, NoteError, PrivateKey, PublicKey, parse_notes
from evidence.rotation import Rotation, chain_to, rotate
from evidence.signing_keys import Signer

LATER = "2026-09-05T12:00:00Z"


@pytest.fixture
def made(tmp_path: Path) -> Deployment:
    return Deployment(tmp_path).made()


def key(number: int, name: str = NAME) -> PrivateKey:
    return PrivateKey(name, number.to_bytes(32, "big"))


def turn(made: Deployment) -> Rotation:
    return made.keys.rotate(time=LATER, random_bytes=made.seed)


def signers(made: Deployment) -> list[str]:
    """Who signed each commit: the ids of the keys that verify all of its checkpoints."""
    notes = parse_notes(made.keys.notes.read_text()) if made.keys.notes.exists() else []
    keys = [made.key(), *(Rotation.verified(note).old for note in notes)]
    found = []
    for evidence in made.evidence().values():
        by = {k.id.hex() for k in keys if all(n.signed_by(k.named(n.origin)) for n in evidence.checkpoints)}
        found += by
    return found


def test_a_key_is_made_once_and_for_us_alone(made: Deployment) -> None:
    first = made.key()
    assert not made.keys.create(NAME, created_at=CREATED, random_bytes=made.seed)
    assert made.key() == first == made.keys.read().public
    assert made.keys.private.stat().st_mode & 0o777 == 0o600
    assert json.loads(made.keys.private.read_text()).keys() == {"name", "private", "created_at"}


def test_the_public_half_that_a_crash_left_out_is_written_when_it_is_made_again(made: Deployment) -> None:
    before = made.keys.public.read_text()
    made.keys.public.unlink()
    made.keys.create(NAME, created_at=CREATED, random_bytes=made.seed)
    assert made.keys.public.read_text() == before


def test_a_lost_key_is_not_replaced_in_silence(made: Deployment) -> None:
    made.keys.private.unlink()
    with pytest.raises(EvidenceKeyError, match="put it back from a backup"):
        made.keys.create(NAME, created_at=CREATED, random_bytes=made.seed)


@pytest.mark.parametrize("name", ["", "two words", "a+b"])
def test_a_name_that_is_none_is_refused(name: str, tmp_path: Path) -> None:
    keys = Deployment(tmp_path).keys
    keys.private.parent.mkdir()
    with pytest.raises(EvidenceKeyError, match="no name of a key"):
        keys.create(name, created_at=CREATED, random_bytes=os.urandom)
    assert not keys.private.exists()


def test_a_key_that_others_may_read_is_refused(made: Deployment) -> None:
    made.keys.private.chmod(0o640)
    with pytest.raises(EvidenceKeyError, match="chmod 600"):
        made.keys.read()


@pytest.mark.parametrize(
    "text", ["", "[]", '{"name": "x", "private": "c2VjcmV0"}', '{"name": "x", "private": "%%"}']
)
def test_a_damaged_key_file_is_refused_and_never_quoted(text: str, made: Deployment) -> None:
    made.keys.private.write_text(text)
    with pytest.raises(EvidenceKeyError) as caught:
        made.keys.read()
    assert "c2VjcmV0" not in str(caught.value) and "secret" not in repr(caught.value)


def test_a_running_table_signs_with_the_new_key_from_the_next_landing_on(made: Deployment) -> None:
    table = made.opened()
    land(table, log(0, 9))
    old = made.key()
    rotation = turn(made)
    assert (rotation.old, rotation.new, rotation.time) == (old, made.key(), LATER)
    land(table, log(10, 19))
    land(table, log(20, 29))
    assert signers(made) == [old.id.hex(), made.key().id.hex(), made.key().id.hex()]
    carried = [[Rotation.verified(n).new for n in e.rotations] for e in made.evidence().values()]
    assert carried == [[], [made.key()], []]
    assert table.heads is not None and table.heads.key == made.key()
    land(made.opened(), log(30, 39))
    assert open_dataset(str(made.path)).count_rows() == 40


def test_a_rotation_in_the_middle_of_a_landing_is_for_the_next_one(
    made: Deployment, monkeypatch: pytest.MonkeyPatch
) -> None:
    table = made.opened()
    land(table, log(0, 9))
    old, wrapped = made.key(), heads_module.sign_head

    def turning(*args: Any) -> Any:
        if made.key() == old:
            turn(made)
        return wrapped(*args)

    monkeypatch.setattr(heads_module, "sign_head", turning)
    land(table, log(10, 19))
    land(table, log(20, 29))
    made.opened()
    assert signers(made) == [old.id.hex(), old.id.hex(), made.key().id.hex()]
    assert [len(each.rotations) for each in made.evidence().values()] == [0, 0, 1]


def test_the_first_commit_after_several_rotations_carries_all_of_them(made: Deployment) -> None:
    first = made.key()
    turn(made)
    table = made.opened()
    land(table, log(0, 9))
    turn(made)
    turn(made)
    land(made.opened(), log(10, 19))
    made.opened()
    carried = [[Rotation.verified(n) for n in e.rotations] for e in made.evidence().values()]
    assert [len(each) for each in carried] == [1, 2]
    chain = carried[0] + carried[1]
    assert chain[0].old == first and chain[-1].new == made.key()
    assert all(before.new == after.old for before, after in pairwise(chain))


def test_a_table_is_followed_over_rotations_when_all_its_checkpoints_are_read_again(made: Deployment) -> None:
    table = made.opened()
    for first in range(0, 40, 10):
        land(table, log(first, first + 9))
        turn(made)
    shutil.rmtree(made.checkpoints)
    land(made.opened(), log(40, 49))
    assert len(set(signers(made))) == 5


class Crash(Exception):
    pass


@pytest.mark.parametrize("step", range(6))
def test_a_crash_anywhere_in_a_rotation_is_harmless_and_repeatable(
    step: int, made: Deployment, monkeypatch: pytest.MonkeyPatch
) -> None:
    table = made.opened()
    land(table, log(0, 9))
    old = made.key()
    steps = iter(range(100))

    def crashing(wrapped: Any) -> Any:
        """Before and after each of the three files is written."""

        def write(*args: Any, **options: Any) -> None:
            if next(steps) == step:
                raise Crash
            wrapped(*args, **options)
            if next(steps) == step:
                raise Crash

        return write

    with monkeypatch.context() as patched:
        patched.setattr(signing_keys, "replace_file", crashing(signing_keys.replace_file))
        with pytest.raises(Crash):
            turn(made)
    land(table, log(10, 19))  # lands under whichever key is in force
    in_force = made.keys.read().public
    done = turn(made)
    assert done.old == in_force
    land(table, log(20, 29))
    land(made.opened(), log(30, 39))
    assert signers(made)[-1] == made.key().id.hex() == done.new.id.hex()
    chain = [Rotation.verified(note) for note in made.keys.rotations(made.key())]
    assert chain[0].old == old and chain[-1].new == made.key()
    assert not made.keys.private.with_suffix(".next").exists()


def test_notes_that_were_damaged_stop_the_landing(made: Deployment) -> None:
    table = made.opened()
    land(table, log(0, 9))
    turn(made)
    text = made.keys.notes.read_text()
    made.keys.notes.write_text(text.replace(LATER, "2026-09-06T12:00:00Z"))
    with pytest.raises(EvidenceKeyError, match=r"keys\.notes"):
        land(table, log(10, 19))
    made.keys.notes.unlink()
    with pytest.raises(EvidenceKeyError, match="no rotation leads to it"):
        land(table, log(10, 19))


def test_a_commit_of_the_old_key_after_the_rotation_is_not_accepted(made: Deployment) -> None:
    table = made.opened()
    land(table, log(0, 9))
    stolen = replace(made.keys, private=made.root / "stolen.json", notes=made.root / "none")
    shutil.copy(made.keys.private, stolen.private)
    thief = EvidenceTable.open_or_create(str(made.path), signing=Signing(signer=Signer(files=stolen)))
    assert thief.heads is not None
    turn(made)
    land(table, log(10, 19))
    with pytest.raises(EvidenceKeyError, match="no rotation leads to it"):
        land(thief, log(20, 29))
    thief.heads._signed_by = stolen.read().public  # a thief's program checks nothing
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(thief.heads, "follow", lambda: None)
        thief.land([log(20, 29)], ingest_time_us=NOON_US)
    for opened in (lambda: table, made.opened):
        with pytest.raises(EvidenceDamagedError, match="not to be believed"):
            land(opened(), log(30, 39))


def test_a_rotation_is_what_both_keys_signed() -> None:
    note = rotate(key(1), key(2), time=LATER)
    assert Rotation.verified(note) == Rotation(old=key(1).public, new=key(2).public, time=LATER)
    assert note.text.splitlines()[:2] == [f"{NAME}/_keys", "controlplane evidence key rotation"]


@pytest.mark.parametrize("number", range(5))
def test_a_rotation_that_is_none_is_refused(number: int) -> None:
    note = rotate(key(1), key(2), time=LATER)
    bad = [
        replace(note, signatures=note.signatures[:1]),
        replace(note, signatures=note.signatures[1:]),
        replace(note, text=note.text.replace("2026", "2027")),
        replace(note, text=note.text + "more\n"),
        rotate(key(1), key(2, "another"), time=LATER),
    ]
    with pytest.raises(NoteError):
        Rotation.verified(bad[number])


def test_of_all_rotations_those_are_taken_that_lead_to_the_key_in_force() -> None:
    notes = [rotate(key(old), key(new), time=LATER) for old, new in ((1, 2), (1, 7), (2, 3), (3, 9), (5, 6))]
    chain = [Rotation.verified(note) for note in chain_to(key(3).public, notes)]
    assert [(each.old, each.new) for each in chain] == [
        (key(1).public, key(2).public),
        (key(2).public, key(3).public),
    ]
    circle = [rotate(key(1), key(2), time=LATER), rotate(key(2), key(1), time=LATER)]
    assert len(chain_to(key(1).public, circle)) == 2


def test_the_key_files_of_a_name_sign_for_its_origins_alone(made: Deployment) -> None:
    land(made.opened(), log(0, 9))
    vkey = PublicKey.parse(made.keys.public.read_text())
    for evidence in made.evidence().values():
        for note in evidence.checkpoints:
            assert isinstance(note, Note)
            origin = Checkpoint.parse(note.text).origin
            assert note.signed_by(vkey.named(origin)) and not note.signed_by(vkey)
