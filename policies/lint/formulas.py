"""`past` clauses that say nothing, nothing ever, or what a simpler formula says; windows beyond what is kept."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from policies.bundle import Atom, Bundle, Rule
from policies.lint.finding import CODES, Finding, Level, finding
from policies.lint.reach import Reach
from policies.lint.search import Question, Trace, Truths, deep_enough, difference, truths
from policies.lint.simpler import simpler
from policies.located import Located
from policies.past.formula import (
    Done,
    Formula,
    Historically,
    Never,
    Not,
    Once,
    Since,
    names,
    normal,
    parts,
    reach_us,
    text,
    walk,
)
from policies.past.parse import parse
from policies.past.polarity import check
from policies.past.retention import HISTORY_DAYS, HISTORY_US
from policies.rule_documents import PolicyDocument, RuleDocument


@dataclass(frozen=True, slots=True, kw_only=True)
class FormulaReport:
    """What the bounded search found of one rule's `past`.

    Args:
        matches, misses: shortest pasts after which it is true, and false, the last action being the one decided; None =
            there is none within the bound.
    """

    rule: str
    formula: str
    bound: str
    matches: Trace | None
    misses: Trace | None


@dataclass(frozen=True, slots=True, kw_only=True)
class PlacedRule:
    """A rule as it was compiled, and as it was written."""

    rule: Rule
    policy: Located[PolicyDocument]
    number: int

    @property
    def document(self) -> RuleDocument:
        return self.policy.document.rules[self.number]

    def finding(
        self, level: Level, key: str | None, code: str, message: str, hint: str = "", *, at_key: bool = False
    ) -> Finding:
        """At one key of the rule, or at its id."""
        assert code in CODES, code
        path = ("rules", self.number, *((key,) if key else ("id",)))
        message = f"{message} in rule `{self.rule.name}`"
        return finding(level, self.policy.error(path, code, message, hint, at_key=at_key))


class FormulaLinter:
    """Looks at the `past` of rules of one bundle. Cost: tens of milliseconds a formula, seconds at most."""

    def __init__(self, bundle: Bundle, reach: Reach) -> None:
        self._bundle = bundle
        self._reach = reach

    def lint(self, placed: PlacedRule) -> tuple[list[Finding], FormulaReport | None]:
        """Findings, and what the search showed; None where there is too much to search."""
        document = placed.document
        assert document.past is not None
        formula = parse(document.past)
        found = [*_windows(placed, formula), *_needless(placed, formula), *_waits(placed, formula)]
        question = self._question(placed, formula)
        if question is None:
            return found, None
        seen = truths(question, formula)
        report = FormulaReport(
            rule=placed.rule.name,
            formula=text(formula),
            bound=str(seen.bound),
            matches=seen.true,
            misses=seen.false,
        )
        constant = _constant(placed, formula, seen)
        found += constant
        if not constant:
            found += self._simpler(placed, formula, question)
        return found, report

    def _question(self, placed: PlacedRule, formula: Formula) -> Question | None:
        known = tuple(sorted(names(formula)))
        atoms: list[Atom] = [
            self._bundle.atoms[self._bundle.defines[placed.rule.policy, name]] for name in known
        ]
        letters = self._reach.letters([*atoms, self._bundle.atoms[placed.rule.atom]])
        if letters is None:
            return None
        keys = placed.document.by or {}
        return Question(
            names=known,
            letters=letters,
            restricting=placed.document.then != "allow",
            keys={name: keys[name] for name in known if name in keys},
        )

    def _simpler(self, placed: PlacedRule, formula: Formula, question: Question) -> Iterator[Finding]:
        """The simplest formula that no past within the bound tells from this one, one part less at a time."""
        document = placed.document
        lost: list[str] = []
        bound = ""
        current = formula
        while True:
            for candidate, lacking in simpler(current):
                refused = check(
                    candidate,
                    restricting=question.restricting,
                    permitted_is_done=document.permitted_is_done,
                )
                if refused or any(isinstance(one, Done) and one is candidate for one in walk(candidate)):
                    continue
                found = difference(question, formula, candidate)
                if found.trace is None and deep_enough(found.bound, formula):
                    current, bound = candidate, str(found.bound)
                    lost.append(lacking)
                    break
            else:
                break
        if lost:
            message = f"`past` says what `{text(current)}` says: {', '.join(lost)} changes nothing ({bound})"
            hint = "write the simpler one, or check what was meant"
            yield placed.finding(Level.WARNING, "past", "simpler_formula", message, hint)


def _constant(placed: PlacedRule, formula: Formula, seen: Truths) -> list[Finding]:
    if not deep_enough(seen.bound, formula):
        return []
    if seen.true is None and seen.false is None:
        return []  # the rule is never asked, which is another finding
    if seen.true is None:
        message = f"`past` is never true where the rule's own `on` and `when` hold ({seen.bound})"
        hint = (
            "the rule never matches: see which of its atoms can hold together, and which are ever permitted"
        )
        return [placed.finding(Level.ERROR, "past", "always_false", message, hint)]
    if seen.false is None:
        message = f"`past` is always true where the rule's own `on` and `when` hold ({seen.bound})"
        hint = "leave `past` out, or check what was meant"
        return [placed.finding(Level.WARNING, "past", "always_true", message, hint)]
    return []


def _windows(placed: PlacedRule, formula: Formula) -> Iterator[Finding]:
    windows = [
        one.window_us or 0 for one in walk(formula) if isinstance(one, Once | Historically | Never | Since)
    ]
    # Windows inside windows add up.
    longest_us = max([reach_us(formula) or 0, *windows])
    if longest_us > HISTORY_US:
        days = longest_us / 86_400_000_000
        message = f"`past` looks back {days:g} days, further than the {HISTORY_DAYS} that are kept"
        hint = "what is older is unknown to a rule that is activated later"
        yield placed.finding(Level.WARNING, "past", "window_beyond_history", message, hint)


def _needless(placed: PlacedRule, formula: Formula) -> Iterator[Finding]:
    document = placed.document
    restricting = document.then != "allow"
    if document.permitted_is_done and not check(formula, restricting=restricting, permitted_is_done=False):
        message = "`permitted_is_done` changes nothing: `past` says nothing that would need it"
        yield placed.finding(
            Level.WARNING, "permitted_is_done", "needless_permitted_is_done", message, at_key=True
        )
    if document.witness is not None and not any(isinstance(one, Done) for one in walk(formula)):
        message = "`witness` changes nothing: `past` asks for nothing that is `done(…)`"
        yield placed.finding(Level.WARNING, "witness", "needless_witness", message, at_key=True)


def _waits(placed: PlacedRule, formula: Formula) -> Iterator[Finding]:
    """Where a reported success makes the rule stricter, silence keeps it loose."""
    restricting = placed.document.then != "allow"
    waiting = dict.fromkeys(_done_that_restricts(normal(formula), restricting))
    for name in waiting:
        message = f"`once done({name})` makes the rule stricter only when the outcome has been reported"
        hint = f"say `once {name}`, so that it need not wait for what its agent may leave out"
        yield placed.finding(Level.WARNING, "past", "waits_for_report", message, hint)


def _done_that_restricts(formula: Formula, restricts: bool) -> Iterator[str]:
    match formula:
        case Once(of=Done(name=name)):
            if restricts:
                yield name
        case Not(of=inner):
            yield from _done_that_restricts(inner, not restricts)
        case _:
            for part in parts(formula):
                yield from _done_that_restricts(part, restricts)


def named_in_past(rules: Mapping[str, PlacedRule]) -> frozenset[tuple[str, str]]:
    """(policy, define) of every atom that some rule's `past` speaks of."""
    return frozenset(
        (placed.rule.policy, name)
        for placed in rules.values()
        if placed.document.past is not None
        for name in names(parse(placed.document.past))
    )
