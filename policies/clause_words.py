"""Why `origin` and `asked` stopped an action, in words for whoever is stopped."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from policies.asked.judgement import Reply
from policies.origin.facts import Fact
from policies.rule_clauses import OriginFinding, RuleClauses


def explained(found: RuleClauses, rules: Iterable[str], result_of: Callable[[int], str]) -> str:
    """The first of these rules' findings; "" where there is none.

    Args:
        result_of: names the result with a source's number; "" where nobody knows it any more.
    """
    names = list(rules)
    for name in names:
        one = found.findings.get(name)
        if one is not None:
            said_by = "" if one.source is None else result_of(one.source)
            return _words(one) + (f": the result of {said_by}" if said_by else "")
    answer = found.answer
    if answer is not None and answer.reply is not Reply.YES and any(name in found.asked for name in names):
        return answer.because + (" (estimated from the task's words)" if answer.estimated else "")
    return ""


def _words(one: OriginFinding) -> str:
    if not one.pointer:
        return (
            "the action has too many values to tell where they come from, or nothing is known of its workflow"
        )
    value = f"`{one.pointer}` ({one.shown})"
    match one.fact:
        case Fact.UNTRUSTED if one.outstanding or one.source is None:
            return f"{value} is nowhere in the task, and no witness has reported all that strangers wrote"
        case Fact.UNTRUSTED:
            return f"{value} comes from what strangers wrote"
        case Fact.MIXED:
            return f"{value} comes from a trusted result and from what strangers wrote"
        case Fact.DERIVED:
            return f"{value} was looked up by a value that strangers wrote"
        case Fact.UNKNOWN:
            return f"{value} is nowhere in the task, nor in any result"
        case _:
            return f"{value} comes from the task or a trusted result"
