"""Stage one: from an action to atom bits, in whichever process; it keeps no past and asks nobody."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from hashlib import blake2b
from typing import NamedTuple, TypeAlias

import orjson

from policies import cel
from policies.action import Action, Resource, Subject
from policies.argument_values import Readers, read_arguments, readers_of
from policies.asked.judgement import CHECKED_ROLES
from policies.bundle import Bundle
from policies.catalog import TOOL, ResourceFacts
from policies.condition_plans import ConditionPlans
from policies.effect import Effect
from policies.index import OnIndex, set_bits
from policies.measures import Measured, Measures
from policies.origin.hashing import TokenHasher
from policies.origin.units import Unit, units_of

UNCATALOGUED_RESOURCE = "uncatalogued_resource"
UNLISTED_ACTION = "unlisted_action"
UNLISTED_ARGUMENT = "unlisted_argument"
MISSING_ARGUMENT = "missing_argument"

_MEMO_LIMIT = 10_000  # ids come from callers: an unbounded memo would be theirs to fill
_OBJECTS_BYTES = 16_384
_NAME_SHOWN = 64  # of an argument that a caller named: it goes into the answer and into evidence
_UNKNOWN = ResourceFacts()
_AGENT = "agent"

Masks: TypeAlias = tuple[int, int]


class Prepared(NamedTuple):
    """What depends on this action alone.

    Args:
        possibly, certainly: bit i = atom i of the bundle; they differ where a fact is unknown or a condition
            failed. `certainly` is a subset of `possibly`.
        refusal: reason code when the action is denied whatever the rules say: "uncatalogued_resource",
            "unlisted_action", "unlisted_argument", "missing_argument".
        detail: the refusal in words.
        measures: keys and amounts that the bundle's program asks of this action.
        units: all values of its arguments, where a rule asks where they come from; None where none does.
        objects: JSON of the arguments that are destinations and targets, where a rule asks for the task; b"" where none
            does, or they are too many to send.
    """

    possibly: int
    certainly: int
    refusal: str | None = None
    detail: str = ""
    measures: tuple[Measured, ...] = ()
    units: tuple[Unit, ...] | None = None
    objects: bytes = b""


@dataclass(frozen=True, slots=True, kw_only=True)
class _KnownResource:
    """What is worked out once for each resource.

    Args:
        facts: None = the catalog does not know it.
        required: the arguments that it cannot do without.
        readers: how the arguments that conditions read become values of their types.
    """

    facts: ResourceFacts | None
    possibly: int
    certainly: int
    required: frozenset[str] = frozenset()
    readers: Readers = field(default_factory=dict)


class Preparer:
    """Prepares actions for one bundle; owns its compiled conditions and memos. One per process and bundle.

    Args:
        value_key: see `Measures`.
        hasher: of the values that `origin` asks about.
    Cost: about 80 µs per distinct condition to build.
    """

    def __init__(self, bundle: Bundle, *, value_key: bytes = b"", hasher: TokenHasher | None = None) -> None:
        self.bundle = bundle
        self._hasher = hasher or TokenHasher(blake2b(value_key).digest()[:32])
        self._index = OnIndex(bundle.atoms)
        bits_of: dict[str, int] = {}
        for number, atom in enumerate(bundle.atoms):
            if atom.when is not None and not bundle.idle >> number & 1:
                bits_of[atom.when] = bits_of.get(atom.when, 0) | 1 << number
        # Equal conditions are one entry, evaluated once per action for all of their atoms.
        conditions = [(cel.Condition(text), bits) for text, bits in bits_of.items()]
        self._conditioned = 0
        condition_of: dict[int, tuple[cel.Condition, int]] = {}
        for condition, bits in conditions:
            self._conditioned |= bits
            condition_of.update(dict.fromkeys(set_bits(bits), (condition, bits)))
        self._plans = ConditionPlans(condition_of)
        self._measures = Measures(bundle.measures, value_key=value_key)
        expressions = self._measures.expressions
        names = frozenset[str]().union(
            *(condition.names for condition, _ in conditions), *(one.names for one in expressions)
        )
        self._readers = [(name, read) for name, read in _READERS.items() if name in names]
        self._reads_arguments = "args" in names
        fields = [condition.arguments for condition, _ in conditions]
        fields += [one.arguments for one in expressions]
        # Which atoms fail when an argument is not of its type; None: whichever argument it is.
        self._atoms_reading: dict[str | None, int] = {}
        for condition, bits in conditions:
            for name in (None,) if condition.arguments is None else condition.arguments:
                self._atoms_reading[name] = self._atoms_reading.get(name, 0) | bits
        # CEL takes in the whole of `args` at each condition: what none of them reads stays outside.
        self._argument_names = (
            None if None in fields else frozenset[str]().union(*(one for one in fields if one is not None))
        )
        self._subjects: dict[tuple[str, str, str, tuple[str, ...]], Masks] = {}
        self._resources: dict[tuple[str, str], _KnownResource] = {}

    def prepare(self, action: Action) -> Prepared:
        """Match the index, check the catalog, evaluate the conditions that can matter.

        Args:
            action: already past the door: bounded, no NUL, no NaN, no lone surrogates.
        Cost: three lookups for ids seen before, then about 2 µs for what conditions read and about ½ µs for each
            distinct condition whose `on` matches (2 µs until the same ones have matched a few times); independent
            of the number of other rules, but for operations on bit sets of their number.
        """
        known = self._resource(action.resource)
        subject_possibly, subject_certainly = self._subject_masks(action.tenant, action.subject)
        named = self._index.keys["action"].of(action.name)
        possibly = known.possibly & subject_possibly & named
        certainly = known.certainly & subject_certainly & named
        refusal, detail = self._refusal(action, known)
        asked = possibly & self._conditioned
        if asked:
            possibly, certainly = self._evaluate(action, known, asked, possibly, certainly)
        units = None
        if self.bundle.looks_at_origins and refusal is None:
            arguments = known.facts.arguments if known.facts is not None else None
            units = units_of(action.arguments, arguments, self._hasher)
        objects = self._objects(action, known) if self.bundle.looks_at_task and refusal is None else b""
        if not possibly & self._measures.asked:
            return Prepared(possibly, certainly, refusal, detail, units=units, objects=objects)
        types = known.facts.arguments if known.facts is not None else None
        measures = self._measures.read(action, possibly, types, lambda: self._activation(action, known))
        return Prepared(possibly, certainly, refusal, detail, measures, units, objects)

    def _objects(self, action: Action, known: _KnownResource) -> bytes:
        types = (known.facts.arguments if known.facts is not None else None) or {}
        found = {
            name: value
            for name, value in action.arguments.items()
            if (one := types.get(name)) is None or one.role is None or one.role in CHECKED_ROLES
        }
        encoded = orjson.dumps(found)
        return encoded if len(encoded) <= _OBJECTS_BYTES else b""

    def _evaluate(
        self, action: Action, known: _KnownResource, asked: int, possibly: int, certainly: int
    ) -> Masks:
        facts, failed = self._facts(action, known)
        certainly &= ~failed
        asked &= ~failed
        if not asked:
            return possibly, certainly
        return self._plans.of(asked).evaluate(facts, possibly, certainly)

    def _activation(self, action: Action, known: _KnownResource) -> cel.Activation:
        """What key expressions read; None where CEL cannot hold it."""
        try:
            return cel.activation(self._facts(action, known)[0])
        except Exception:  # a value that CEL cannot hold: whatever reads it has failed
            return None

    def _facts(self, action: Action, known: _KnownResource) -> tuple[dict[str, object], int]:
        """What conditions read of this action, and the bit set of the atoms whose condition fails unread."""
        values: dict[str, object] = {}
        facts = known.facts or _UNKNOWN
        failed = 0
        for name, read in self._readers:
            value = read(action, facts)
            if value is not None:  # an unknown fact is left out: whatever reads it fails
                values[name] = value
        if self._reads_arguments:
            values["args"], mistyped = read_arguments(action.arguments, self._argument_names, known.readers)
            if mistyped:
                failed = self._atoms_reading.get(None, 0)
                for argument in mistyped:
                    failed |= self._atoms_reading.get(argument, 0)
        return values, failed

    def _refusal(self, action: Action, known: _KnownResource) -> tuple[str | None, str]:
        resource, facts = action.resource, known.facts
        if facts is None:
            if self.bundle.uncatalogued is Effect.ALLOW:
                return None, ""
            return UNCATALOGUED_RESOURCE, f"the catalog does not know {resource.type} `{resource.id}`"
        if facts.actions is not None and action.name not in facts.actions:
            return (
                UNLISTED_ACTION,
                f"{resource.type} `{resource.id}` does not list the action `{action.name}`",
            )
        if facts.arguments is not None and not action.arguments.keys() <= facts.arguments.keys():
            unlisted = min(action.arguments.keys() - facts.arguments.keys())
            return (
                UNLISTED_ARGUMENT,
                f"{resource.type} `{resource.id}` does not list the argument `{unlisted[:_NAME_SHOWN]}`",
            )
        if known.required and not action.arguments.keys() >= known.required:
            missing = min(known.required - action.arguments.keys())
            return (
                MISSING_ARGUMENT,
                f"{resource.type} `{resource.id}` requires the argument `{missing}`; "
                "arguments belong in `context.arguments`",
            )
        return None, ""

    def _subject_masks(self, tenant: str, subject: Subject) -> Masks:
        key = (tenant, subject.type, subject.id, subject.labels)
        found = self._subjects.get(key)
        if found is None:
            bits = subject_bits(self._index, tenant, subject)
            found = (bits, bits)
            if len(self._subjects) >= _MEMO_LIMIT:
                self._subjects.clear()
            self._subjects[key] = found
        return found

    def _resource(self, resource: Resource) -> _KnownResource:
        key = (resource.type, resource.id)
        found = self._resources.get(key)
        if found is None:
            facts = self.bundle.catalog.facts(*key)
            possibly, certainly = resource_masks(self._index, *key, facts or _UNKNOWN)
            possibly, certainly = possibly & ~self.bundle.idle, certainly & ~self.bundle.idle
            arguments = facts.arguments if facts is not None else None
            found = _KnownResource(
                facts=facts,
                possibly=possibly,
                certainly=certainly,
                required=frozenset(name for name, one in (arguments or {}).items() if one.required),
                readers=readers_of(arguments, self._argument_names),
            )
            if len(self._resources) >= _MEMO_LIMIT:
                self._resources.clear()
            self._resources[key] = found
        return found


def subject_bits(index: OnIndex, tenant: str, subject: Subject) -> int:
    """Bit set of the atoms whose keys about the subject match; nothing about it is unknown."""
    return _named_bits(index, tenant, subject) & index.keys["agent_label"].of_any(subject.labels)


def unlabelled_masks(index: OnIndex, tenant: str, subject: Subject) -> Masks:
    """(possibly, certainly) over the same keys, where nobody knows which labels the subject has."""
    named = _named_bits(index, tenant, subject)
    return named, named & index.keys["agent_label"].open


def _named_bits(index: OnIndex, tenant: str, subject: Subject) -> int:
    keys = index.keys
    # A user may bear an agent's name: `agent` speaks of agents alone.
    agents = (subject.id,) if subject.type == _AGENT else ()
    return keys["tenant"].of(tenant) & keys["agent"].of_any(agents) & keys["subject_type"].of(subject.type)


def resource_masks(index: OnIndex, resource_type: str, resource_id: str, facts: ResourceFacts) -> Masks:
    """(possibly, certainly) over all keys that speak of the resource."""
    possibly = certainly = index.all
    for key, value in (
        ("tool", resource_id if resource_type == TOOL else ()),
        ("resource", resource_id),
        ("resource_type", resource_type),
        ("system", facts.system),
        ("effect", facts.effects),
        ("data", facts.data),
        ("boundary", facts.boundary),
        ("jurisdiction", facts.jurisdiction),
        ("trust", facts.trust),
    ):
        may, must = index.masks(key, value)
        possibly &= may
        certainly &= must
    return possibly, certainly


def _names(values: tuple[str, ...] | None) -> list[str] | None:
    return None if values is None else list(values)


def _json_object(value: Mapping[str, object]) -> object:
    return cel.as_doubles(dict(value))


_READERS: dict[str, Callable[[Action, ResourceFacts], object]] = {
    "subject.id": lambda action, facts: action.subject.id,
    "subject.type": lambda action, facts: action.subject.type,
    "subject.labels": lambda action, facts: list(action.subject.labels),
    "subject.roles": lambda action, facts: list(action.subject.roles),
    "subject.groups": lambda action, facts: list(action.subject.groups),
    "subject.owner": lambda action, facts: action.subject.owner,
    "subject.attributes": lambda action, facts: _json_object(action.subject.attributes),
    "action.name": lambda action, facts: action.name,
    "resource.id": lambda action, facts: action.resource.id,
    "resource.type": lambda action, facts: action.resource.type,
    "resource.system": lambda action, facts: facts.system,
    "resource.effects": lambda action, facts: _names(facts.effects),
    "resource.data": lambda action, facts: _names(facts.data),
    "resource.boundary": lambda action, facts: facts.boundary,
    "resource.jurisdiction": lambda action, facts: facts.jurisdiction,
    "resource.properties": lambda action, facts: _json_object(action.resource.properties),
    "context": lambda action, facts: _json_object(action.context),
    "now": lambda action, facts: cel.timestamp(action.now_us),
}
