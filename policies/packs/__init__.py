"""Packs: policies that are ready to use, each with a page that says what its rules stop and cost, and with stories."""

from __future__ import annotations

from importlib.resources import files

_POLICY = "policy.yaml"


def packs() -> list[str]:
    """The names of all packs."""
    return sorted(folder.name for folder in files(__name__).iterdir() if folder.joinpath(_POLICY).is_file())


def pack_policy(name: str) -> str:
    """The policy of a pack. Raises: FileNotFoundError."""
    return files(__name__).joinpath(name, _POLICY).read_text("utf-8")


def pack_page(name: str) -> str:
    """What a pack's rules stop and cost, as Markdown. Raises: FileNotFoundError."""
    return files(__name__).joinpath(name, "README.md").read_text("utf-8")
