"""What the results of a resource are worth, as its catalog entry says or leaves open."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final, NamedTuple

from policies.catalog import ResourceFacts
from policies.origin.facts import Fact
from policies.origin.origins import Origins
from policies.origin.units import Unit

_UNTRUSTED: Final = "untrusted"
_LOOKED_UP_BY: Final = frozenset(("destination", "target", "query"))


class ResultTrust(NamedTuple):
    """What a result is worth.

    Attributes:
        returns: trust by JSON pointer.
        default: of the rest.
        awaited: whether strangers may speak in it, so that nobody can say where a value comes from before it is told.
    """

    returns: Mapping[str, str]
    default: str
    awaited: bool


def result_trust(facts: ResourceFacts | None) -> ResultTrust:
    """What is left open is untrusted; where a resource only acts, nobody waits for what it says."""
    if facts is None:
        return ResultTrust({}, _UNTRUSTED, awaited=True)
    if facts.returns:
        return ResultTrust(
            facts.returns, facts.returns.get("default", _UNTRUSTED), awaited=facts.trust != "trusted"
        )
    return ResultTrust({}, _UNTRUSTED, awaited=facts.effects is None or "read" in facts.effects)


def looked_up_by(origins: Origins, units: Iterable[Unit]) -> Fact:
    """The worst fact of the arguments that choose what an action returns; kept with its decision until it is told."""
    return origins.asked_by(unit for unit in units if unit.role in _LOOKED_UP_BY)
