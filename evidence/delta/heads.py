"""The Merkle trees of the open evidence table: followed along its commits, signed at each landing, found at start."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Final

from deltalake import DeltaTable

from evidence.checkpoint import DELTA_LOG, Checkpoint, origin_of
from evidence.checkpoint_files import CheckpointFiles
from evidence.commit_metadata import CommitEvidence
from evidence.delta.checkpoints import CheckpointsTable, CommittedHeads
from evidence.delta.left_rows import LeftRows
from evidence.delta.reading import leaves, log_ids
from evidence.delta.signed_commits import SignedCommit, SignedCommits
from evidence.errors import EvidenceDamagedError, EvidenceKeyError
from evidence.failpoints import reach
from evidence.merkle import CompactRange
from evidence.note import PublicKey
from evidence.record import leaf_hash
from evidence.retention import Retirement
from evidence.signing_keys import Signer
from evidence.storage import Storage
from evidence.tree_heads import HeadMismatchError, TreeHead, sign_head

log = logging.getLogger(__name__)

FOLDER: Final = "checkpoints"
_AT_ONCE: Final = 1_000
"""Commits that are followed in one step: their notes are in memory together."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Signing:
    """What a table signs with, and where its checkpoints go besides. Args: files: None: no files."""

    signer: Signer
    files: CheckpointFiles | None = None


