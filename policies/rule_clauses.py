"""The clauses of a rule beyond its atom, asked of one action: its past, where its values come from, whether the task
asks for it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from policies.asked.judgement import Answer, Reply
from policies.bundle import OriginClause, Rule
from policies.effect import Effect
from policies.origin.facts import Fact, worst
from policies.origin.origins import Judged, Origins
from policies.origin.units import Unit
from policies.past.look import Look


@dataclass(frozen=True, slots=True, kw_only=True)
class OriginFinding:
    """Why a rule's `origin` held: one value, what is known of it, and who said it.

    Attributes:
        pointer: where the value stands in the arguments.
        shown: its ends.
        source: see `Judged`.
    """

    pointer: str
    role: str
    shown: str
    fact: Fact
    source: int | None
    over_bound: bool
    outstanding: bool = False


_NOTHING_KNOWN: Final = OriginFinding(
    pointer="", role="", shown="", fact=Fact.UNKNOWN, source=None, over_bound=True
)


def _nothing_approved(rule: Rule, unit: Unit) -> str | None:
    return None


class RuleClauses:
    """What is asked of one action beside its atoms; everything at most once.

    Args:
        look: at the past; None = there is none, and whatever looks at it holds where that restricts.
        origins: what its workflow knows; None = nothing.
        units: the values of its arguments.
        asked_for: tells whether the task asks for it; None = there is nothing that could tell.
        approved: says of a rule and a value by what it was approved; None = it was not.
    Attributes:
        findings: by rule, why its `origin` held.
        answer: whether the task asks for it; None = no rule wanted to know.
        asked: the rules that wanted to know it and whose answer it was.
        objecting: by rule whose approval may be for values, those that its `origin` objects to; None among them: more
            than can be approved as values.
        remembered: by such a rule, what `approved` said of values that it would have objected to.
    """

    __slots__ = (
        "_approved",
        "_asked_for",
        "_judged",
        "_origins",
        "_units",
        "answer",
        "asked",
        "findings",
        "look",
        "objecting",
        "remembered",
    )

    def __init__(
        self,
        look: Look | None,
        origins: Origins | None = None,
        units: tuple[Unit, ...] = (),
        asked_for: Callable[[], Answer] | None = None,
        approved: Callable[[Rule, Unit], str | None] = _nothing_approved,
    ) -> None:
        self.look = look
        self._approved = approved
        self._asked_for = asked_for
        self.answer: Answer | None = None
        self.asked: set[str] = set()
        self._origins = origins
        self._units = units
        self._judged: list[tuple[Unit, Judged]] | None = None
        self.findings: dict[str, OriginFinding] = {}
        self.objecting: dict[str, list[Unit | None]] = {}
        self.remembered: dict[str, set[str]] = {}

    def holds(self, rule: Rule) -> bool:
        """Whether all clauses of a rule beyond its atom hold."""
        restricting = rule.effect is not Effect.ALLOW
        if rule.asked is not None:
            if self._reply() not in rule.asked:
                return False
            self.asked.add(rule.name)
        if rule.origin is not None and not self._origin(rule, rule.origin, restricting=restricting):
            return False
        if rule.past is None and rule.limit is None:
            return True
        return restricting if self.look is None else self.look.holds(rule)

    def _reply(self) -> str:
        if self._asked_for is None:
            return Reply.UNKNOWN
        if self.answer is None:
            self.answer = self._asked_for()
        return self.answer.reply

    def _origin(self, rule: Rule, clause: OriginClause, *, restricting: bool) -> bool:
        """A rule that restricts matches when any of its values is so; one that allows, when there are some and all are.

        Past the bounds of what is kept and looked at, the former does and the latter does not.
        """
        by_value = rule.approval is not None and rule.approval.remember
        if self._origins is None:
            self.findings[rule.name] = _NOTHING_KNOWN
            if by_value:
                self.objecting[rule.name] = [None]
            return restricting
        found = [
            (unit, one)
            for unit, one in self._every()
            if clause.speaks_of(unit.path, unit.role, below=unit.cut)
        ]
        if not restricting:
            return bool(found) and all(
                one.fact in clause.facts and one.also <= clause.facts and not one.over_bound
                for _, one in found
            )
        objecting: list[Unit | None] = []
        for unit, one in found:
            fact = one.fact if one.fact in clause.facts else worst(one.also & clause.facts or (one.fact,))
            if fact not in clause.facts and not one.over_bound:
                continue
            # INVARIANT (value): a value that was cut stands for others as well, so that it is never approved as one.
            if by_value and not unit.cut and (by := self._approved(rule, unit)) is not None:
                self.remembered.setdefault(rule.name, set()).add(by)
                continue
            if not objecting:
                self.findings[rule.name] = OriginFinding(
                    pointer=unit.path,
                    role=unit.role,
                    shown=unit.masked,
                    fact=fact,
                    source=one.source if fact is one.fact else None,
                    over_bound=one.over_bound,
                    outstanding=one.outstanding,
                )
            objecting.append(None if unit.cut else unit)
            if not by_value:
                break
        if by_value and objecting:
            self.objecting[rule.name] = objecting
        return bool(objecting)

    def _every(self) -> list[tuple[Unit, Judged]]:
        if self._judged is None:
            assert self._origins is not None
            self._judged = [(unit, self._origins.judge(unit)) for unit in self._units if not unit.trivial]
        return self._judged
