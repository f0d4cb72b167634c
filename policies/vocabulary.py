"""The names a rule's `on` may use: what the catalog knows, and what was probably meant."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from policies.bundle import Atom
from policies.catalog import BOUNDARIES, EFFECTS, TOOL, TRUST, Catalog, ResourceFacts
from policies.cel_types import UNLISTED, Arguments
from policies.error import did_you_mean
from policies.globs import Glob, is_glob, may_overlap

_CLOSED_SETS = frozenset(("effect", "boundary", "trust"))
_CATALOGUED = frozenset(("tool", "resource", "resource_type", "system"))


class Vocabulary:
    """Every name that the catalog uses, by `on` key.

    Args:
        closed: whether resources outside the catalog are refused, so that a name outside it cannot match.
    """

    def __init__(self, catalog: Catalog, *, closed: bool) -> None:
        self._catalog = catalog
        self._closed = closed
        facts = list(catalog.entries.values())
        self.known: Mapping[str, frozenset[str]] = {
            "tool": frozenset(id_ for type_, id_ in catalog.entries if type_ == TOOL),
            "resource": frozenset(id_ for _, id_ in catalog.entries),
            "resource_type": frozenset(type_ for type_, _ in catalog.entries),
            "system": catalog.systems | {one.system for one in facts if one.system},
            "effect": frozenset(EFFECTS),
            "data": catalog.data_classes.union(*(one.data or () for one in facts)),
            "boundary": frozenset(BOUNDARIES),
            "jurisdiction": frozenset(one.jurisdiction for one in facts if one.jurisdiction),
            "trust": frozenset(TRUST),
        }
        self._globs = {
            key: [Glob(name) for name in names if is_glob(name)] for key, names in self.known.items()
        }
        self._arguments: dict[tuple[tuple[str, tuple[str, ...]], ...], Arguments] = {}

    def strange(self, key: str, pattern: str) -> tuple[bool, str, str] | None:
        """What is odd about one value of an `on` key: (is an error, message, hint), or None.

        Cost: a set lookup for a name; O(known names) for a glob.
        """
        known = self.known.get(key)
        if known is None:
            return None
        if is_glob(pattern):
            if any(may_overlap(pattern, name) for name in known):
                return None
            return False, f"`{pattern}` matches no {_words(key)} of the catalog", ""
        if pattern in known or any(glob.matches(pattern) for glob in self._globs[key]):
            return None
        fixed = key in _CLOSED_SETS
        declared = key == "data" and bool(self._catalog.data_classes)
        is_error = fixed or declared or (key in _CATALOGUED and self._closed)
        hint = did_you_mean(pattern, known)
        if not hint and fixed:
            hint = "one of " + ", ".join(f"`{name}`" for name in sorted(known))
        return is_error, f"unknown {_words(key)} `{pattern}`", hint

    def arguments(self, atom: Atom) -> Arguments:
        """What the resources that an atom can match say of their arguments.

        Cost: O(catalog) per distinct `on`; memoised.
        """
        found = self._arguments.get(atom.on)
        if found is None:
            found = self._arguments[atom.on] = self._find_arguments(dict(atom.on))
        return found

    def _find_arguments(self, on: Mapping[str, tuple[str, ...]]) -> Arguments:
        matching = [
            facts
            for (type_, id_), facts in self._catalog.entries.items()
            if _may_match(on, type_, id_, facts)
        ]
        reaches_beyond = not self._closed and not self._names_only_catalogued(on)
        if not matching or reaches_beyond:
            return UNLISTED
        listed: set[str] = set()
        types: dict[str, set[str]] = {}
        for facts in matching:
            if facts.arguments is None:
                return UNLISTED
            listed.update(facts.arguments)
            for name, argument in facts.arguments.items():
                types.setdefault(name, set()).add(argument.type)
        agreed = {name: next(iter(kinds)) for name, kinds in types.items() if len(kinds) == 1}
        return Arguments(frozenset(listed), agreed)

    def _names_only_catalogued(self, on: Mapping[str, tuple[str, ...]]) -> bool:
        tools = on.get("tool", ())
        return bool(tools) and all(not is_glob(name) and name in self.known["tool"] for name in tools)


def _may_match(on: Mapping[str, tuple[str, ...]], resource_type: str, id_: str, facts: ResourceFacts) -> bool:
    """Whether the resource-facing part of `on` possibly matches one catalog entry."""
    if "tool" in on and (resource_type != TOOL or not _any_overlap(on["tool"], (id_,))):
        return False
    for key, names in _known_facts(resource_type, id_, facts):
        if key in on and not _any_overlap(on[key], names):
            return False
    return True


def _known_facts(resource_type: str, id_: str, facts: ResourceFacts) -> Iterator[tuple[str, tuple[str, ...]]]:
    yield "resource", (id_,)
    yield "resource_type", (resource_type,)
    for key, names in (("effect", facts.effects), ("data", facts.data), ("action", facts.actions)):
        if names is not None:
            yield key, names
    for key, name in (
        ("system", facts.system),
        ("boundary", facts.boundary),
        ("jurisdiction", facts.jurisdiction),
        ("trust", facts.trust),
    ):
        if name is not None:
            yield key, (name,)


def _any_overlap(patterns: tuple[str, ...], names: tuple[str, ...]) -> bool:
    return any(may_overlap(pattern, name) for pattern in patterns for name in names)


def _words(key: str) -> str:
    return {"data": "data class", "resource_type": "resource type"}.get(key, key)
