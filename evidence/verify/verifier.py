"""The verification of a whole evidence table: from its files, against what an auditor brings."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from evidence.checkpoint import DELTA_LOG, origin_of
from evidence.note import NoteError, PublicKey
from evidence.verify.checkpoints_table import StoredCheckpoints, read_checkpoints
from evidence.verify.dates import by_date, check_ids, joined
from evidence.verify.delta_checkpoints import check_checkpoint, checkpoint_versions
from evidence.verify.delta_log import Entry, EntryError, entries, versions
from evidence.verify.delta_tree import check_delta_log
from evidence.verify.faults import Faults, Progress, UnreadableError
from evidence.verify.files import Files
from evidence.verify.history import History
from evidence.verify.keys import key_chain
from evidence.verify.notes import Landing, SignedNotes, text_digest
from evidence.verify.report import LogReport, Report
from evidence.verify.rows import FileTask, column_types
from evidence.verify.walk import LogWalk, Ranges
from evidence.verify.witness import kept_notes, notes_in, remember
from evidence.verify.workers import read_all

_MISSING = bytes(
    32
)  # in the place of an entry that is not there: no SHA-256 that anybody could make an entry for


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """What an auditor brings.

    Attributes:
        keys: verifier keys (C2SP vkeys) of the deployment; none: the one beside the table, which proves less.
        checkpoints: files of notes, or folders of them, that others have kept.
        witness: the auditor's own file of notes: read if it is there, replaced after success.
        witness_keys, quorum: as many of these witnesses (0: all) must have cosigned a checkpoint of each log.
        jobs: worker processes; 0: one for each processor.
    """

    keys: Sequence[str] = ()
    checkpoints: Sequence[str] = ()
    witness: str | None = None
    witness_keys: Sequence[str] = ()
    quorum: int = 0
    jobs: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Replayed:
    """The Delta log as it was read: `leaves` of its own tree, and what each commit says of the logs."""

    history: History
    landings: tuple[Landing, ...]
    leaves: tuple[bytes, ...]

    @property
    def last(self) -> int:
        return len(self.leaves) - 1


def verify(location: str, options: Options, *, progress: Progress = lambda what, done, total: None) -> Report:
    """Verify the table at `location`: a folder, or a URI that pyarrow opens.

    Returns: everything that is wrong, and what was looked at. Nothing is written but `options.witness`.
    Raises: UnreadableError: no verdict: there is no table, or an empty one; a key or a file of notes cannot be read.
    Cost: 4 µs of a worker for a row of 20 filled columns, 1 µs of this process, 0.3 ms a commit. Memory: the hashes
        and ids of a date's rows (about 100 bytes each), and the notes of all commits (1 kB each).
    """
    files = Files.at(location)
    pinned, witnesses, quorum = _brought(options)
    faults = Faults()
    read = replay(files, faults, progress)
    chain = key_chain(
        pinned or [key_beside(files)],
        [(each.version, note) for each in read.landings if each.evidence for note in each.evidence.rotations],
        faults,
    )
    notes = SignedNotes(chain=chain, faults=faults, witnesses=witnesses, quorum=quorum)
    notes.add_landings(read.landings, progress)
    notes.add_deletions(read.history.deletions)
    stored = _add_copies(files, notes, read)
    brought, remembers = _add_brought(options, notes)
    signed = check_delta_log(
        read.leaves, notes.sorted_points(DELTA_LOG), _ranges(notes, DELTA_LOG, stored), faults
    )
    walks = _walk(files, read.history, notes, stored, options.jobs, progress)
    if witnesses:
        _check_quorum(walks, notes)
    if not faults and not notes.points:
        raise UnreadableError(f"`{files.root}` has no rows and no signature: no key can be held against it")
    if not faults and options.witness:
        _remember(options.witness, notes)
    return Report(
        table=location,
        holds=not faults,
        name=chain.name,
        pinned=bool(pinned),
        keys=tuple(map(str, chain.keys)),
        version=read.last,
        rows=sum(walk.rows for walk in walks.values()),
        retained_rows=sum(walk.retained for walk in walks.values()),
        files=len(read.history.active),
        delta_entries_signed=signed,
        checkpoints_table=stored is not None,
        foreign_notes=notes.foreign,
        brought_notes=brought,
        witness_begun=bool(options.witness) and not remembers and not faults,
        logs=tuple(_log_report(walks[log_id], notes) for log_id in sorted(walks)),
        faults=tuple(faults.kept),
        counts=dict(faults.counts),
    )


def replay(files: Files, faults: Faults, progress: Progress) -> Replayed:
    """Read every entry of the Delta log, and look at what it does. Raises: UnreadableError: there is none."""
    numbers = versions(files)
    if not numbers:
        raise UnreadableError(f"there is no Delta table at `{files.root}`")
    history = History(faults=faults)
    checkpoints = checkpoint_versions(files, numbers[-1], faults)
    landings: list[Landing] = []
    leaves: list[bytes] = []
    try:
        for entry in entries(files, numbers):
            progress("history", len(leaves), numbers[-1] + 1)
            if entry.version > len(leaves):
                what = f"versions {len(leaves)} to {entry.version - 1} are missing in the table's log"
                faults.add("delta_log_rewritten", what, version=len(leaves))
                leaves += [_MISSING] * (entry.version - len(leaves))
            history.follow(entry)
            leaves.append(entry.leaf)
            landings.append(_landing(entry))
            if entry.version in checkpoints:
                check_checkpoint(files, entry.version, history, faults)
    except EntryError as error:
        faults.add("delta_log_rewritten", str(error), version=len(leaves))
    history.end(len(leaves) - 1)
    return Replayed(history=history, landings=tuple(landings), leaves=tuple(leaves))


def key_beside(files: Files) -> PublicKey:
    """The key that lies beside the table. Raises: UnreadableError: none does."""
    folder = files.parent
    try:
        return public_key(folder.read("keys.vkey").decode())
    except (UnreadableError, UnicodeDecodeError) as error:
        raise UnreadableError(
            "no key to verify signatures with: give the deployment's with --key (`controlplane keys evidence show` "
            f"prints it), or keep `keys.vkey` beside the table ({error})"
        ) from error


def public_key(text: str) -> PublicKey:
    """Raises: UnreadableError: it is no vkey."""
    try:
        return PublicKey.parse(text.strip())
    except NoteError as error:
        raise UnreadableError(error.message) from error


def _brought(options: Options) -> tuple[list[PublicKey], list[PublicKey], int]:
    pinned = [public_key(text) for text in options.keys]
    witnesses = [public_key(text) for text in options.witness_keys]
    if len({key.key for key in witnesses}) < len(witnesses):
        raise UnreadableError("a witness key is given twice: one witness counts once")
    quorum = options.quorum or len(witnesses)
    if quorum > len(witnesses):
        raise UnreadableError(f"a quorum of {quorum} needs as many witness keys; {len(witnesses)} are given")
    if options.witness and (Path(options.witness).is_dir() or not Path(options.witness).parent.is_dir()):
        raise UnreadableError(
            f"--witness takes a file, in a folder that is there; `{options.witness}` is none"
        )
    return pinned, witnesses, quorum


def _landing(entry: Entry) -> Landing:
    return Landing(
        version=entry.version,
        rows=not entry.removes and any(file.data_change for file in entry.adds),
        positions=entry.positions,
        evidence=entry.evidence,
        trouble=entry.trouble,
    )


def _remember(witness: str, notes: SignedNotes) -> None:
    try:
        remember(Path(witness), {note.origin: note for _, note in notes.newest.values()})
    except OSError as error:
        why = (error.strerror or str(error)).lower()
        raise UnreadableError(
            f"nothing is wrong with the table, but the witness file `{witness}` cannot be written: {why}"
        ) from error


def _add_copies(files: Files, notes: SignedNotes, read: Replayed) -> StoredCheckpoints | None:
    """Add what lies beside the table. Returns: the table of checkpoints."""
    commits = {
        each.version: frozenset(text_digest(str(note)) for note in each.evidence.checkpoints)
        for each in read.landings
        if each.evidence is not None
    }
    table, folder = files.beside("checkpoints"), files.beside("checkpoint-files")
    stored = read_checkpoints(table, commits, read.last, notes.faults)
    if stored is not None:
        notes.add_others(stored.notes, source=table.root)
    for source, found in notes_in(folder, folder.root, notes.faults):
        notes.add_others(found, source=source)
    return stored


def _add_brought(options: Options, notes: SignedNotes) -> tuple[int, bool]:
    """Add what the auditor brings.

    Returns: how many checkpoints of this deployment; whether the witness file was there.
    """
    brought = list(options.checkpoints)
    remembers = bool(options.witness) and Path(options.witness or "").exists()
    if options.witness and remembers:
        brought.append(options.witness)
    count = sum(notes.add_others(found, source=source) for source, found in kept_notes(brought, notes.faults))
    return count, remembers


def _ranges(notes: SignedNotes, log_id: str, stored: StoredCheckpoints | None) -> Ranges:
    return partial(stored.range_at, origin_of(notes.chain.name, log_id)) if stored else lambda size: None


def _walk(
    files: Files,
    history: History,
    notes: SignedNotes,
    stored: StoredCheckpoints | None,
    jobs: int,
    progress: Progress,
) -> dict[str, LogWalk]:
    """Walk every log that has rows, or should have."""
    types, strange = column_types(history.schema)
    for name in strange:
        notes.faults.add("schema", f"column `{name}` has a type that the format does not have")
    walks: dict[str, LogWalk] = {}

    def walk(log_id: str) -> LogWalk:
        if log_id not in walks:
            walks[log_id] = LogWalk(
                log_id=log_id,
                faults=notes.faults,
                points=notes.sorted_points(log_id),
                ranges=_ranges(notes, log_id, stored),
                segments=notes.segments.get(log_id, {}),
            )
        return walks[log_id]

    active = sorted(history.active.values(), key=lambda file: (file.date or "", file.path))
    tasks = [
        FileTask(
            files=files,
            path=file.path,
            date=file.date or "",
            size=file.size,
            rows=file.rows,
            stats=file.stats,
            types=types,
        )
        for file in active
        if not file.odd
    ]
    total, done = sum(task.rows or 0 for task in tasks), 0
    for date, found in by_date(read_all(tasks, jobs)):
        for each in found:
            notes.faults.extend(list(each.faults))
            done += each.rows
        progress("rows", done, total)
        check_ids(date, found, notes.faults)
        for log_id, (rows, spans) in sorted(joined(found).items()):
            walk(log_id).spans += spans
            walk(log_id).feed(rows.seqs, rows.leaves, rows.stored)
    for log_id in sorted((notes.points.keys() - {DELTA_LOG}) | notes.segments.keys()):
        walk(log_id)
    for each_walk in walks.values():
        each_walk.end()
    return walks


def _check_quorum(walks: Mapping[str, LogWalk], notes: SignedNotes) -> None:
    for log_id in sorted(walks.keys() - notes.witnessed.keys()):
        notes.faults.add(
            "checkpoint_missing",
            f"no checkpoint of log `{log_id}` is cosigned by {notes.quorum} of the {len(notes.witnesses)} witnesses",
            log_id=log_id,
        )


def _log_report(walk: LogWalk, notes: SignedNotes) -> LogReport:
    return LogReport(
        log_id=walk.log_id,
        rows=walk.rows,
        size=walk.position,
        signed=walk.reached,
        checked=walk.checked,
        unchecked=walk.unchecked,
        witnessed=notes.witnessed.get(walk.log_id),
    )
