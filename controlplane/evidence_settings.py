"""Where the evidence of a deployment goes, and where its key lies.

The choice stands in DATA/evidence.json, written by `controlplane up`.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from controlplane import remembered
from controlplane.errors import GovernanceError
from controlplane.settings import Settings
from evidence.errors import EvidencePlaceError
from evidence.place import PlaceError, checked_place, is_object_uri
from evidence.signing_keys import KeyFiles


class EvidenceSettingsError(GovernanceError):
    """The file is not what it has to be; `path` names it."""

    code = "invalid_evidence_settings"


@dataclass(frozen=True, slots=True, kw_only=True)
class EvidenceSettings:
    """What an operator has chosen.

    Attributes:
        table: where the evidence table lies: an absolute path or `s3://bucket/prefix`; None: `evidence/decisions` in
            the data directory. Its checkpoints table lies beside it.
        checkpoint_files: where the signed checkpoints of each landing go as a file, in the same forms; None:
            `evidence/checkpoint-files` in the data directory.
    """

    table: str | None = None
    checkpoint_files: str | None = None

    def __post_init__(self) -> None:
        for name in ("table", "checkpoint_files"):
            place = getattr(self, name)
            if place is not None and not _is_place(place):
                raise EvidenceSettingsError(f"`{name}` must be an absolute path or `s3://bucket/prefix`")

    @property
    def in_object_store(self) -> bool:
        """Whether landing needs to reach one."""
        return any(
            place is not None and is_object_uri(place) for place in (self.table, self.checkpoint_files)
        )

    @classmethod
    def read(cls, path: Path) -> EvidenceSettings:
        """What stands in a file; the defaults where there is none. Raises: EvidenceSettingsError."""
        return remembered.read(cls, path, EvidenceSettingsError)

    def write(self, path: Path) -> None:
        """Replace the file, whole or not at all."""
        remembered.write(self, path)

    def moved(
        self, settings: Settings, *, table: str | None = None, checkpoint_files: str | None = None
    ) -> EvidenceSettings:
        """These settings with other places; None = the same.

        Raises: EvidencePlaceError: one is none. EvidenceSettingsError: checkpoint files would lie in a Delta table,
            which removes what it does not know.
        """
        asked = replace(
            self,
            table=self.table if table is None else place_of(table),
            checkpoint_files=self.checkpoint_files
            if checkpoint_files is None
            else place_of(checkpoint_files),
        )
        files, place = asked.checkpoint_folder(settings), asked.table_of(settings)
        if asked != self and any(_within(files, folder) for folder in (place, _beside(place, "checkpoints"))):
            raise EvidenceSettingsError(
                f"`{files}` lies in a table, which removes files that it does not know; take a folder of its own, "
                f"best on other storage"
            )
        return asked

    def table_of(self, settings: Settings) -> str:
        """Where the table lies."""
        return self.table or str(settings.evidence_table)

    def checkpoint_folder(self, settings: Settings) -> str:
        """Where the checkpoint files go."""
        return self.checkpoint_files or str(settings.evidence_table.with_name("checkpoint-files"))


def place_of(text: str) -> str:
    """A place as it is remembered: an absolute path or `s3://bucket/prefix`. Raises: EvidencePlaceError."""
    try:
        place = checked_place(text)
    except PlaceError as error:
        raise EvidencePlaceError(error.message) from error
    return place if is_object_uri(place) else str(Path(place).expanduser().absolute())


def _is_place(place: object) -> bool:
    try:
        return isinstance(place, str) and place_of(place) == place
    except EvidencePlaceError:
        return False


def _beside(place: str, name: str) -> str:
    return f"{place.rpartition('/')[0]}/{name}"


def _within(place: str, folder: str) -> bool:
    if is_object_uri(place) or is_object_uri(folder):
        return f"{place}/".startswith(f"{folder}/")
    return Path(place).resolve().is_relative_to(Path(folder).resolve())


def evidence_place(settings: Settings) -> str:
    """Where the evidence table of a deployment lies. Raises: EvidenceSettingsError."""
    return EvidenceSettings.read(settings.evidence_settings).table_of(settings)


def evidence_keys(settings: Settings) -> KeyFiles:
    """Where the key lies that signs the evidence."""
    folder = settings.evidence_table.parent
    return KeyFiles(private=settings.evidence_key, notes=folder / "keys.notes", public=folder / "keys.vkey")


def evidence_name(settings: Settings) -> str:
    """The name that a deployment signs under, unless `keys evidence create` was given another."""
    return f"controlplane-{settings.instance}"
