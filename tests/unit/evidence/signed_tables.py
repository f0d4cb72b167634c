"""Evidence tables that sign: their keys, folders, and what stands in their commits."""

from __future__ import annotations

import itertools
from dataclasses import dataclass, field
from pathlib import Path

from evidence.checkpoint_files import CheckpointFiles
from evidence.commit_metadata import CommitEvidence, LogEntry
from evidence.delta.heads import Signing
from evidence.delta.maintenance import Cadence
from evidence.delta.table import EvidenceTable
from evidence.durability import log_file
from evidence.note import PublicKey
from evidence.signing_keys import KeyFiles, Signer
from evidence.storage import storage_at

NAME = "controlplane-test"
CREATED = "2026-09-04T12:00:00Z"


@dataclass
class Deployment:
    """What one deployment has on disk, below `root`."""

    root: Path
    random: itertools.count[int] = field(default_factory=itertools.count)

    @property
    def path(self) -> Path:
        return self.root / "evidence" / "decisions"

    @property
    def checkpoints(self) -> Path:
        return self.root / "evidence" / "checkpoints"

    @property
    def keys(self) -> KeyFiles:
        return KeyFiles(
            private=self.root / "keys" / "evidence.json",
            notes=self.root / "evidence" / "keys.notes",
            public=self.root / "evidence" / "keys.vkey",
        )

    @property
    def files(self) -> CheckpointFiles:
        return CheckpointFiles(folder=storage_at(self.root / "files"))

    def made(self) -> Deployment:
        for folder in (self.root / "keys", self.root / "evidence"):
            folder.mkdir(parents=True, exist_ok=True)
        self.keys.create(NAME, created_at=CREATED, random_bytes=self.seed)
        return self

    def seed(self, count: int) -> bytes:
        return next(self.random).to_bytes(count, "big")

    def opened(self, *, cadence: Cadence | None = None, files: bool = True) -> EvidenceTable:
        signing = Signing(signer=Signer(files=self.keys), files=self.files if files else None)
        return EvidenceTable.open_or_create(str(self.path), cadence=cadence, signing=signing)

    def key(self) -> PublicKey:
        return PublicKey.parse(self.keys.public.read_text())

    def entry(self, version: int) -> LogEntry:
        return LogEntry.parse(log_file(self.path, version).read_bytes())

    def evidence(self) -> dict[int, CommitEvidence]:
        """What each commit carries, by version."""
        entries = sorted((self.path / "_delta_log").glob("*.json"))
        found = {int(path.stem): LogEntry.parse(path.read_bytes()).evidence for path in entries}
        return {version: evidence for version, evidence in found.items() if evidence is not None}

    def notes_in_files(self) -> dict[int, str]:
        return {int(path.stem): path.read_text() for path in (self.root / "files").glob("*/*/*.notes")}
