"""The folder in /tmp that is one instance's alone."""

from __future__ import annotations

import os
from pathlib import Path

from controlplane.errors import UnavailableError


def claim(path: Path) -> None:
    """Make the folder, or take it if it is ours. Raises: UnavailableError: it belongs to someone else."""
    path.mkdir(mode=0o700, exist_ok=True)
    status = path.lstat()
    if path.is_symlink() or status.st_uid != os.getuid():
        raise UnavailableError(f"`{path}` belongs to someone else; remove it, then try again", path=str(path))
    path.chmod(0o700)
