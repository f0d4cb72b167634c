from __future__ import annotations

import json
from hashlib import sha256

import pytest
from unit.evidence.signed_tables import NAME

from evidence.checkpoint import Checkpoint
from evidence.commit_metadata import KEY, CommitEvidence, LogEntry
from evidence.merkle import CompactRange, root
from evidence.note import NoteError, PrivateKey
from evidence.rotation import rotate
from evidence.tree_heads import HeadMismatchError, followed, packed, sign_head, unpacked

LEAVES = [sha256(bytes([n])).digest() for n in range(40)]
SIGNING = PrivateKey(NAME, bytes(32))


def checkpoint(size: int, leaves: list[bytes] | None = None) -> Checkpoint:
    return Checkpoint(origin=f"{NAME}/host-000", size=size, root=root((leaves or LEAVES)[:size]))


@pytest.mark.parametrize("size", [1, 2, 3, 31, 32, 40])
def test_a_head_is_signed_under_its_origin_and_its_range_comes_back(size: int) -> None:
    head = sign_head(NAME, "host-000", CompactRange().append(LEAVES[:size]), SIGNING)
    assert head.checkpoint == checkpoint(size) == Checkpoint.parse(head.note.text)
    assert head.note.signed_by(SIGNING.public.named(f"{NAME}/host-000"))
    assert unpacked(head.checkpoint, packed(head.range)) == head.range


@pytest.mark.parametrize(
    "change", [lambda b: b[:-1], lambda b: b[32:], lambda b: b[::-1], lambda b: b + b[:32], lambda b: b""]
)
def test_a_range_that_was_not_signed_is_refused(change: object) -> None:
    head = sign_head(NAME, "host-000", CompactRange().append(LEAVES[:21]), SIGNING)
    with pytest.raises(HeadMismatchError, match="not what was signed"):
        unpacked(head.checkpoint, change(packed(head.range)))  # type: ignore[operator]


def test_a_log_is_followed_along_its_checkpoints_and_no_further() -> None:
    rest = iter(LEAVES[5:])
    signed = [checkpoint(size) for size in (5, 9, 9, 33)]
    reached = list(followed(CompactRange().append(LEAVES[:5]), rest, signed))
    assert [(each.size, each.root()) for each in reached] == [(each.size, each.root) for each in signed]
    assert list(rest) == LEAVES[33:]


@pytest.mark.parametrize(
    ("start", "signed"),
    [
        (0, [checkpoint(9), checkpoint(12, LEAVES[::-1])]),
        (0, [Checkpoint(origin=f"{NAME}/host-000", size=41, root=bytes(32))]),
        (9, [checkpoint(8)]),
        (0, [checkpoint(9), checkpoint(8)]),
    ],
    ids=["another root", "too few leaves", "before the start", "sizes that go back"],
)
def test_what_was_not_signed_is_not_followed(start: int, signed: list[Checkpoint]) -> None:
    with pytest.raises(HeadMismatchError):
        list(followed(CompactRange().append(LEAVES[:start]), LEAVES[start:], signed))


def entry(*actions: object) -> bytes:
    return b"".join(json.dumps(action, separators=(",", ":")).encode() + b"\n" for action in actions)


def test_what_a_commit_carries_comes_back() -> None:
    head = sign_head(NAME, "host-000", CompactRange().append(LEAVES), SIGNING)
    turned = rotate(PrivateKey(NAME, bytes([1] * 32)), SIGNING, time="2026-09-05T12:00:00Z")
    evidence = CommitEvidence(checkpoints=(head.note,), rotations=(turned,))
    assert CommitEvidence.parse(evidence.to_json()) == evidence
    assert evidence.notes == (turned, head.note)
    info = {"timestamp": 12, "operation": "WRITE", KEY: evidence.to_json()}
    found = LogEntry.parse(
        entry({"commitInfo": info}, {"add": {}}, {"txn": {"appId": "host-000", "version": 39}})
    )
    assert (found.time_ms, found.evidence, found.positions) == (12, evidence, {"host-000": 39})


def test_an_entry_without_metadata_carries_nothing() -> None:
    found = LogEntry.parse(entry({"commitInfo": {"timestamp": 12}}, {"protocol": {}}))
    assert (found.evidence, found.positions) == (None, {})


@pytest.mark.parametrize(
    "metadata",
    ["", "[]", "{}", '{"v":2,"checkpoints":[]}', '{"v":1,"checkpoints":["x"]}', '{"v":1,"checkpoints":[1]}',
     '{"v":1,"checkpoints":[],"more":1}', '{"v":1,"checkpoints":null}', 5],
)  # fmt: skip
def test_metadata_that_are_none_are_refused(metadata: object) -> None:
    with pytest.raises(NoteError):
        LogEntry.parse(entry({"commitInfo": {KEY: metadata}}))


@pytest.mark.parametrize(
    "line", [b'{"commitInfo":', b'{"commitInfo":{"timestamp":"soon"}}', b'{"txn":{"appId":"a"}}']
)
def test_an_entry_that_is_none_is_refused(line: bytes) -> None:
    with pytest.raises(NoteError):
        LogEntry.parse(line)
