"""All that is odd about some documents, in the order of files and lines."""

from __future__ import annotations

from dataclasses import dataclass

from policies.compile import compile_bundle
from policies.error import PolicyErrors, Source
from policies.lint.finding import Finding, Level, finding
from policies.lint.formulas import FormulaLinter, FormulaReport, PlacedRule, named_in_past
from policies.lint.limits import LimitLinter, lint_keys
from policies.lint.modifications import lint_modifications
from policies.lint.reach import Reach
from policies.lint.rules import RuleLinter, lint_defines
from policies.loader import DocumentSet, load_documents


@dataclass(frozen=True, slots=True, kw_only=True)
class LintReport:
    """What was found.

    Args:
        formulas: what the bounded search showed of each `past`.
    """

    findings: tuple[Finding, ...]
    formulas: tuple[FormulaReport, ...] = ()

    def count(self, level: Level) -> int:
        return sum(one.level is level for one in self.findings)


def lint_sources(sources: list[Source]) -> LintReport:
    """Load, compile and look at documents: what does not compile is a finding like any other.

    Cost: that of compiling, and tens of milliseconds for each `past`.
    """
    try:
        documents = load_documents(sources)
        return lint(documents)
    except PolicyErrors as refused:
        return LintReport(findings=tuple(finding(Level.ERROR, error) for error in refused.errors))


def lint(documents: DocumentSet) -> LintReport:
    """Look at documents that load. Raises: PolicyErrors: they do not compile."""
    bundle = compile_bundle(documents)
    found = [finding(Level.WARNING, warning) for warning in bundle.warnings]
    formulas: list[FormulaReport] = []
    compiled = {rule.name: rule for rule in bundle.rules}
    rules = {
        name: PlacedRule(rule=compiled[name], policy=policy, number=number)
        for policy in documents.policies
        for number, rule in enumerate(policy.document.rules)
        if (name := f"{policy.document.name}/{rule.id}") in compiled
    }
    reach = Reach(bundle)
    of_rules, of_formulas = RuleLinter(bundle, reach, rules), FormulaLinter(bundle, reach)
    of_limits = LimitLinter(bundle, reach, rules)
    for placed in rules.values():
        matching = list(of_rules.lint(placed))
        found += matching
        if any(one.level is Level.ERROR for one in matching):
            continue  # what it says of the past is never asked
        if placed.document.past is not None:
            findings, report = of_formulas.lint(placed)
            found += [*findings, *lint_keys(placed)]
            formulas += [] if report is None else [report]
        if placed.document.limit is not None:
            found += of_limits.lint(placed)
        found += lint_modifications(placed, bundle, reach)
    used = named_in_past(rules)
    for policy in documents.policies:
        found += lint_defines(policy, bundle, reach, used)
    found.sort(key=lambda one: (one.file, one.line, one.column, one.code))
    return LintReport(findings=tuple(found), formulas=tuple(formulas))
