"""What the evidence writer is left to reach an object store with (see `controlplane.lifecycle.store_access`)."""

from __future__ import annotations

import json
from collections.abc import MutableMapping
from pathlib import Path


def take_access(path: str, environ: MutableMapping[str, str]) -> None:
    """Put the variables in a file into the environment, where both clients of the store look for them.

    Args: path: of the file; without one, or where there is none, the environment stays as it is.
    Raises: OSError; ValueError: it cannot be read.
    """
    try:
        environ.update(json.loads(Path(path).read_text(encoding="utf-8")) if path else {})
    except FileNotFoundError:
        return
