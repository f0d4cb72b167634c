"""From a rule as it is written, and checked, to the rule that is evaluated."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from policies import approve_clause
from policies.approval_terms import ApprovalTerms
from policies.bundle import Atom, OriginClause, Rule
from policies.clauses import CheckedClauses
from policies.documents import DefineDocument, RuleDocument
from policies.duration import duration_us
from policies.effect import Effect
from policies.modification.documents import operations_of
from policies.normal_form import atom_of
from policies.past.formula import names
from policies.program_build import ProgramBuilder
from policies.stops import StopClause


def build_rule(
    name: tuple[str, str],
    document: RuleDocument,
    atom: int,
    clauses: CheckedClauses,
    defines: Mapping[str, DefineDocument],
    atoms: Mapping[Atom, int],
    builder: ProgramBuilder,
    *,
    authors: Sequence[str],
    monitored: bool,
) -> Rule:
    """The rule; its monitor and its limit become parts of the program that is built.

    Args:
        name: (policy, rule id).
        atom: the number of its own.
        defines: of its policy.
        atoms: numbers of all.
        authors: principals who wrote the policy.
        monitored: whether the whole bundle is.
    """
    past = limit = None
    if clauses.formula is not None:
        numbers = {define: atoms[atom_of(one.on, one.when)] for define, one in sorted(defines.items())}
        past = builder.monitor(document, clauses.formula, numbers)
    if document.limit is not None:
        limit = builder.limit(document.limit, atom, restricting=document.then != "allow")
    approval, rule_hash = _approval(name[0], document, clauses, defines, authors)
    return Rule(
        policy=name[0],
        id=name[1],
        effect=Effect(document.then),
        atom=atom,
        because=document.because,
        controls=tuple(document.controls),
        past=past,
        limit=limit,
        origin=_origin(document),
        asked=None if document.asked is None else frozenset(document.asked),
        monitored=monitored or document.mode == "monitor",
        modify=operations_of(document.modify or ()),
        stop=_stop(document),
        approval=approval,
        hash=rule_hash,
    )


def _stop(document: RuleDocument) -> StopClause | None:
    stop = document.stop
    if stop is None:
        return None
    lasts_us = None if stop.lasts is None else duration_us(stop.lasts)
    return StopClause(agent=stop.agent, workflow=stop.workflow, lasts_us=lasts_us)


def _approval(
    policy: str,
    document: RuleDocument,
    clauses: CheckedClauses,
    defines: Mapping[str, DefineDocument],
    authors: Sequence[str],
) -> tuple[ApprovalTerms | None, str]:
    """The terms on which an escalating rule can be lifted, and its hash."""
    if document.then != "escalate":
        return None, ""
    used = {} if clauses.formula is None else {name: defines[name] for name in names(clauses.formula)}
    terms = None if document.approve is None else approve_clause.terms_of(document.approve, authors)
    return terms, approve_clause.rule_hash(policy, document, used, authors)


def _origin(document: RuleDocument) -> OriginClause | None:
    origin = document.origin
    if origin is None:
        return None
    return OriginClause(
        facts=frozenset(origin.facts),
        roles=frozenset(origin.roles or ()),
        pointers=tuple(sorted(set(origin.args or ()))),
    )
