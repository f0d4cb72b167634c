"""Signed notes and checkpoints, against the examples that C2SP and Go's checksum database publish, and in detail."""

from __future__ import annotations

import base64

import pytest

from evidence.checkpoint import Checkpoint, log_id_of, origin_of
from evidence.note import (
    COSIGNATURE,
    Note,
    NoteError,
    PrivateKey,
    PublicKey,
    Signature,
    cosigned_at,
    first_signer,
    parse_notes,
    signed_note,
    written_notes,
)

SUMDB_KEY = PublicKey.parse("sum.golang.org+033de0ae+Ac4zctda0e5eza+HJyk9SxEdh+s3Ux18htTTAD8OuAn8")
PETER_KEY = PublicKey.parse("PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW")

PETER = """\
If you think cryptography is the answer to your problem,
then you don't know what your problem is.

— PeterNeumann x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSNXgKvqfqdngotpRZb6KE6RyyBwJnAM=
"""
BEHIND_THE_SOFA = """\
example.com/behind-the-sofa
20852163
CsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=

— example.com/behind-the-sofa Az3grlgtzPICa5OS8npVmf1Myq/5IZniMp+ZJurmRDeOoRDe4URYN7u5/Zhcyv2q1gGzGku9nTo+zyWE+xeMcTOAYQ8=
— witness.example.com/w1 jWbPPwAAAABkGFDLEZMHwSRaJNiIDoe9DYn/zXcrtPHeolMI5OWXEhZCB9dlrDJsX3b2oyin1nPZqhf5nNo0xUe+mbIUBkBIfZ+qnA==
"""  # noqa: E501
SALVATORE = """\
Ognuno sta solo sul cuor della terra
trafitto da un raggio di sole:

ed è subito sera.

— quasimodo.example/salvatore NnugSzTjtVAewIS+Z/iJhUPeFDkO/5QQ2i5ddnGITLlC+EhfLW9oJKONrMouFSQU0xMcXxj99ihAQwaqP3ZekRwNtIc=
"""  # noqa: E501

KEY = PrivateKey("fleet", bytes(range(32)))


def test_the_published_note_of_the_go_package_verifies() -> None:
    note = Note.parse(PETER)

    assert note.signed_by(PETER_KEY)
    assert str(note) == PETER
    with pytest.raises(NoteError, match="not its key's") as caught:
        Note.parse(PETER.replace("answer", "question")).signed_by(PETER_KEY)
    assert caught.value.code == "bad_signature"


def test_the_published_checkpoint_of_c2sp_parses_and_its_signature_is_over_its_text() -> None:
    note = Note.parse(BEHIND_THE_SOFA)
    checkpoint = Checkpoint.parse(note.text)

    assert str(note) == BEHIND_THE_SOFA
    assert (checkpoint.origin, checkpoint.size) == ("example.com/behind-the-sofa", 20_852_163)
    assert checkpoint.text == note.text
    assert [each.name for each in note.signatures] == [
        "example.com/behind-the-sofa",
        "witness.example.com/w1",
    ]


def test_a_published_text_may_hold_empty_lines() -> None:
    note = Note.parse(SALVATORE)
    assert note.text.endswith("ed è subito sera.\n") and str(note) == SALVATORE


def test_a_signature_is_of_one_text_one_key_and_one_name() -> None:
    note = signed_note("a\nb\n", KEY)

    assert note.signed_by(KEY.public)
    assert first_signer(note, [PETER_KEY, KEY.public]) == KEY.public
    assert not note.signed_by(KEY.public.named("fleet/host-0"))
    assert not note.signed_by(PrivateKey("fleet", bytes(32)).public)
    with pytest.raises(NoteError, match="no known key"):
        first_signer(note, [PETER_KEY])
    forged = Signature(name="fleet", key_id=KEY.public.id, blob=bytes(64))
    with pytest.raises(NoteError, match="not its key's"):
        Note(text="a\nb\n", signatures=(*note.signatures, forged)).signed_by(KEY.public)


