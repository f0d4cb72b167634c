"""How large something is, as people write it: `500MiB`, `20GiB`, `1TiB`."""

from __future__ import annotations

import re

import typer

_UNIT_BYTES = {"MiB": 2**20, "GiB": 2**30, "TiB": 2**40}
_SIZE = re.compile(r"([1-9][0-9]{0,9})(MiB|GiB|TiB)")


def size_bytes(text: str) -> int:
    """Raises: BadParameter: not a whole number and a unit."""
    found = _SIZE.fullmatch(text)
    if found is None:
        raise typer.BadParameter(f"`{text}` is no size: a number and MiB, GiB or TiB, like 20GiB")
    return int(found[1]) * _UNIT_BYTES[found[2]]
