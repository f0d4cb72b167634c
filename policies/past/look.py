"""One action against the pasts that it belongs to: which clauses hold, and what it leaves behind."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from policies import ledgers
from policies.bundle import Rule
from policies.past.joint import Joint
from policies.past.monitor import FAILED
from policies.past.program import JOINED_FROM, Program, Scope
from policies.past.slices import Event, Slices
from policies.past.state import NOT_STEPPED, Past, Stepped, amount_of, key_of


class Level(NamedTuple):
    """What a limit would stand at with this action; None = it cannot be known."""

    level: int | None
    above: int
    exceeded: bool


class Look:
    """What the past says about one action, as if it were permitted. Looks at nothing that is not asked.

    Args:
        pasts: of the session, the workflow and the agent, those that there are. A clause over a scope that is not
            here is taken from `elsewhere`, and where it is not there either it holds where that restricts.
        elsewhere: truths of monitors and limits that another owner has found: (kind, number) → truth.
    """

    __slots__ = (
        "_elsewhere",
        "_event",
        "_joints",
        "_pasts",
        "_program",
        "_stepped",
        "asked",
        "levels",
        "truths",
    )

    def __init__(
        self,
        program: Program,
        pasts: Mapping[Scope, Past],
        event: Event,
        elsewhere: Mapping[tuple[str, int], bool] | None = None,
    ) -> None:
        self._program = program
        self._pasts = pasts
        self._event = event
        self._elsewhere = elsewhere or {}
        self._stepped: Stepped | None = None
        self._joints: Mapping[Scope, Joint] = {}
        self.asked: list[Rule] = []
        self.truths: dict[int, bool] = {}
        self.levels: dict[int, Level] = {}

    def holds(self, rule: Rule) -> bool:
        """Whether all clauses of a rule that look at the past hold. `asked` keeps the rules."""
        self.asked.append(rule)
        number = rule.past
        if number is not None:
            truth = self.truths.get(number)
            if truth is None:
                truth = self.truths[number] = self._found(number)
            if not truth:
                return False
        limit = rule.limit
        return limit is None or self.level(limit).exceeded

    def truth(self, number: int) -> bool:
        """Whether a monitor's formula holds. Cost: one step, once."""
        known = self.truths.get(number)
        if known is None:
            known = self.truths[number] = self._found(number)
        return known

    def _found(self, number: int) -> bool:
        one = self._program.monitors[number]
        past = self._pasts.get(one.scope)
        if past is None:
            return self._elsewhere.get(("past", number), one.restricting)
        if past.open:
            return past.view().truth(self._program, number, self._event, past.position + 1)[0]
        # Nearly always so. What it is stepped to is kept: it is what it remembers if the action is permitted.
        time_us, possibly, certainly, _ = self._event
        stepped = self._stepped
        if stepped is None:
            stepped = self._stepped = Stepped()
            self._joints = self._program.joints(possibly, certainly)
        if one.sliced is not None:
            slices = past.settled.slices.get(number)
            if slices is None:
                slices = Slices(one.monitor.initial)
            truth, step = one.sliced.look(slices, self._event, past.position + 1)
            if step is not None:
                stepped.slices[number] = step
            return truth
        joint = self._joints.get(one.scope)
        if joint is not None and one.scope not in stepped.together:
            truths, stepped.together[one.scope] = joint(past.settled.slots, time_us, past.position + 1)
            self.truths.update(truths)
            if number in truths:
                return truths[number]
        slots = past.settled.slots.get(number, one.monitor.initial)
        truth, stepped.slots[number] = one.monitor.step(
            slots, possibly, certainly, time_us, past.position + 1, FAILED
        )
        if len(stepped.slots) == JOINED_FROM:
            self._program.stepped_one_by_one(possibly, certainly)
        return truth

    def level(self, number: int) -> Level:
        """Where a limit would stand. Cost: one sum over at most 64 amounts, once."""
        known = self.levels.get(number)
        if known is not None:
            return known
        limit = self._program.limits[number]
        past = self._pasts.get(limit.scope)
        if past is None:
            exceeded = self._elsewhere.get(("limit", number), limit.window.restricting)
            found = Level(None, limit.above, exceeded)
        else:
            ledger = past.ledgers.get(self._program.account_of[number], ledgers.EMPTY)
            # A denial counts once it has been given, not while it is being thought about.
            amount = 0 if limit.counted == "denials" else amount_of(limit, self._event)
            key = b"" if limit.key is None else key_of(limit, self._event)
            level = ledgers.level(ledger, self._event.time_us, key, amount, limit.window)
            found = Level(level, limit.above, ledgers.exceeds(level, limit.above, limit.window))
        self.levels[number] = found
        return found

    def permitted(self) -> dict[Scope, int]:
        """The action was permitted: it is past to what comes. Returns: its position in each past."""
        stepped = self._stepped or NOT_STEPPED
        return {scope: past.permit(self._event, stepped=stepped) for scope, past in self._pasts.items()}

    def denied(self) -> list[Scope]:
        """The action was denied. Returns: the pasts that count it."""
        return [scope for scope, past in self._pasts.items() if past.denied(self._event)]
