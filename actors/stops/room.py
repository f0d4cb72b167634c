"""How many stops may be live: bounded, and so that nobody's stops keep anybody else's out."""

from __future__ import annotations

from typing import Final, NamedTuple

from actors.stops.live import GLOBBED, LiveStops, Stop
from controlplane.errors import OverloadedError

MAX_OPERATORS_STOPS: Final = 5_000
"""Live ones of a tenant that operators have set, of agents, tools, systems and workflows."""
MAX_WIDE_STOPS: Final = 200
"""The same of owners' agents and of the fleet, counted apart: however much is stopped, everything can be."""
MAX_AUTOMATIC_STOPS: Final = 5_000
"""Live ones of a tenant that rules and findings have brought about, of agents, and as many of workflows: whatever
agents do, an operator can stop them; and however many workflows one of them begins, it can itself be stopped. One that
finds no room is enforced by the owner that made it alone."""
MAX_GLOBS: Final = 100
"""Live ones of a tenant that are named by a glob: each action is compared with each."""


class Room(NamedTuple):
    """What a stop takes room of."""

    tenant: str
    kind: str


def room_of(stop: Stop) -> Room:
    if stop.automatic:
        kind = "automatic, of a workflow" if stop.target_type == "workflow" else "automatic"
    else:
        kind = "wide" if stop.target_type in ("owner", "fleet") else "named"
    return Room(stop.tenant, kind)


def refuse_too_many(live: LiveStops, stop: Stop, now_us: int) -> None:
    """Raises: OverloadedError. Cost: a comparison while there are few; else all that are live are looked at."""
    room = room_of(stop)
    most = MAX_AUTOMATIC_STOPS if stop.automatic else MAX_OPERATORS_STOPS
    most = MAX_WIDE_STOPS if room.kind == "wide" else most
    # One that has run out takes no room, though no sweep has said so yet.
    if len(live) >= most and sum(room_of(one) == room and one.live(now_us) for one in live) >= most:
        instead = ", or stop an owner's agents or the fleet instead" if room.kind == "named" else ""
        raise OverloadedError(f"{most} such stops are live; release some{instead}", code="too_many_stops")
    glob = stop.target_type in GLOBBED and "*" in stop.target_id
    if glob and live.globs(stop.tenant, now_us) >= MAX_GLOBS:
        raise OverloadedError(
            f"{MAX_GLOBS} live stops are named by a glob, and each action is compared with each; release some",
            code="too_many_stops",
        )
