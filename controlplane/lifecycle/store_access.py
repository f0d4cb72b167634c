"""How the evidence writer gets at an object store's credentials, and the rest of the cluster does not.

Whatever the AWS SDKs read from the environment stays out of the cluster's: Ray hands that to each of its processes, and
writes a `runtime_env` to its logs. The supervisor, which has it from whoever called `up`, leaves it in a private file
that `down` removes; the writer reads it there, also when Ray has started it anew. Roles and profiles need none of this.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping

from controlplane.evidence_settings import EvidenceSettings
from controlplane.lifecycle import private_temp
from controlplane.settings import Settings

_PREFIX = "AWS_"


def without_access(environ: Mapping[str, str]) -> dict[str, str]:
    """An environment for those who have no business with the object store."""
    return {name: value for name, value in environ.items() if not name.startswith(_PREFIX)}


def leave_access(settings: Settings, environ: Mapping[str, str]) -> None:
    """Leave the variables for the writer, if the evidence or its checkpoint files lie in an object store.

    A supervisor that was started without any leaves what an earlier one left.

    Args: environ: the supervisor's.
    Raises: OSError; UnavailableError: the place for it belongs to someone else.
    """
    # INVARIANT (credentials): who copies or backs up the data directory copies no credentials of the store.
    found = {name: value for name, value in environ.items() if name.startswith(_PREFIX)}
    if not found or not EvidenceSettings.read(settings.evidence_settings).in_object_store:
        return
    private_temp.claim(settings.private_temp)
    draft = settings.store_access.with_suffix(".draft")
    draft.unlink(missing_ok=True)
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        json.dump(found, file)
    os.replace(draft, settings.store_access)  # noqa: PTH105 - says that it replaces
