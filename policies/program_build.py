"""The clauses of all rules as one program: what says the same is remembered once."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping
from dataclasses import replace
from typing import cast

import rfc8785

from policies.budgets import Window
from policies.bundle import Atom, Measure
from policies.duration import duration_us
from policies.past.formula import Formula, names, normal, reach_us, text
from policies.past.monitor import identity, monitor_of
from policies.past.program import Limit, PastMonitor, Program, Scope
from policies.past.slices import Keys, Sliced
from policies.quantities import amount_of
from policies.rule_documents import LimitDocument, RuleDocument


class ProgramBuilder:
    """Collects monitors, limits and measures while rules are compiled, in the order in which they come."""

    def __init__(self, atoms: Mapping[Atom, int]) -> None:
        self._described = {number: atom for atom, number in atoms.items()}
        self._monitors: dict[bytes, PastMonitor] = {}
        self._limits: dict[bytes, Limit] = {}
        self._measures: dict[Measure, int] = {}

    def monitor(self, rule: RuleDocument, formula: Formula, number_of: Mapping[str, int]) -> int:
        """The number of the monitor of a rule's `past`. Cost: about 0.2 ms for one that is new."""
        restricting = rule.then != "allow"
        keys = {name: expression.strip() for name, expression in (rule.by or {}).items()}
        known_as = identity(
            text(normal(formula)),
            self._json({name: number_of[name] for name in names(formula)}),
            rfc8785.dumps(cast("dict[str, object]", keys)).decode(),  # type: ignore[arg-type]
            f"{rule.scope} {restricting} {rule.witness}",
        )
        if known_as not in self._monitors:
            own = self._own_numbers(names(formula), keys, number_of)
            monitor = monitor_of(formula, number_of=own, restricting=restricting)
            relevant = 0
            for name in names(formula):
                relevant |= 1 << number_of[name]
            monitor = replace(monitor, relevant=relevant)
            reach = reach_us(formula)
            sliced = None
            if keys:
                of = tuple(
                    (1 << number_of[name], 1 << own[name], self._measure(number_of[name], "key", expression))
                    for name, expression in sorted(keys.items())
                )
                mask = 0
                for bit, _, _ in of:
                    mask |= bit
                sliced = Sliced(
                    monitor=monitor,
                    keys=Keys(of=of, mask=mask, renamed=any(bit != other for bit, other, _ in of)),
                    restricting=restricting,
                    reach_us=reach,
                )
            self._monitors[known_as] = PastMonitor(
                identity=known_as,
                scope=Scope(rule.scope),
                monitor=monitor,
                sliced=sliced,
                witnessed=rule.witness is not None,
                restricting=restricting,
                reach_us=reach,
            )
        return list(self._monitors).index(known_as)

    def _own_numbers(
        self, used: Collection[str], keys: Mapping[str, str], number_of: Mapping[str, int]
    ) -> Mapping[str, int]:
        """The bit of each name in its monitor: the atom's, or one past all atoms where another name has the same."""
        shared = Counter(number_of[name] for name in used)
        own = dict(number_of)
        for place, name in enumerate(sorted(keys)):
            if shared[number_of[name]] > 1:
                own[name] = len(self._described) + place
        return own

    def limit(self, document: LimitDocument, atom: int, *, restricting: bool) -> int:
        """The number of a rule's `limit`. `atom`: number of the rule's own atom."""
        counted = "sum" if document.sum is not None else document.count
        assert counted is not None
        amount, key = (None if one is None else one.strip() for one in (document.sum, document.key))
        # The threshold is no part of it: another one over the same account keeps what was spent.
        account = identity(
            self._json({"of": atom}),
            f"{counted} {document.per} {document.scope} {restricting}",
            amount or "",
            key or "",
        )
        above = amount_of(document.above) if amount is not None else document.above
        assert isinstance(above, int)
        known_as = account + above.to_bytes(64, "big", signed=True)
        if known_as not in self._limits:
            self._limits[known_as] = Limit(
                identity=account,
                scope=Scope(document.scope),
                counted=counted,
                atom=1 << atom,
                amount=None if amount is None else self._measure(atom, "amount", amount),
                key=None if key is None else self._measure(atom, "key", key),
                window=Window(
                    per_us=None if document.per is None else duration_us(document.per),
                    restricting=restricting,
                ),
                above=above,
            )
        return list(self._limits).index(known_as)

    def program(self) -> Program:
        return Program(tuple(self._monitors.values()), tuple(self._limits.values()))

    def measures(self) -> tuple[Measure, ...]:
        return tuple(self._measures)

    def _measure(self, atom: int, kind: str, expression: str) -> int:
        measure = Measure(atom=atom, kind="key" if kind == "key" else "amount", text=expression)
        return self._measures.setdefault(measure, len(self._measures))

    def _json(self, numbers: Mapping[str, int]) -> str:
        """What atoms are made of: numbers mean nothing in another bundle."""
        described = {
            name: [
                [[key, list(values)] for key, values in self._described[number].on],
                self._described[number].when,
            ]
            for name, number in numbers.items()
        }
        return rfc8785.dumps(described).decode()