def test_a_witness_signs_the_text_and_its_time() -> None:
    witness = PrivateKey("witness.example/w1", bytes(reversed(range(32))))
    known = PublicKey(name=witness.public.name, key=witness.public.key, type=COSIGNATURE)
    note = signed_note("a\n", KEY)
    seen = Note(
        text=note.text, signatures=(*note.signatures, witness.cosign(note.text, time_s=1_700_000_000))
    )

    assert PublicKey.parse(str(known)) == known
    assert cosigned_at(Note.parse(str(seen)), known) == 1_700_000_000
    assert cosigned_at(note, known) is None
    later = witness.cosign(note.text, time_s=1_700_000_000)
    moved = (1_800_000_000).to_bytes(8, "big") + later.blob[8:]
    with pytest.raises(NoteError, match="not its key's"):
        cosigned_at(
            Note(text="a\n", signatures=(Signature(name=known.name, key_id=known.id, blob=moved),)), known
        )


def test_a_file_of_notes_gives_them_back() -> None:
    notes = [signed_note(f"log-{number}\n{number}\n", KEY, KEY.named("other")) for number in range(3)]

    assert parse_notes(written_notes(notes)) == notes
    assert parse_notes("") == []
    with pytest.raises(NoteError, match="in turn"):
        parse_notes(written_notes(notes) + "tail\n")


@pytest.mark.parametrize(
    "written",
    [
        "",
        "text\n",
        "text\n\nno signature\n",
        "text\n\n— name notbase64!\n",
        "text\n\n— name AAAA\n",
        "text\n\n—  AAAAAAAA\n",
        "text\n\n- name AAAAAAAA\n",
        "text\n\n— name AAAAAAAA",
        "te\rxt\n\n— name AAAAAAAA\n",
        "text\n\n" + "— name AAAAAAAA\n" * 65,
        "x" * 1_000_001,
    ],
)
def test_what_is_no_note_is_refused(written: str) -> None:
    with pytest.raises(NoteError):
        Note.parse(written)


@pytest.mark.parametrize(
    "vkey",
    [
        "",
        "fleet",
        f"fleet+00000000+{base64.b64encode(b'1' * 33).decode()}",
        "fleet+033de0ae+AAAA",
        str(KEY.public).replace("fleet", "fleed"),
        str(KEY.public)[:-2],
        f"fl eet+{KEY.public.id.hex()}+{base64.b64encode(bytes([1]) + KEY.public.key).decode()}",
        f"fleet+{KEY.public.id.hex()}+{base64.b64encode(bytes([2]) + KEY.public.key).decode()}",
    ],
)
def test_what_is_no_key_is_refused(vkey: str) -> None:
    with pytest.raises(NoteError) as caught:
        PublicKey.parse(vkey)
    assert caught.value.code == "invalid_key"


def test_a_key_is_written_as_published_and_never_shows_its_secret() -> None:
    assert str(SUMDB_KEY) == "sum.golang.org+033de0ae+Ac4zctda0e5eza+HJyk9SxEdh+s3Ux18htTTAD8OuAn8"
    assert repr(KEY) == "PrivateKey(fleet, …)"


@pytest.mark.parametrize(
    "text",
    [
        "fleet/log\n1\n",
        "fleet/log\n01\nAAAA\n",
        "fleet/log\n-1\nAAAA\n",
        "fleet/log\n1\nAAAA\n",
        "fleet/log\n1\n" + base64.b64encode(bytes(33)).decode() + "\n",
        "\n1\n" + base64.b64encode(bytes(32)).decode() + "\n",
        "fleet/log\n1\n" + base64.b64encode(bytes(32)).decode(),
        "fleet/log\n1\n" + base64.b64encode(bytes(32)).decode() + "\n\n",
        "fleet/log\n9999999999999999999\n" + base64.b64encode(bytes(32)).decode() + "\n",
    ],
)
def test_what_is_no_checkpoint_is_refused(text: str) -> None:
    with pytest.raises(NoteError):
        Checkpoint.parse(text)


def test_a_checkpoint_is_signed_under_its_origin() -> None:
    checkpoint = Checkpoint(origin=origin_of("fleet", "host-0"), size=0, root=bytes(32))
    note = Note.parse(str(checkpoint.signed(KEY)))

    assert Checkpoint.parse(note.text) == checkpoint
    assert note.signed_by(KEY.public.named("fleet/host-0"))
    assert not note.signed_by(KEY.public)
    assert log_id_of("fleet", checkpoint.origin) == "host-0"
    assert log_id_of("fleet", "fleet/") is None and log_id_of("fleet", "fleets/host-0") is None
