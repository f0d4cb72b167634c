"""What was evaluated: rules over numbered atoms, immutable, named by its digest.

Two bundles with the same digest number their atoms alike: that is what lets a replica prepare an action and
another process decide it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

from policies.approval_terms import ApprovalTerms
from policies.catalog import Catalog
from policies.effect import Effect
from policies.error import PolicyError, Source
from policies.keeping import ClearValues
from policies.modification.operations import Operation
from policies.past.program import NOTHING, Program
from policies.stops import StopClause


@dataclass(frozen=True, slots=True, kw_only=True)
class Atom:
    """A fact about one action alone: all of `on` match and `when` holds.

    Args:
        on: (key, values) pairs, sorted by key; the values are sorted names or globs, any of which matches.
        when: the CEL condition's text, or None.
    """

    on: tuple[tuple[str, tuple[str, ...]], ...]
    when: str | None


class Measure(NamedTuple):
    """Something that the past asks of an action whose atom holds: a key, or an amount.

    Args:
        atom: number of the atom.
        text: a CEL expression; of an amount, the path of an argument.
    """

    atom: int
    kind: Literal["key", "amount"]
    text: str


class OriginClause(NamedTuple):
    """Which values of an action a rule looks at, and what must be known of where they come from.

    Args:
        facts: any of them; see `policies.origin.Fact`.
        roles: of the arguments that are looked at, any of them; or
        pointers: where those stand, as JSON pointers; what is below them belongs to them.
    """

    facts: frozenset[str]
    roles: frozenset[str] = frozenset()
    pointers: tuple[str, ...] = ()

    def speaks_of(self, pointer: str, role: str, *, below: bool = False) -> bool:
        """Whether the value at `pointer`, of an argument with this role, is one that the rule looks at.

        Args: below: whether what stands below it is meant as well.
        """
        if role in self.roles:
            return True
        return any(
            pointer == own or pointer.startswith(own + "/") or (below and own.startswith(pointer + "/"))
            for own in self.pointers
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """One rule; it matches when atom number `atom` holds, and all of its other clauses.

    Args:
        past, limit: numbers of its monitor and its limit in the bundle's program; None = it has no such clause.
        origin: where the action's values come from; None = it has no such clause.
        asked: whether the user's task asks for it, any of "yes", "no", "unknown"; None = it has no such clause.
        monitored: recorded, not enforced.
        modify: how it rewrites the action's arguments, where its effect is MODIFY.
        stop: whom a denial by it stops; None = nobody.
        approval: who may lift its escalation; None = nobody.
        hash: of a rule that escalates, see `approval_terms.rule_hash`; else empty.
    """

    policy: str
    id: str
    effect: Effect
    atom: int
    because: str
    controls: tuple[str, ...]
    past: int | None = None
    limit: int | None = None
    origin: OriginClause | None = None
    asked: frozenset[str] | None = None
    monitored: bool = False
    modify: tuple[Operation, ...] = ()
    stop: StopClause | None = None
    approval: ApprovalTerms | None = None
    hash: str = ""

    @property
    def on_atom_alone(self) -> bool:
        """Whether it matches exactly when its atom holds."""
        return self.past is None and self.limit is None and self.origin is None and self.asked is None

    @property
    def name(self) -> str:
        """ "policy/rule", as evidence and answers report it."""
        return f"{self.policy}/{self.id}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Reason:
    """One rule that led to the verdict; `rule` is "policy/rule"."""

    rule: str
    effect: Effect
    because: str
    controls: tuple[str, ...]


class Bundle:
    """A validated, type-checked and hashed set of documents; never changed after it is built.

    Attributes:
        digest: "sha256:" and 64 hex digits, over the normalised documents and the engine's version.
        default: what holds where no rule matches.
        uncatalogued: ALLOW when resources outside the catalog are decided by the rules, DENY when refused.
        clear: whether evidence keeps arguments in clear where the catalog says so, by tenant.
        rules: in the order of (policy, rule id).
        atoms: bit i of a `Prepared` speaks of `atoms[i]`.
        defines: (policy, name) → atom number.
        program: what rules remember of the past.
        measures: keys and amounts that the program asks of an action; `Prepared.measures` names them by number.
        plain: per effect, the bit set of the atoms that carry an enforced rule which nothing but its atom decides.
        rules_of_atom: per effect and atom, indexes of those rules (one atom may carry rules of several effects).
        asked: bit set of the atoms that carry any other rule: one with another clause, or a monitored one.
        asked_of_atom: by atom, indexes of those.
        origin_roles, origin_pointers: which values the `origin` of any rule looks at.
        looks_at_task: whether any rule asks what the task asks for.
        modifying: bit set of the atoms that carry a rule with `then: modify`; modifying_of_atom: by atom, indexes of
            those. Which of them matter depends on the arguments (`policies.rewriting`).
        idle: bit set of the atoms with a condition that nothing asks: a define that no rule names. They keep their
            numbers, are not evaluated and hold of no action.
        number_of: index of each of `rules` by its name.
        reasons: what each of `rules` says when it leads to a verdict.
        stops: by the name of each rule that stops somebody, whom. A monitored one stops nobody.
        sources: the texts it was compiled from; `load_documents(bundle.sources)` compiles to the same digest.
        warnings: what is odd without being wrong.
    """

    __slots__ = (
        "asked",
        "asked_of_atom",
        "atoms",
        "catalog",
        "clear",
        "default",
        "defines",
        "digest",
        "idle",
        "looks_at_task",
        "measures",
        "modifying",
        "modifying_of_atom",
        "name",
        "number_of",
        "origin_pointers",
        "origin_roles",
        "plain",
        "program",
        "reasons",
        "rules",
        "rules_of_atom",
        "sources",
        "stops",
        "uncatalogued",
        "warnings",
    )

    def __init__(
        self,
        *,
        digest: str,
        name: str,
        default: Effect,
        uncatalogued: Effect,
        rules: Sequence[Rule],
        atoms: Sequence[Atom],
        defines: Mapping[tuple[str, str], int],
        catalog: Catalog,
        sources: Sequence[Source],
        warnings: Sequence[PolicyError],
        program: Program = NOTHING,
        measures: Sequence[Measure] = (),
        clear: ClearValues | None = None,
    ) -> None:
        self.digest = digest
        self.name = name
        self.default = default
        self.uncatalogued = uncatalogued
        self.rules = tuple(rules)
        self.atoms = tuple(atoms)
        self.defines = dict(defines)
        self.catalog = catalog
        self.clear = clear or ClearValues()
        self.sources = tuple(sources)
        self.warnings = tuple(warnings)
        self.reasons = tuple(
            Reason(rule=rule.name, effect=rule.effect, because=rule.because, controls=rule.controls)
            for rule in self.rules
        )
        self.stops = {
            rule.name: rule.stop for rule in self.rules if rule.stop is not None and not rule.monitored
        }
        self.number_of: Mapping[str, int] = {rule.name: number for number, rule in enumerate(self.rules)}
        self.program = program
        self.measures = tuple(measures)
        carried: dict[Effect, list[tuple[int, ...]]] = {effect: [()] * len(self.atoms) for effect in Effect}
        plain = dict.fromkeys(Effect, 0)
        asked_of_atom: dict[int, tuple[int, ...]] = {}
        modifying_of_atom: dict[int, tuple[int, ...]] = {}
        for index, rule in enumerate(self.rules):
            if rule.effect is Effect.MODIFY:
                modifying_of_atom[rule.atom] = (*modifying_of_atom.get(rule.atom, ()), index)
            if rule.on_atom_alone and not rule.monitored:
                carried[rule.effect][rule.atom] = (*carried[rule.effect][rule.atom], index)
                plain[rule.effect] |= 1 << rule.atom
            else:
                asked_of_atom[rule.atom] = (*asked_of_atom.get(rule.atom, ()), index)
        self.plain: Mapping[Effect, int] = plain
        self.rules_of_atom: Mapping[Effect, Sequence[tuple[int, ...]]] = carried
        self.asked_of_atom: Mapping[int, tuple[int, ...]] = asked_of_atom
        self.asked = sum(1 << atom for atom in asked_of_atom)
        self.modifying_of_atom: Mapping[int, tuple[int, ...]] = modifying_of_atom
        self.modifying = sum(1 << atom for atom in modifying_of_atom)
        used = self.program.relevant
        for rule in self.rules:
            used |= 1 << rule.atom
        self.idle = sum(
            1 << number
            for number, atom in enumerate(self.atoms)
            if atom.when is not None and not used >> number & 1
        )
        clauses = [rule.origin for rule in self.rules if rule.origin is not None]
        self.origin_roles = frozenset[str]().union(*(clause.roles for clause in clauses))
        self.looks_at_task = any(rule.asked is not None for rule in self.rules)
        self.origin_pointers = tuple(sorted({pointer for clause in clauses for pointer in clause.pointers}))

    @property
    def looks_at_origins(self) -> bool:
        """Whether any rule asks where a value comes from."""
        return bool(self.origin_roles or self.origin_pointers)
