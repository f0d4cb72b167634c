"""Reading the commits of the evidence table: what they carry is believed once its signatures have been verified."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from evidence.checkpoint import DELTA_LOG, RETENTION, Checkpoint, log_id_of, origin_of
from evidence.commit_metadata import CommitEvidence, LogEntry
from evidence.errors import EvidenceDamagedError, EvidenceKeyError
from evidence.merkle import CompactRange
from evidence.note import Note, NoteError, PublicKey, first_signer
from evidence.rotation import Rotation
from evidence.signing_keys import Signer
from evidence.storage import Storage, log_entry


@dataclass(frozen=True, slots=True, kw_only=True)
class SignedCommit:
    """A commit that carries evidence; its signatures and the Delta log's root are verified.

    Attributes:
        time_ms: when, milliseconds since the epoch.
        heads: (log id, note, checkpoint) of each log that it signs, the Delta log among them.
        delta: the range of the Delta log before it.
        signer: whose key is in force from here on.
    """

    version: int
    time_ms: int
    evidence: CommitEvidence
    heads: tuple[tuple[str, Note, Checkpoint], ...]
    delta: CompactRange
    signer: PublicKey


class SignedCommits:
    """The commits of one table. Args: root: the table's folder; name: of the deployment that signs it."""

    def __init__(self, root: Storage, name: str, signer: Signer) -> None:
        self._root = root
        self._name = name
        self._signer = signer

    def read(self, version: int) -> tuple[bytes, LogEntry]:
        """The bytes of one entry of the Delta log, and what they say. Raises: EvidenceDamagedError; OSError."""
        try:
            raw = self._root.read(log_entry(version))
            return raw, LogEntry.parse(raw)
        except (FileNotFoundError, NoteError) as error:
            raise self._damaged(version, f"cannot be read: {error}") from error

    def checked(
        self, version: int, entry: LogEntry, *, delta: CompactRange, signer: PublicKey | None
    ) -> SignedCommit | None:
        """What a commit carries, verified; None: nothing, and it adds no rows that would have to be signed.

        Args:
            delta: the range of the Delta log before this commit.
            signer: whose key was in force before; None: nothing is signed yet.
        Raises: EvidenceDamagedError: rows that leave without a retention note, or come without a checkpoint; a
            signature or a root that is not right.
        """
        evidence = entry.evidence
        # A retention note alone lets nothing leave: one that was signed and not used lies in the log for all to see.
        retires = evidence is not None and evidence.retention is not None and evidence.checkpoints
        if signer is not None and entry.removes_rows and not retires:
            raise self._damaged(version, "removes rows that the writer did not let leave")
        if evidence is None:
            if signer is not None and entry.positions:
                raise self._damaged(version, "adds rows and carries no checkpoint")
            return None
        try:
            key = self._rotated(evidence.rotations, signer)
            if evidence.retention is not None:
                key = self._signer_of(evidence.retention, key, origin_of(self._name, RETENTION))
            heads = list[tuple[str, Note, Checkpoint]]()
            for note in evidence.checkpoints:
                checkpoint = Checkpoint.parse(note.text)
                log_id = log_id_of(self._name, checkpoint.origin)
                if log_id is None:
                    raise NoteError(f"`{checkpoint.origin}` is not of `{self._name}`")
                key = self._signer_of(note, key, checkpoint.origin)
                heads.append((log_id, note, checkpoint))
            if key is None:
                raise NoteError("nothing is signed")
            self._check_covered(version, entry, heads, delta)
        except NoteError as error:
            raise self._damaged(version, f"carries what is not to be believed: {error}") from error
        return SignedCommit(
            version=version,
            time_ms=entry.time_ms,
            evidence=evidence,
            heads=tuple(heads),
            delta=delta,
            signer=key,
        )

    def signer_of(self, note: Note) -> PublicKey:
        """Which of the deployment's keys, now or before, signed this. Raises: EvidenceDamagedError: none."""
        try:
            return self._signer_of(note, None, note.origin)
        except NoteError as error:
            raise EvidenceDamagedError(
                f"a checkpoint of the evidence table `{self._root}` is not to be believed: {error}; put the right key "
                f"file back, or the right table"
            ) from error

    def unannounced(
        self, signer: PublicKey | None, current: PublicKey, rotations: Sequence[Note]
    ) -> Sequence[Note]:
        """The rotations that lead from the key in force in the table to the one that signs now.

        Args:
            signer: who signed the newest checkpoint; None: nothing is signed yet.
            rotations: those that led to `current`, oldest first.
        Raises: EvidenceKeyError: none do.
        """
        if signer is None:
            return rotations
        if signer == current:
            return ()
        for index, note in enumerate(rotations):
            if Rotation.verified(note).old == signer:
                return rotations[index:]
        raise EvidenceKeyError(
            f"the evidence key {current.id.hex()} is not the one that signed so far ({signer.id.hex()}), and no "
            f"rotation leads to it: put the key file and `{self._signer.files.notes}` back from a backup",
            expected=signer.id.hex(),
            found=current.id.hex(),
        )

    def _rotated(self, rotations: Sequence[Note], signer: PublicKey | None) -> PublicKey | None:
        for note in rotations:
            rotation = Rotation.verified(note)
            if signer is not None and rotation.old != signer:
                raise NoteError(f"a rotation from the key {rotation.old.id.hex()}, which was not in force")
            signer = rotation.new
        return signer

    def _signer_of(self, note: Note, key: PublicKey | None, origin: str) -> PublicKey:
        """Raises: NoteError: it was not signed with `key`, or, where there is none, with a key of the deployment."""
        if key is not None:
            keys = [key]
        else:
            current, rotations = self._signer.current()
            keys = [current.public, *(Rotation.verified(each).old for each in rotations)]
        return first_signer(note, [each.named(origin) for each in keys]).named(self._name)

    def _check_covered(
        self,
        version: int,
        entry: LogEntry,
        heads: Sequence[tuple[str, Note, Checkpoint]],
        delta: CompactRange,
    ) -> None:
        """Raises: NoteError: not every row that the commit adds, and every entry before it, is signed."""
        sizes = {log_id: checkpoint.size for log_id, _, checkpoint in heads}
        if len(sizes) != len(heads):
            raise NoteError("two checkpoints of one log")
        for log_id, last in entry.positions.items():
            if sizes.get(log_id) != last + 1:
                raise NoteError(f"the rows of log `{log_id}` up to seq {last} have no checkpoint")
        for log_id, _, checkpoint in heads:
            if log_id == DELTA_LOG and (checkpoint.size, checkpoint.root) != (version, delta.root()):
                raise NoteError("the Delta log before it is not the one that was signed")
        if heads and DELTA_LOG not in sizes:
            raise NoteError("the Delta log has no checkpoint")

    def _damaged(self, version: int, what: str) -> EvidenceDamagedError:
        return EvidenceDamagedError(
            f"version {version} of the evidence table `{self._root}` {what}; nothing is written until you have found "
            f"out why: see `controlplane evidence verify`",
            file=log_entry(version),
        )
