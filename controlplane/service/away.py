"""Owners that went away with their nodes: known to a replica before it asks them.

Ray fails a call to such an owner, too, but takes two seconds for each; and whoever asks meanwhile waits for that.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Collection

from actors.placement import host_name
from controlplane.service.actor_calls import note_away
from controlplane.service.fleet import Fleet
from controlplane.service.nodes import present_nodes
from controlplane.service.owners import Owners

log = logging.getLogger(__name__)

_LOOK_S = 1.0


def owners_away(owners: Owners, fleet: Fleet, present: Collection[str]) -> dict[str, str]:
    """Names of the owners whose nodes are not among those present, and their nodes. Cost: O(owners)."""
    lost = {place.node for place in owners.places} - set(present)
    if not lost:
        return {}
    ordinals = {host_name(index): index for index in range(owners.hosts)}
    ordinals |= {entry["name"]: entry["ordinal"] for entry in fleet.directory.all("dedicated").values()}
    nodes = {name: owners.place_of(ordinal).node for name, ordinal in ordinals.items()}
    return {name: node for name, node in nodes.items() if node in lost}


async def watch_nodes(owners: Owners, fleet: Fleet) -> None:
    """Look once a second which nodes are there, for as long as the replica lives; not at all if there is only one."""
    known: dict[str, str] = {}
    while len(owners.places) > 1:
        try:
            # In a thread: Ray's answer must not hold up decisions.
            away = owners_away(owners, fleet, await asyncio.to_thread(present_nodes))
        except Exception:
            log.exception("which nodes are there is not known; it is looked up again")
        else:
            if away.keys() != known.keys():
                log.warning("owners away with their nodes: %s", ", ".join(sorted(away)) or "none")
            known = away
            note_away(away)
        await asyncio.sleep(_LOOK_S)
