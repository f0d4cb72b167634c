"""The key that data keys are wrapped under: one file of its own, so that it is kept, moved and destroyed by itself."""

from __future__ import annotations

import json
import stat
from pathlib import Path
from typing import Final

from controlplane.settings import DataDirectoryError

_NAME: Final = "wrapping_key"


def read_wrapping_key(path: Path) -> bytes:
    """32 bytes. Raises: DataDirectoryError: missing, damaged, or readable by others."""
    try:
        if stat.S_IMODE(path.stat().st_mode) & 0o077:
            raise DataDirectoryError(
                f"`{path}` is readable by others; run `chmod 600 {path}`", path=str(path)
            )
        key = bytes.fromhex(json.loads(path.read_text(encoding="utf-8"))[_NAME])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DataDirectoryError(
            f"cannot read `{path}`: {error}; restore it from a backup", path=str(path)
        ) from error
    if len(key) != 32:
        raise DataDirectoryError(f"`{path}` is damaged: the key has 32 bytes", path=str(path))
    return key
