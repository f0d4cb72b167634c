"""What is certain about an action whose arguments are hidden: bounds on the atoms of a bundle.

An atom that hidden things could make true or false is *open*. It is told to rules in two ways. As the *strict* bound
(possibly, and not certainly, true) it makes a restricting rule match wherever it might, and an allowing one only where
it must. As the *lenient* bound (certainly, and not possibly, true: no real action has that) it does the opposite, also
below negations. What both bounds say alike is so, whatever is hidden.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple, TypeAlias

from policies import cel
from policies.action import Action, Json, Resource
from policies.bundle import Atom, Bundle
from policies.catalog import ArgumentType, ResourceFacts
from policies.index import OnIndex
from policies.past.slices import Event
from policies.prepare import (
    MISSING_ARGUMENT,
    UNLISTED_ARGUMENT,
    Preparer,
    resource_masks,
    subject_bits,
)
from policies.quantities import PathError, parse_path
from policies.replay.recorded import Hidden, RecordedAction, Seen

_UNKNOWN_FACTS = ResourceFacts()
_TEXTS = frozenset(("string", "iban", "email", "url", "date", "datetime"))
_NUMBERS = frozenset(("decimal", "integer", "number"))
# A value of each kind, for where any of that kind is of the wrong type.
_STAND_INS: Mapping[Hidden, Json] = {
    Hidden.STRING: "",
    Hidden.NUMBER: 0,
    Hidden.BOOLEAN: False,
    Hidden.LIST: [],
    Hidden.OBJECT: {},
}

AtomTruth: TypeAlias = tuple[bool | None, bool | None]
"""(possibly, certainly) as another bundle found it; None = not told."""


class Bounds(NamedTuple):
    """An action as the strict and the lenient bound see it.

    Args:
        refusal: why it is denied whatever the rules say; may_refuse: whether hidden arguments could be a reason.
        open: bit set of the atoms that are not certain.
    """

    strict: Event
    lenient: Event
    refusal: str | None
    may_refuse: bool
    open: int


@dataclass(frozen=True, slots=True)
class _Reads:
    """What an expression reads; `fields` of `args`, None = any."""

    bits: int
    names: frozenset[str]
    fields: frozenset[str] | None

    def hidden(self, unknown: frozenset[str], hidden: frozenset[str], complete: bool) -> bool:
        if self.names & unknown:
            return True
        if "args" not in self.names:
            return False
        return not complete or (bool(hidden) if self.fields is None else bool(self.fields & hidden))


class Knowledge:
    """What a bundle's atoms can be for recorded actions. One a bundle. Cost: a `Preparer`, and the conditions again."""

    def __init__(self, bundle: Bundle) -> None:
        self._bundle = bundle
        self._preparer = Preparer(bundle)
        self._index = OnIndex(bundle.atoms)
        bits_of: dict[str, int] = {}
        self._labelled = 0
        for number, atom in enumerate(bundle.atoms):
            if atom.when is not None:
                bits_of[atom.when] = bits_of.get(atom.when, 0) | 1 << number
            if any(key == "agent_label" for key, _ in atom.on):
                self._labelled |= 1 << number
        self._conditions = [_condition_reads(text, bits) for text, bits in bits_of.items()]
        self._measures = [_measure_reads(one.text) for one in bundle.measures]
        self.number_of: Mapping[Atom, int] = {atom: number for number, atom in enumerate(bundle.atoms)}

    def hides_measure(self, number: int) -> bool:
        """Whether a measure reads anything that records hide."""
        names = self._measures[number].names
        return bool(names - {"action.name", "resource.id", "resource.type", "subject.id", "subject.type"})

    def hides_atoms(self, bits: int) -> bool:
        """Whether some atoms of a set can be open."""
        if bits & self._labelled:
            return True
        hiding = {"args", "context", "resource.properties", "subject.attributes", "subject.labels"}
        hiding |= {"subject.roles", "subject.groups", "subject.owner"}
        return any(one.bits & bits and one.names & hiding for one in self._conditions)

    def bounds(self, action: RecordedAction, told: Mapping[int, AtomTruth] | None = None) -> Bounds:
        """What is certain of an action.

        Args:
            told: atoms of which the bundle that decided has told: number → truth.
        Cost: that of preparing it.
        """
        facts = self._bundle.catalog.facts(action.resource_type, action.resource_id)
        arguments, hidden = _stand_ins(action.arguments, facts.arguments if facts is not None else None)
        prepared = self._preparer.prepare(
            Action(
                tenant=action.tenant,
                subject=action.subject,
                name=action.action,
                resource=Resource(type=action.resource_type, id=action.resource_id),
                arguments=arguments,
                now_us=action.asked_us,
            )
        )
        possible, certain = self._by_on(action, facts or _UNKNOWN_FACTS)
        unsure = self._labelled if "subject.labels" in action.unknown else 0
        for reads in self._conditions:
            if reads.hidden(action.unknown, hidden, action.complete):
                unsure |= reads.bits
        open_ = possible & unsure
        sure_p, sure_c = prepared.possibly & ~open_, prepared.certainly & ~open_
        strict_p, strict_c = sure_p | open_, sure_c
        lenient_p, lenient_c = sure_p, sure_c | (open_ & certain)
        for number, (possibly, certainly) in (told or {}).items():
            bit = 1 << number
            if not open_ & bit:
                continue
            if possibly is not None:
                lenient_p = lenient_p | bit if possibly else lenient_p
                if not possibly:
                    strict_p, lenient_c = strict_p & ~bit, lenient_c & ~bit
            if certainly is not None:
                if certainly:
                    strict_c, lenient_p = strict_c | bit, lenient_p | bit
                else:
                    lenient_c &= ~bit
            if certainly or possibly is False or (possibly and certainly is False):
                open_ &= ~bit
        measures: dict[int, bytes | int | None] = {
            number: None if self._measures[number].hidden(action.unknown, hidden, action.complete) else value
            for number, value in prepared.measures
        }
        listed = facts is not None and facts.arguments is not None
        about_arguments = prepared.refusal in (None, MISSING_ARGUMENT, UNLISTED_ARGUMENT)
        may_refuse = listed and not action.complete and about_arguments
        return Bounds(
            strict=Event(action.time_us, strict_p, strict_c, measures),
            lenient=Event(action.time_us, lenient_p, lenient_c, measures),
            refusal=None if may_refuse else prepared.refusal,
            may_refuse=may_refuse,
            open=open_,
        )

    def _by_on(self, action: RecordedAction, facts: ResourceFacts) -> tuple[int, int]:
        """Which atoms' `on` possibly and certainly matches, whatever labels are unknown."""
        possibly, certainly = resource_masks(self._index, action.resource_type, action.resource_id, facts)
        named = self._index.keys["action"].of(action.action)
        bits = named & subject_bits(self._index, action.tenant, action.subject)
        if "subject.labels" in action.unknown:
            bits |= named & self._labelled
        return possibly & bits, certainly & bits


