"""Where atoms can hold, and which can hold together: decided for each resource of the catalog.

What depends on who acts, and on conditions, can be either way; it is taken as free wherever it is not certain.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import NamedTuple, TypeAlias

from policies import cel
from policies.bundle import Atom, Bundle
from policies.catalog import TOOL, Catalog, ResourceFacts
from policies.effect import Effect
from policies.glob_sets import glob_set
from policies.globs import is_glob, may_overlap
from policies.index import SUBJECT_KEYS

MOST_VARIABLES = 12
"""Of what one question may leave open: 4 096 ways."""

Clause: TypeAlias = tuple[str, tuple[str, ...]]
"""One key of an `on` and its patterns; ("when", (text,)) stands for a condition."""

_ELSEWHERE = "a resource outside the catalog"
_AGENT = "agent"


class Fit(Enum):
    """Whether a resource meets a clause."""

    NO = "no"
    YES = "yes"
    SOME = "some"  # some of the names that an entry stands for
    OPEN = "open"  # the catalog does not say: possibly, and not certainly


@dataclass(frozen=True, slots=True)
class Place:
    """An entry of the catalog, or all that is outside of it (`facts` None)."""

    type: str
    id: str
    facts: ResourceFacts | None

    def __str__(self) -> str:
        if self.facts is None:
            return _ELSEWHERE
        return self.id if self.type == TOOL else f"{self.type} {self.id}"


class Letter(NamedTuple):
    """What one action can look like to some atoms.

    Args:
        bits: bit i = the i-th of the atoms asked about holds.
        unsure: those of them that could also be unknown: by a fact that is open, or a condition that fails.
        lasting: whether such an action can be permitted, so that it stands in a history.
        place: a resource on which it can happen.
    """

    bits: int
    unsure: int
    lasting: bool
    place: str


class Reach:
    """What a bundle's atoms can be on each resource. Cost to make: entries times rules, at the worst."""

    def __init__(self, bundle: Bundle) -> None:
        self._bundle = bundle
        self._catalog = bundle.catalog
        self.places = [Place(*key, facts) for key, facts in bundle.catalog.entries.items()]
        if bundle.uncatalogued is Effect.ALLOW:
            self.places.append(Place("", "", None))
        self._fits: dict[tuple[Clause, int], Fit] = {}
        self._constant: dict[str, bool | None] = {}
        self._permits = [self._can_permit(number) for number in range(len(self.places))]

    def fits(self, atom: Atom, place: int) -> list[Fit]:
        """How each clause about the resource fits."""
        return [self.fit(clause, place) for clause in atom.on if clause[0] not in SUBJECT_KEYS]

    def may_hold(self, atom: Atom, place: int, *, certainly: bool = False) -> bool:
        """Whether an action on a resource can have the atom (`certainly`: with every fact known)."""
        if _contradicts_itself(atom) or (atom.when is not None and self.constant(atom.when) is False):
            return False
        fits = self.fits(atom, place)
        return Fit.NO not in fits and not (certainly and Fit.OPEN in fits)

    def where(self, atom: Atom, *, certainly: bool = False) -> list[int]:
        """The places on which the atom can hold."""
        return [place for place in range(len(self.places)) if self.may_hold(atom, place, certainly=certainly)]

    def permits(self, place: int) -> bool:
        """Whether anything on this resource can ever be permitted, by what plain rules say of it."""
        return self._permits[place]

    def constant(self, when: str) -> bool | None:
        """What a condition that reads nothing always is; None for all others."""
        if when not in self._constant:
            condition = cel.Condition(when)
            self._constant[when] = None if condition.names else condition.holds(cel.activation({}))
        return self._constant[when]

    def letters(self, atoms: Sequence[Atom]) -> tuple[Letter, ...] | None:
        """Every way in which some atoms can hold together; None when too much is open to go through it all.

        Cost: O(places) and, for each kind of place, two to the power of what is open.
        """
        clauses = list(dict.fromkeys(itertools.chain.from_iterable(map(_clauses, atoms))))
        needed = [frozenset(clauses.index(clause) for clause in _clauses(atom)) for atom in atoms]
        kinds: dict[tuple[tuple[Fit, ...], tuple[str, ...] | None, bool], int] = {}
        for place, about in enumerate(self.places):
            fits = tuple(self._domain(clause, place) for clause in clauses)
            actions = about.facts.actions if about.facts is not None else None
            kinds.setdefault((fits, actions, self._permits[place]), place)
        found: dict[tuple[int, int], Letter] = {}
        for (fits, actions, lasting), place in kinds.items():
            ways = _ways(clauses, fits, actions)
            if ways is None:
                return None
            open_ = frozenset(n for n, fit in enumerate(fits) if fit is Fit.OPEN)
            for way in ways:
                bits = sum(1 << number for number, need in enumerate(needed) if need <= way)
                unsure = sum(
                    1 << number
                    for number, need in enumerate(needed)
                    if bits >> number & 1 and (need & open_ or self._can_fail(atoms[number]))
                )
                known = found.get((bits, unsure))
                if known is None or (lasting and not known.lasting):
                    found[bits, unsure] = Letter(bits, unsure, lasting, str(self.places[place]))
        return tuple(found.values())

    def _can_fail(self, atom: Atom) -> bool:
        return atom.when is not None and self.constant(atom.when) is None

    def _domain(self, clause: Clause, place: int) -> Fit:
        """A clause about something else than the resource can be either way."""
        key, values = clause
        if key == "when":
            constant = self.constant(values[0])
            return Fit.SOME if constant is None else Fit.YES if constant else Fit.NO
        return Fit.SOME if key in SUBJECT_KEYS or key == "action" else self.fit(clause, place)

    def fit(self, clause: Clause, place: int) -> Fit:
        """How one clause about the resource fits."""
        found = self._fits.get((clause, place))
        if found is None:
            found = self._fits[clause, place] = _fit(clause, self.places[place], self._catalog)
        return found

    def _can_permit(self, place: int) -> bool:
        granted = self._bundle.default is Effect.ALLOW
        for rule in self._bundle.rules:
            if rule.monitored:
                continue
            atom = self._bundle.atoms[rule.atom]
            if rule.effect is Effect.ALLOW:
                granted = granted or self.may_hold(atom, place, certainly=True)
                continue
            if rule.effect is Effect.DENY and rule.on_atom_alone and self.always_holds(atom, place):
                return False
        return granted

    def always_holds(self, atom: Atom, place: int) -> bool:
        """Whether every action on a resource possibly has the atom, whoever acts."""
        if any(key in SUBJECT_KEYS for key, _ in atom.on):
            return False
        if atom.when is not None and self.constant(atom.when) is not True:
            return False
        return all(fit in (Fit.YES, Fit.OPEN) for fit in self.fits(atom, place))


