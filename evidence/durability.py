"""Make what delta-rs wrote survive a loss of power: it never calls fsync itself.

A file is durable when its contents and the directory entry that names it are; a new directory's own entry
lies in its parent. Order: data files, then the log entries that refer to them, then the directories.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from urllib.parse import unquote

from evidence.errors import EvidenceDamagedError
from evidence.failpoints import reach

LOG_DIRECTORY = "_delta_log"


def log_file(root: Path, version: int) -> Path:
    """Where version `version` of the Delta table at `root` is recorded."""
    return root / LOG_DIRECTORY / f"{version:020d}.json"


def added_files(entry: Path) -> list[str]:
    """The data files, relative to the table, that one log entry adds."""
    actions = (json.loads(line) for line in entry.read_bytes().splitlines() if line)
    # The protocol stores paths as URIs, relative ones percent-encoded.
    return [unquote(action["add"]["path"]) for action in actions if "add" in action]


def sync_versions(root: Path, first: int, last: int) -> None:
    """Make the commits `first` to `last` durable, with the data files that they add.

    Raises: OSError: they may not be durable. The kernel reports a failed fsync once and then forgets, so
        that a second try proves nothing: whoever sees this must stop using the table.
    """
    entries = [log_file(root, version) for version in range(first, last + 1)]
    # A file that a compaction replaced meanwhile may have been vacuumed; its rows are in the later file.
    data = {root / path for entry in entries for path in added_files(entry)}
    sync_files(root, [path for path in data if path.exists()])
    for entry in entries:
        _sync(entry)
    _sync(root / LOG_DIRECTORY)


def sync_files(root: Path, files: Iterable[Path]) -> None:
    """Make data files durable, with their directories up to the table's own."""
    directories = {root}
    for path in files:
        _sync(path)
        directories.update(parent for parent in path.parents if parent.is_relative_to(root))
    for directory in sorted(directories, reverse=True):
        _sync(directory)


def sync_log(root: Path, first: int) -> None:
    """Make the log from version `first` on durable, checkpoints included, and the table's own entry."""
    oldest = log_file(root, max(0, first)).stem
    log = root / LOG_DIRECTORY
    # `_last_checkpoint` sorts after every version.
    for path in sorted(path for path in log.iterdir() if path.name >= oldest and path.is_file()):
        _sync(path)
    for directory in (log, root, root.parent):
        _sync(directory)


def create_file(path: Path, text: str, *, mode: int) -> bool:
    """Write a new file, durably. Returns: False: there is one. Raises: OSError.

    In place, because storage that is written once lets nothing be renamed or removed. What a crash has cut short is the
    beginning of `text`, and is completed, where the storage allows it.
    """
    try:
        _write_new(path, text, mode)
    except FileExistsError:
        found, whole = path.read_bytes(), text.encode()
        if found == whole:
            _sync(path)  # whoever wrote it may have ended before it did so
            _sync(path.parent)
            return False
        if not whole.startswith(found):
            return False
        replace_file(path, text, mode=mode)
        return True
    _sync(path.parent)
    return True


def replace_file(path: Path, text: str, *, mode: int) -> None:
    """Write a file whole or not at all, durably. Raises: OSError."""
    draft = path.with_name(f".{path.name}.draft")
    draft.unlink(missing_ok=True)
    _write_new(draft, text, mode)
    os.replace(draft, path)  # noqa: PTH105 - says that it replaces
    _sync(path.parent)


def make_folders(folder: Path) -> None:
    """Make a folder, and those above it, durably. Raises: OSError."""
    if folder.is_dir():
        return
    make_folders(folder.parent)
    folder.mkdir(exist_ok=True)
    _sync(folder.parent)


def check_sizes(root: Path, sizes: Mapping[str, int]) -> None:
    """Compare data files with what the log says of them.

    A loss of power between a commit and its fsync can leave a log entry whose data file is cut short. The
    rows are still in the journals then, but a table that counts them as landed must not be trusted.

    Args: sizes: size in bytes of each data file, by its path relative to the table.
    Raises: EvidenceDamagedError: a file is missing or has another size.
    Cost: one stat a file.
    """
    for name, expected in sizes.items():
        try:
            found = (root / name).stat().st_size
        except FileNotFoundError:
            found = -1
        if found != expected:
            what = "is missing" if found < 0 else f"has {found} bytes instead of {expected}"
            raise EvidenceDamagedError(
                f"evidence file `{name}` {what}; restore it from a copy, nothing is written until then",
                file=name,
                expected=expected,
                found=found,
            )


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _write_new(path: Path, text: str, mode: int) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        reach("files.still_empty")
        file.write(text)
        file.flush()
        os.fsync(descriptor)