class Heads:
    """Where the tree of each log stands, and of the Delta log itself. One caller at a time; see `EvidenceTable`."""

    def __init__(
        self, root: Storage, table: DeltaTable, signing: Signing, checkpoints: CheckpointsTable
    ) -> None:
        self._root = root
        self._table = table
        self._signing = signing
        self._checkpoints = checkpoints
        self._name = signing.signer.current()[0].public.name
        self._commits = SignedCommits(root, self._name, signing.signer)
        self._delta = CompactRange()
        self._ranges: dict[str, CompactRange] = {}
        self._signed_by: PublicKey | None = (
            None  # who signed the newest checkpoint; None: there is none at all
        )
        self._own: dict[str, TreeHead] = {}
        self._unrecorded: list[CommittedHeads] = []
        self._checkpoint_version = -1

    @classmethod
    def open(cls, root: Storage, table: DeltaTable, signing: Signing) -> Heads:
        """Find out where the trees stand, and make up for what a crash left out: files, rows of the checkpoints table.

        Raises: EvidenceDamagedError: the table is not the one that was signed. EvidenceKeyError: no usable key.
            EvidenceUnavailableError: something cannot be read or written.
        Cost: what was committed since the newest row of the checkpoints table.
        """
        checkpoints = CheckpointsTable.open_or_create(root.beside(FOLDER), delta_log=DELTA_LOG)
        heads = cls(root, table, signing, checkpoints)
        heads._start(checkpoints.newest_version())
        heads.follow()
        heads._compare_files()
        heads.record()
        return heads

    @property
    def checkpoint_version(self) -> int:
        """The newest commit that carries checkpoints, as far as this object has followed; -1: none."""
        return self._checkpoint_version

    @property
    def key(self) -> PublicKey:
        """Who signed the newest checkpoint, or will sign the first. Raises: EvidenceKeyError."""
        return self._signed_by or self._signing.signer.current()[0].public

    def follow(self) -> None:
        """Take in what was committed, by whomever, since the last time: check it, and write its files.

        Raises: EvidenceDamagedError: it is not signed, or the rows are not what was signed. OSError.
        """
        version = int(self._table.version())
        left = LeftRows(self._root, newest=version, oldest=self._delta.size)
        while self._delta.size <= version:
            end = min(version + 1, self._delta.size + _AT_ONCE)
            self._take(range(self._delta.size, end), left)
            if len(self._unrecorded) >= _AT_ONCE:
                self.record()

    def sign(
        self,
        appended: Mapping[str, Sequence[bytes]],
        landed: Mapping[str, int],
        *,
        retention: Retirement | None = None,
    ) -> CommitEvidence:
        """What the commit after the table's version carries.

        Args:
            appended: the leaves that it adds, by log.
            landed: last `seq` of each of these logs in the table now.
            retention: what leaves with it.
        Raises: EvidenceDamagedError: rows are there that no checkpoint covers. EvidenceKeyError.
        Cost: 0.55 µs a leaf and 50 µs a log.
        """
        key, rotations = self._signing.signer.current()
        if key.public.name != self._name:
            raise EvidenceKeyError(
                f"the evidence key is now that of `{key.public.name}`, but `{self._name}` signed this table so far",
                expected=self._name,
                found=key.public.name,
            )
        if self._signed_by is None:
            self._adopt()
        self._load({log_id: landed[log_id] + 1 for log_id in appended})
        ranges = {log_id: self._ranges[log_id].append(added) for log_id, added in appended.items()}
        if self._signed_by is None:
            ranges = {log_id: range_ for log_id, range_ in self._ranges.items() if range_.size} | ranges
        ranges[DELTA_LOG] = self._delta
        heads = [sign_head(self._name, log_id, range_, key) for log_id, range_ in ranges.items()]
        self._own = {str(head.note): head for head in heads}
        return CommitEvidence(
            checkpoints=tuple(head.note for head in heads),
            rotations=tuple(self._commits.unannounced(self._signed_by, key.public, rotations)),
            retention=None if retention is None else retention.signed(key),
        )

    def record(self) -> None:
        """Write the checkpoints that are not in their table yet; what is left out is made up for at the next start.

        Raises: EvidenceUnavailableError.
        """
        if self._unrecorded:
            reach("checkpoints.before_record")
            self._checkpoints.append(self._unrecorded)
            reach("checkpoints.after_record")
            self._unrecorded = []
            self._checkpoints.tend()

    # -- at start ------------------------------------------------------------------------------------------------

    def _start(self, recorded: int) -> None:
        """Begin at the newest commit whose checkpoints are in their table."""
        if recorded < 0:
            return
        origin = origin_of(self._name, DELTA_LOG)
        head = self._checkpoints.newest([origin], until=recorded).get(origin)
        if recorded > int(self._table.version()) or head is None or head.checkpoint.size != recorded:
            raise EvidenceDamagedError(
                f"the checkpoints table knows version {recorded} of the evidence table `{self._root}`, which is at "
                f"{self._table.version()}: one of them was restored from a copy, or signed by another deployment than "
                f"`{self._name}`",
                expected=recorded,
                found=int(self._table.version()),
            )
        self._signed_by = self._commits.signer_of(head.note)
        self._delta = head.range.append([leaf_hash(self._commits.read(recorded)[0])])
        self._checkpoint_version = recorded

    def _compare_files(self) -> None:
        """Hold the newest file against the table: a table that was put back to an older copy ends before it."""
        files = self._signing.files
        newest = None if files is None else files.newest()
        if files is None or newest is None:
            return
        version, name = newest
        if version <= int(self._table.version()):
            evidence = self._commits.read(version)[1].evidence
            if evidence is not None and files.holds(name, evidence.notes):
                return
        raise EvidenceDamagedError(
            f"`{files.folder}/{name}` is not of the history of the evidence table `{self._root}`, which is at version "
            f"{self._table.version()}: the table was restored from a copy, or the file is another table's; nothing is "
            f"written until you have found out which",
            file=f"{files.folder}/{name}",
        )

    def _adopt(self) -> None:
        """A table that was written before checkpoints were: what stands there is what is signed from now on."""
        known = log_ids(self._table, self._root)
        # Nothing laundered: who strips a table of its notes has it not signed anew as he left it.
        if known and self._signing.signer.has_signed():
            raise EvidenceDamagedError(
                f"the evidence table `{self._root}` has rows of {len(known)} logs and no checkpoint, though this key "
                f"has signed a table: nothing is written until you have found out why; if it is another table, from "
                f"before there were checkpoints, remove `{self._signing.signer.files.signed}`"
            )
        if known and not self._ranges:
            log.warning(
                "the evidence table `%s` has rows of %d logs and no checkpoint: they are signed as they are now",
                self._root,
                len(known),
            )
        self._load({log_id: _size(self._table, log_id) for log_id in known})

    # -- following -----------------------------------------------------------------------------------------------

    def _take(self, versions: Iterable[int], left: LeftRows) -> None:
        delta, signer, commits = self._delta, self._signed_by, list[SignedCommit]()
        for version in versions:
            raw, entry = self._commits.read(version)
            commit = self._commits.checked(version, entry, delta=delta, signer=signer)
            if commit is not None:
                commits.append(commit)
                signer = commit.signer
            delta = delta.append([leaf_hash(raw)])
        ranges = self._ranges_at(commits, left)
        for commit in commits:
            if self._signing.files is not None:
                self._signing.files.write(commit.version, commit.time_ms, commit.evidence.notes)
        if signer is not None and self._signed_by is not None and signer != self._signed_by:
            log.warning("the evidence key is now %s; it was %s", signer, self._signed_by)
        if signer is not None:
            self._signing.signer.remember()
        # INVARIANT (files first): only what has its file is done with; what failed above is followed once more.
        self._delta, self._signed_by = delta, signer
        for commit in commits:
            self._checkpoint_version = commit.version
            heads = [
                TreeHead(
                    log_id=log_id,
                    note=note,
                    checkpoint=checkpoint,
                    # Of one within rows that have left nobody can tell the range any more.
                    range=ranges.get((log_id, checkpoint.size), CompactRange()),
                )
                for log_id, note, checkpoint in commit.heads
            ]
            self._ranges.update(
                {head.log_id: head.range for head in heads if head.log_id != DELTA_LOG and head.range.size}
            )
            self._unrecorded.append(
                CommittedHeads(version=commit.version, time_ms=commit.time_ms, heads=tuple(heads))
            )

    def _ranges_at(
        self, commits: Sequence[SignedCommit], left: LeftRows
    ) -> dict[tuple[str, int], CompactRange]:
        """The range of each log at each size that these commits sign, but for those that lie within rows that left."""
        found = {(DELTA_LOG, commit.version): commit.delta for commit in commits}
        signed: dict[str, list[Checkpoint]] = {}
        for commit in commits:
            for log_id, note, checkpoint in commit.heads:
                own = self._own.get(str(note))
                if own is not None:
                    found[log_id, checkpoint.size] = own.range
                elif log_id != DELTA_LOG:
                    signed.setdefault(log_id, []).append(checkpoint)
        self._fetch(signed)
        for log_id, checkpoints in signed.items():
            rows = partial(leaves, self._table, self._root, log_id)
            try:
                reached = list(left.followed(self._ranges[log_id], log_id, checkpoints, rows))
            except HeadMismatchError as error:
                raise EvidenceDamagedError(
                    f"the evidence table `{self._root}` is not what was signed: {error}"
                ) from error
            found |= {(log_id, range_.size): range_ for range_ in reached}
        return found

    # -- ranges --------------------------------------------------------------------------------------------------

    def _load(self, sizes: Mapping[str, int]) -> None:
        """Have the range of each of these logs at just this size."""
        # INVARIANT (one tree): a range is appended to only at the position that the table has for its log; whoever else
        # has landed rows since, they are in it or the commit fails.
        self._fetch(log_id for log_id, size in sizes.items() if size)
        for log_id, size in sizes.items():
            range_ = self._ranges.get(log_id, CompactRange())
            if range_.size != size and self._signed_by is None:
                rows = leaves(self._table, self._root, log_id, range_.size, size)
                range_ = range_.append(rows)
            if range_.size != size:
                raise EvidenceDamagedError(
                    f"log `{log_id}` has {size} rows in the evidence table `{self._root}`, and the newest checkpoint "
                    f"covers {range_.size}",
                    expected=range_.size,
                    found=size,
                )
            self._ranges[log_id] = range_

    def _fetch(self, log_ids: Iterable[str]) -> None:
        """Take ranges that are not known yet from the checkpoints table; where it has none, the log begins."""
        origins = {origin_of(self._name, log_id): log_id for log_id in log_ids if log_id not in self._ranges}
        if not origins:
            return
        heads: dict[str, TreeHead] = {}
        if self._signed_by is not None:
            heads = self._checkpoints.newest(origins.keys(), until=self._delta.size - 1)
        for origin, log_id in origins.items():
            if origin in heads:
                self._commits.signer_of(heads[origin].note)
            self._ranges[log_id] = heads[origin].range if origin in heads else CompactRange()


def _size(table: DeltaTable, log_id: str) -> int:
    last = table.transaction_version(log_id)
    return 0 if last is None else int(last) + 1