def _clauses(atom: Atom) -> Iterator[Clause]:
    yield from atom.on
    if atom.when is not None:
        yield "when", (atom.when,)


def _contradicts_itself(atom: Atom) -> bool:
    """`agent` speaks of subjects of the type `agent` alone."""
    on = dict(atom.on)
    types = on.get("subject_type")
    return "agent" in on and types is not None and not glob_set(types).matches(_AGENT)


def _fit(clause: Clause, place: Place, catalog: Catalog) -> Fit:
    key, patterns = clause
    facts = place.facts
    if facts is None:
        return Fit.SOME if key in ("tool", "resource", "resource_type", "action") else Fit.OPEN
    match key:
        case "tool":
            return _named(patterns, place, catalog) if place.type == TOOL else Fit.NO
        case "resource":
            return _named(patterns, place, catalog)
        case "resource_type":
            return _yes(glob_set(patterns).matches(place.type))
        case "action":
            if facts.actions is None:
                return Fit.SOME
            fitting = [one for one in facts.actions if glob_set(patterns).matches(one)]
            return _all_or_some(len(fitting), len(facts.actions))
    known: str | tuple[str, ...] | None = getattr(facts, {"effect": "effects"}.get(key, key))
    if known is None:
        return Fit.OPEN
    names = (known,) if isinstance(known, str) else known
    return _yes(any(glob_set(patterns).matches(name) for name in names))


def _named(patterns: tuple[str, ...], place: Place, catalog: Catalog) -> Fit:
    if not is_glob(place.id):
        return _yes(glob_set(patterns).matches(place.id))
    if glob_set(patterns).contains(place.id):
        return Fit.YES
    # What has an entry of its own is not one of those that a glob stands for.
    left = [one for one in patterns if is_glob(one) or (place.type, one) not in catalog.entries]
    return Fit.SOME if any(may_overlap(one, place.id) for one in left) else Fit.NO


def _yes(holds: bool) -> Fit:
    return Fit.YES if holds else Fit.NO


def _all_or_some(fitting: int, of: int) -> Fit:
    return Fit.NO if not fitting else Fit.YES if fitting == of else Fit.SOME


def _ways(
    clauses: Sequence[Clause], fits: Sequence[Fit], actions: tuple[str, ...] | None
) -> Iterable[frozenset[int]] | None:
    """Every set of clauses that can hold at once; None when there are too many."""
    certain = frozenset(n for n, fit in enumerate(fits) if fit is Fit.YES)
    free = [n for n, fit in enumerate(fits) if fit in (Fit.SOME, Fit.OPEN)]
    if len(free) > MOST_VARIABLES:
        return None
    groups: dict[str, list[int]] = {}
    parts: list[list[frozenset[int]]] = []
    for number in free:
        key = clauses[number][0]
        if key in ("tenant", "agent", "subject_type", "action"):
            groups.setdefault(key, []).append(number)
        else:
            parts.append([frozenset(), frozenset((number,))])
    for key, numbers in groups.items():
        values = actions if key == "action" else None
        parts.append(_of_one_value({number: clauses[number][1] for number in numbers}, values))
    ways = {certain.union(*chosen) for chosen in itertools.product(*parts)}
    return [way for way in ways if _of_agents(clauses, fits, way)]


def _of_one_value(
    patterns_of: Mapping[int, tuple[str, ...]], values: tuple[str, ...] | None
) -> list[frozenset[int]]:
    """Which clauses hold together of a fact that has one value: one of `values`, or any at all."""
    named = {one for patterns in patterns_of.values() for one in patterns if not is_glob(one)}
    ways = {
        frozenset(number for number, patterns in patterns_of.items() if glob_set(patterns).matches(value))
        for value in (values if values is not None else named)
    }
    if values is None:
        # A value that nobody named fits no name; which globs it fits is not worked out.
        globbed = [number for number, patterns in patterns_of.items() if any(map(is_glob, patterns))]
        for size in range(len(globbed) + 1):
            ways.update(map(frozenset, itertools.combinations(globbed, size)))
    return list(ways)


def _of_agents(clauses: Sequence[Clause], fits: Sequence[Fit], way: frozenset[int]) -> bool:
    """Whether who acts can be one subject: where `agent` holds, its type is `agent`."""
    if not any(clauses[number][0] == "agent" for number in way):
        return True
    return all(
        (number in way) == glob_set(patterns).matches(_AGENT)
        for number, (key, patterns) in enumerate(clauses)
        if key == "subject_type"
    )
