"""How long something is good, as people write it: `30m`, `12h`, `90d`."""

from __future__ import annotations

import typer

_UNIT_S = {"s": 1, "m": 60, "h": 3600, "d": 86_400}


def seconds(text: str) -> int:
    """Raises: BadParameter: not a whole number and a unit."""
    number, unit_s = text[:-1], _UNIT_S.get(text[-1:])
    if unit_s is None or not (number.isascii() and number.isdigit()) or int(number) == 0:
        raise typer.BadParameter(f"`{text}` is no duration: a number and s, m, h or d, like 90d")
    return int(number) * unit_s
