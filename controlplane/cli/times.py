"""Moments as people write them: how long ago (`24h`), or RFC 3339."""

from __future__ import annotations

import datetime

import typer

from controlplane.cli.durations import seconds

_EPOCH = datetime.datetime(1970, 1, 1, tzinfo=datetime.UTC)
_MICROSECOND = datetime.timedelta(microseconds=1)


def moment_us(text: str, *, now_us: int) -> int:
    """Microseconds since the epoch. Raises: BadParameter."""
    if text[-1:] in ("s", "m", "h", "d"):
        return now_us - seconds(text) * 1_000_000
    try:
        moment = datetime.datetime.fromisoformat(text)
    except ValueError:
        moment = None
    if moment is None or moment.tzinfo is None:
        raise typer.BadParameter(
            f"`{text}` is neither a duration such as `24h` nor an RFC 3339 time with an offset"
        )
    return (moment - _EPOCH) // _MICROSECOND


def shown(us: int) -> str:
    """A moment in RFC 3339, in whole seconds of UTC."""
    moment = _EPOCH + datetime.timedelta(microseconds=us)
    return moment.isoformat(timespec="seconds").replace("+00:00", "Z")
