"""What was evaluated: rules over numbered atoms, immutable, named by its digest.

Two bundles with the same digest number their atoms alike: that is what lets a replica prepare an action and
another process decide it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from policies.catalog import Catalog
from policies.effect import Effect
from policies.error import PolicyError, Source


@dataclass(frozen=True, slots=True, kw_only=True)
class Atom:
    """A fact about one action alone: all of `on` match and `when` holds.

    Args:
        on: (key, values) pairs, sorted by key; the values are sorted names or globs, any of which matches.
        when: the CEL condition's text, or None.
    """

    on: tuple[tuple[str, tuple[str, ...]], ...]
    when: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """One rule; it matches when atom number `atom` holds."""

    policy: str
    id: str
    effect: Effect
    atom: int
    because: str
    controls: tuple[str, ...]

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
        rules: in the order of (policy, rule id).
        atoms: bit i of a `Prepared` speaks of `atoms[i]`.
        defines: (policy, name) → atom number.
        denying, allowing: bit sets of the atoms that carry a rule of that effect.
        rules_of_atom: per effect and atom, indexes into `rules` (one atom may carry rules of both effects).
        reasons: what each of `rules` says when it leads to a verdict.
        sources: the texts it was compiled from; `load_documents(bundle.sources)` compiles to the same digest.
        warnings: what is odd without being wrong.
    """

    __slots__ = (
        "allowing",
        "atoms",
        "catalog",
        "default",
        "defines",
        "denying",
        "digest",
        "name",
        "reasons",
        "rules",
        "rules_of_atom",
        "sources",
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
    ) -> None:
        self.digest = digest
        self.name = name
        self.default = default
        self.uncatalogued = uncatalogued
        self.rules = tuple(rules)
        self.atoms = tuple(atoms)
        self.defines = dict(defines)
        self.catalog = catalog
        self.sources = tuple(sources)
        self.warnings = tuple(warnings)
        self.reasons = tuple(
            Reason(rule=rule.name, effect=rule.effect, because=rule.because, controls=rule.controls)
            for rule in self.rules
        )
        carried: dict[Effect, list[tuple[int, ...]]] = {effect: [()] * len(self.atoms) for effect in Effect}
        bits = dict.fromkeys(Effect, 0)
        for index, rule in enumerate(self.rules):
            carried[rule.effect][rule.atom] = (*carried[rule.effect][rule.atom], index)
            bits[rule.effect] |= 1 << rule.atom
        self.rules_of_atom: Mapping[Effect, Sequence[tuple[int, ...]]] = carried
        self.denying = bits[Effect.DENY]
        self.allowing = bits[Effect.ALLOW]
