"""The nodes that keep journals: which are in the cluster now, and whose disk is whose."""

from __future__ import annotations

import logging
import os
import time
from pathlib import Path
from typing import Any

import ray

from actors.journal_folder import Place, claim
from actors.placement import journals_resource
from controlplane.errors import UnavailableError
from controlplane.settings import Settings, create_private

log = logging.getLogger(__name__)

# Machines are set up one after the other, which takes minutes.
_ALL_NODES_TIMEOUT_S = 600.0
_CLAIM_TIMEOUT_S = 60.0
_PREFIX = journals_resource("")


def present_nodes() -> frozenset[str]:
    """The names of the nodes with journals that live in the cluster now. Blocks: one call to Ray's control service."""
    return frozenset(
        resource.removeprefix(_PREFIX)
        for node in ray.nodes()
        if node["Alive"]
        for resource in node["Resources"]
        if resource.startswith(_PREFIX)
    )


def places_of(settings: Settings) -> tuple[Place, ...]:
    """Every node's place, as the head remembers it. Raises: UnavailableError: one was never claimed."""
    places = []
    for node in settings.nodes:
        try:
            places.append(Place(node, (settings.node_marks / node).read_text(encoding="utf-8").strip()))
        except FileNotFoundError:
            raise _missing(node) from None
    return tuple(places)


def unclaimed(settings: Settings) -> tuple[str, ...]:
    """The nodes whose folders of journals have not been made yet; all must be there once, at the first start."""
    return tuple(node for node in settings.nodes if not (settings.node_marks / node).exists())


def claim_places(settings: Settings) -> None:
    """Make and mark the folder of journals on each node where that has never been done. Runs on the head.

    What is marked once is never marked again: a node that comes back with an empty disk is refused by its owners.

    Raises: UnavailableError: a node that is needed for the first time is not in the cluster, for ten minutes.
    """
    settings.node_marks.mkdir(mode=0o700, exist_ok=True)
    _wait_for(unclaimed(settings))
    for node in unclaimed(settings):
        if node == settings.nodes[0]:
            mark = claim(settings.journals, node, random=os.urandom(8))
        else:
            mark = _claim_there(settings, node)
        create_private(settings.node_marks / node, mark + "\n")


def _wait_for(nodes: tuple[str, ...]) -> None:
    deadline_s = time.monotonic() + _ALL_NODES_TIMEOUT_S
    told: list[str] = []
    while missing := sorted(set(nodes) - present_nodes()):
        if time.monotonic() > deadline_s:
            raise _missing(missing[0])
        if missing != told:
            log.warning("waiting for nodes that have never been in the cluster: %s", ", ".join(missing))
            told = missing
        time.sleep(0.5)


def _missing(node: str) -> UnavailableError:
    return UnavailableError(
        f"the node `{node}` has never been in the cluster: its folder of journals is made when it first is; "
        f"start Ray there with the resource `{journals_resource(node)}`",
        code="node_missing",
    )


def _claim_there(settings: Settings, node: str) -> str:
    def make(folder: str, name: str) -> str:
        return claim(Path(folder), name, random=os.urandom(8))

    task: Any = ray.remote(make).options(
        num_cpus=0, resources={journals_resource(node): 0.0001}, max_retries=0
    )
    try:
        return str(ray.get(task.remote(str(settings.journals), node), timeout=_CLAIM_TIMEOUT_S))
    except ray.exceptions.RayError as error:
        raise UnavailableError(
            f"the folder of journals on the node `{node}` could not be made: {error}", code="node_unreachable"
        ) from None