def _stand_ins(
    arguments: Mapping[str, Seen], types: Mapping[str, ArgumentType] | None
) -> tuple[dict[str, Json], frozenset[str]]:
    """(arguments to prepare with, the names of those whose value is not known)."""
    known: dict[str, Json] = {}
    hidden: set[str] = set()
    for name, value in arguments.items():
        if not isinstance(value, Hidden):
            known[name] = value
            continue
        type_ = types[name].type if types is not None and name in types else "any"
        if _mistyped(value, type_):
            known[name] = _STAND_INS[value]  # whatever it was, it was not of its type
        else:
            known[name] = None
            hidden.add(name)
    return known, frozenset(hidden)


def _mistyped(kind: Hidden, type_: str) -> bool:
    """Whether no value of a kind is one of a type. Text may be a number."""
    if type_ in _TEXTS:
        return kind is not Hidden.STRING
    if type_ in _NUMBERS:
        return kind not in (Hidden.NUMBER, Hidden.STRING)
    expected = {"boolean": Hidden.BOOLEAN, "list": Hidden.LIST, "object": Hidden.OBJECT}.get(type_)
    return expected is not None and kind is not expected


def _condition_reads(text: str, bits: int) -> _Reads:
    condition = cel.Condition(text)
    return _Reads(bits, condition.names, condition.arguments)


def _measure_reads(text: str) -> _Reads:
    try:
        return _Reads(0, frozenset(("args",)), frozenset(parse_path(text)[:1]))
    except PathError:
        expression = cel.KeyExpression(text)
        return _Reads(0, expression.names, expression.arguments)
