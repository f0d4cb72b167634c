"""A bundle as people name it: files and folders, `active`, or how its digest begins."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from controlplane.cli.bundle import PREFIX, resolved_digest
from controlplane.cli.connection import connect
from controlplane.cli.policy_files import read_sources
from controlplane.errors import InputError

if TYPE_CHECKING:
    from policies.bundle import Bundle
    from policies.error import Source
    from policies.loader import DocumentSet

ACTIVE = "active"


def read_bundle(
    what: str, data: Path | None, url: str | None, key: str | None, beside: Sequence[Path] = ()
) -> list[Source]:
    """The documents of a bundle. A file or folder of that name comes first.

    Args:
        beside: files, folders and packs that belong to it where it is read from files.
    Raises: InputError: there is none. RemoteError, DataDirectoryError: the control plane was needed.
    """
    if Path(what).exists() or not (what == ACTIVE or PREFIX.fullmatch(what)):
        return read_sources([Path(what), *beside])
    return stored_sources(what, data, url, key)


def stored_sources(what: str, data: Path | None, url: str | None, key: str | None) -> list[Source]:
    """The documents of a stored bundle, by digest, by how that begins, or `active`."""
    from policies.error import Source

    with connect(data, url, key) as client:
        digest = client.request("GET", "/v1/bundles").get("active") if what == ACTIVE else what
        if not digest:
            raise InputError("no bundle is active: everything is denied", code="no_active_bundle")
        stored = client.request("GET", f"/v1/bundles/{resolved_digest(client, digest)}")
    return [Source(name=source["name"], text=source["text"]) for source in stored["sources"]]


def compiled(sources: list[Source]) -> tuple[DocumentSet, Bundle]:
    """Raises: PolicyErrors."""
    from policies.compile import compile_bundle
    from policies.loader import load_documents

    documents = load_documents(sources)
    return documents, compile_bundle(documents)
