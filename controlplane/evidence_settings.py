"""Where the evidence of a deployment goes, and where its key lies.

The choice stands in DATA/evidence.json, written by `controlplane up`.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from controlplane import remembered
from controlplane.errors import GovernanceError
from controlplane.settings import Settings
from evidence.signing_keys import KeyFiles


class EvidenceSettingsError(GovernanceError):
    """The file is not what it has to be; `path` names it."""

    code = "invalid_evidence_settings"


@dataclass(frozen=True, slots=True, kw_only=True)
class EvidenceSettings:
    """What an operator has chosen.

    Attributes:
        checkpoint_files: absolute path of the folder that gets the signed checkpoints of each landing as a file; None:
            `evidence/checkpoint-files` in the data directory.
    """

    checkpoint_files: str | None = None

    def __post_init__(self) -> None:
        folder = self.checkpoint_files
        if folder is not None and (not isinstance(folder, str) or not Path(folder).is_absolute()):
            raise EvidenceSettingsError("`checkpoint_files` must be the absolute path of a folder")

    @classmethod
    def read(cls, path: Path) -> EvidenceSettings:
        """What stands in a file; the defaults where there is none. Raises: EvidenceSettingsError."""
        return remembered.read(cls, path, EvidenceSettingsError)

    def write(self, path: Path) -> None:
        """Replace the file, whole or not at all."""
        remembered.write(self, path)

    def moved(self, folder: Path, settings: Settings) -> EvidenceSettings:
        """These settings with another folder for checkpoint files.

        Raises: EvidenceSettingsError: it lies in a Delta table, which removes what it does not know.
        """
        chosen = folder.expanduser().absolute()
        tables = (settings.evidence_table, settings.evidence_table.with_name("checkpoints"))
        if any(chosen.resolve().is_relative_to(table.resolve()) for table in tables):
            raise EvidenceSettingsError(
                f"`{chosen}` lies in a table, which removes files that it does not know; take a folder of its own, "
                f"best on other storage"
            )
        return replace(self, checkpoint_files=str(chosen))

    def checkpoint_folder(self, settings: Settings) -> Path:
        """Where the checkpoint files go."""
        default = settings.evidence_table.with_name("checkpoint-files")
        return default if self.checkpoint_files is None else Path(self.checkpoint_files)


def evidence_keys(settings: Settings) -> KeyFiles:
    """Where the key lies that signs the evidence."""
    folder = settings.evidence_table.parent
    return KeyFiles(private=settings.evidence_key, notes=folder / "keys.notes", public=folder / "keys.vkey")


def evidence_name(settings: Settings) -> str:
    """The name that a deployment signs under, unless `keys evidence create` was given another."""
    return f"controlplane-{settings.instance}"
