"""Policy documents from files and folders."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from controlplane.errors import InputError

if TYPE_CHECKING:
    from policies.error import Source

PACK = "pack:"

FilesArgument = Annotated[
    list[Path],
    typer.Argument(
        metavar="FILES…",
        help="Policy documents; of a folder, every .yaml and .yml file below it; of `pack:NAME`, that pack's policy "
        "(`controlplane policy packs` lists them).",
    ),
]


def read_sources(paths: Sequence[Path]) -> list[Source]:
    """Each file once, folders in the order of their paths; names are as the user gave them.

    Raises: InputError: missing, unreadable, not UTF-8, or a folder without documents.
    """
    from policies.error import Source

    sources: dict[Path, Source] = {}
    for path in paths:
        if str(path).startswith(PACK):
            pack = read_pack(str(path).removeprefix(PACK))
            sources.setdefault(path, pack)
            continue
        found = 0
        for file in _files(path):
            found += 1
            try:
                text = file.read_text(encoding="utf-8")
            except UnicodeDecodeError as error:
                raise InputError(f"`{file}` is not utf-8: byte {error.start}") from None
            except OSError as error:
                hint = _pack_hint(str(path)) if isinstance(error, FileNotFoundError) else ""
                why = (error.strerror or str(error)).lower()
                raise InputError(f"cannot read `{file}`: {why}{hint}") from None
            sources.setdefault(file.resolve(), Source(name=str(file), text=text))
        if not found:
            raise InputError(f"no .yaml or .yml file below `{path}`")
    return list(sources.values())


def read_pack(name: str) -> Source:
    """The policy of a pack that comes with the package. Raises: InputError: there is none of this name."""
    from policies.error import Source, did_you_mean
    from policies.packs import pack_policy, packs

    if name not in packs():
        hint = did_you_mean(name, packs()) or "one of " + ", ".join(f"`{one}`" for one in packs())
        raise InputError(f"there is no pack `{name}`; {hint}", code="unknown_pack")
    return Source(name=f"{PACK}{name}", text=pack_policy(name))


def _pack_hint(name: str) -> str:
    from policies.packs import packs

    return f"; the pack is named `{PACK}{name}`" if name in packs() else ""


def _files(path: Path) -> Iterator[Path]:
    if path.is_dir():
        yield from sorted(
            file for file in path.rglob("*") if file.suffix in (".yaml", ".yml") and file.is_file()
        )
    else:
        yield path
