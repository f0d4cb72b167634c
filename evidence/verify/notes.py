"""Signed checkpoints from everywhere: the commits, the table of checkpoints, files that others have kept."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import sha256

from evidence.checkpoint import DELTA_LOG, KEY_ROTATIONS, RETENTION, Checkpoint, log_id_of
from evidence.commit_metadata import CommitEvidence
from evidence.merkle import EMPTY_ROOT
from evidence.note import Note, NoteError, PublicKey, cosigned_at
from evidence.retention import Retirement, Segment
from evidence.verify.faults import Code, Faults, Progress
from evidence.verify.history import Deletion
from evidence.verify.keys import KeyChain, signed
from evidence.verify.walk import Point


def text_digest(note: str) -> bytes:
    """What is remembered of a note's text, signatures included: there may be millions of them."""
    return sha256(note.encode()).digest()[:16]


@dataclass(frozen=True, slots=True, kw_only=True)
class Landing:
    """What one commit says of the logs. `rows`: whether it adds rows; `trouble`: why its notes cannot be read."""

    version: int
    rows: bool
    positions: Mapping[str, int]
    evidence: CommitEvidence | None
    trouble: str


@dataclass(slots=True, kw_only=True)
class SignedNotes:
    """Every checkpoint whose signature holds, by log; `DELTA_LOG` stands for the Delta log.

    Attributes:
        known: digests of the notes whose signatures were verified: copies of them need not be again.
        newest: the note with the largest size of each log.
        witnessed: size of the newest checkpoint of each log that enough witnesses have cosigned.
    """

    chain: KeyChain
    faults: Faults
    witnesses: Sequence[PublicKey] = ()
    quorum: int = 0
    points: dict[str, list[Point]] = field(default_factory=dict)
    segments: dict[str, dict[int, Segment]] = field(default_factory=dict)
    newest: dict[str, tuple[int, Note]] = field(default_factory=dict)
    witnessed: dict[str, int] = field(default_factory=dict)
    known: set[bytes] = field(default_factory=set)
    foreign: int = 0

    def add_landings(self, landings: Sequence[Landing], progress: Progress) -> None:
        """The notes of all commits, ascending. From the first that carries any, every landing must carry its own.

        Cost: 70 µs a note.
        """
        begun = False
        for done, landing in enumerate(landings):
            progress("signatures", done, len(landings))
            if landing.trouble:
                self._fault(
                    landing.version, "checkpoint_forged", f"its notes cannot be read: {landing.trouble}"
                )
            begun = begun or landing.evidence is not None
            covered = self._add_notes(landing) if landing.evidence is not None else {}
            retires = landing.evidence is not None and landing.evidence.retention is not None
            if retires and covered.get(DELTA_LOG) != landing.version:
                # A note that was signed and then not used lies in the log for everybody: it alone proves nothing.
                self._fault(
                    landing.version, "checkpoint_missing", "rows leave, and no checkpoint is of just then"
                )
            if not begun or not (landing.rows or landing.positions):
                continue
            for log_id, last in landing.positions.items():
                if covered.get(log_id) != last + 1:
                    self._fault(
                        landing.version,
                        "checkpoint_missing",
                        f"no checkpoint of size {last + 1} of log `{log_id}`",
                        log_id,
                    )
            if not landing.positions:
                self._fault(landing.version, "checkpoint_missing", "it adds rows and says of which log none")
            if covered.get(DELTA_LOG) != landing.version:
                self._fault(landing.version, "checkpoint_missing", "no checkpoint of the Delta log before it")

    def _add_notes(self, landing: Landing) -> dict[str, int]:
        assert landing.evidence is not None
        keys = self.chain.at(landing.version)
        covered: dict[str, int] = {}
        for note in landing.evidence.checkpoints:
            where = f"the checkpoint of `{note.origin[:200]}` in version {landing.version}"
            added = self._add(note, keys, where=where, version=landing.version, source="")
            if added is not None:
                covered[added[0]] = added[1]
        return covered

    def add_deletions(self, deletions: Iterable[Deletion]) -> None:
        """The retention notes of commits that delete: signed, and of the dates that left."""
        for deletion in deletions:
            note, version = deletion.note, deletion.version
            where = f"the retention note of version {deletion.version}"
            keys = self.chain.at(deletion.version)
            if not signed(
                note, self.chain, keys, self.faults, where=where, version=deletion.version, log_id=None
            ):
                continue
            try:
                found = Retirement.parse(note.text)
            except NoteError as error:
                self._fault(version, "delta_operation", f"its retention note: {error.message}")
                continue
            dates = {each.isoformat() for each in found.partitions}
            if found.origin != f"{self.chain.name}/{RETENTION}" or dates != deletion.dates:
                what = f"it deletes {', '.join(sorted(deletion.dates))}; its note lets {', '.join(sorted(dates))} leave"
                self._fault(version, "delta_operation", what)
                continue
            for segment in found.segments:
                self.segments.setdefault(segment.log_id, {})[segment.first] = segment

    def add_others(self, notes: Iterable[Note], *, source: str) -> int:
        """Checkpoints that others have kept, of whatever age. Those of other deployments are left out, and counted.

        Returns: how many are this deployment's.
        """
        own = 0
        for note in notes:
            log_id = log_id_of(self.chain.name, note.origin)
            if log_id is None:
                self.foreign += 1
                continue
            if log_id in (KEY_ROTATIONS, RETENTION):
                continue
            own += 1
            if text_digest(str(note)) not in self.known:
                where = f"the checkpoint of `{note.origin[:200]}` in `{source}`"
                self._add(note, self.chain.keys, where=where, version=None, source=source)
        return own

    def _add(
        self, note: Note, keys: Sequence[PublicKey], *, where: str, version: int | None, source: str
    ) -> tuple[str, int] | None:
        log_id = log_id_of(self.chain.name, note.origin)
        file = source or None
        if log_id is None or log_id in (KEY_ROTATIONS, RETENTION):
            self.faults.add(
                "key_unknown", f"{where} is not of `{self.chain.name}`", version=version, file=file
            )
            return None
        if not signed(
            note, self.chain, keys, self.faults, where=where, version=version, log_id=log_id, file=file
        ):
            return None
        try:
            checkpoint = Checkpoint.parse(note.text)
            self._witness(log_id, checkpoint.size, note)
        except NoteError as error:
            self.faults.add(
                "checkpoint_forged", f"{where}: {error.message}", version=version, log_id=log_id, file=file
            )
            return None
        self.known.add(text_digest(str(note)))
        if checkpoint.size:
            point = Point(size=checkpoint.size, root=checkpoint.root, version=version, source=source)
            self.points.setdefault(log_id, []).append(point)
        elif checkpoint.root != EMPTY_ROOT:
            self.faults.add(
                "checkpoint_inconsistent", f"{where} has size 0 and another root", version=version
            )
        if checkpoint.size > self.newest.get(log_id, (-1, note))[0]:
            self.newest[log_id] = (checkpoint.size, note)
        return log_id, checkpoint.size

    def _witness(self, log_id: str, size: int, note: Note) -> None:
        """Raises: NoteError: a cosignature in a witness's name is not its."""
        count = sum(cosigned_at(note, witness) is not None for witness in self.witnesses)
        if self.witnesses and count >= self.quorum:
            self.witnessed[log_id] = max(size, self.witnessed.get(log_id, 0))

    def sorted_points(self, log_id: str) -> list[Point]:
        """By size; of one size, those of commits first."""
        return sorted(
            self.points.get(log_id, ()),
            key=lambda point: (point.size, point.version is None, point.version or 0),
        )

    def _fault(self, version: int, code: Code, what: str, log_id: str | None = None) -> None:
        self.faults.add(code, f"version {version}: {what}", version=version, log_id=log_id)
