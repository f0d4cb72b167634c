"""Recorded actions judged by another bundle, each by the past that really preceded it.

History is what was permitted when it was recorded, also where the new bundle would have denied it: as when a bundle is
activated, or watches as a shadow. What is hidden is kept open (`policies.replay.knowledge`): every past is kept twice,
as the strict and as the lenient bound, so that a truth on which both agree is certain.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from policies import ledgers
from policies.bundle import Bundle, Rule
from policies.effect import Effect
from policies.index import set_bits
from policies.past.look import Look
from policies.past.program import Program, Scope
from policies.past.slices import Event
from policies.past.state import Past
from policies.replay.knowledge import Bounds, Knowledge
from policies.replay.recorded import RecordedAction, RecordedOutcome
from policies.replay.told import NOTHING, Told

_OUTCOMES_WITHIN_US = 25 * 3_600_000_000
"""An outcome is reported within a day."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Judged:
    """What a bundle says to a recorded action.

    Args:
        effects: all that it can be, whatever is hidden; one when it is certain.
        rules: names of those that surely match and carry one of these effects; maybe: those that only might.
        refusal: the catalog's reason, where it denies whatever the rules say.
    """

    effects: frozenset[Effect]
    rules: tuple[str, ...] = ()
    maybe: tuple[str, ...] = ()
    refusal: str | None = None

    @property
    def effect(self) -> Effect | None:
        """What it surely is; None = it depends on what is hidden."""
        return next(iter(self.effects)) if len(self.effects) == 1 else None


@dataclass(slots=True)
class _Happened:
    time_us: int
    strict: Event
    lenient: Event
    names: Mapping[Scope, str]
    strict_at: Mapping[Scope, int]
    lenient_at: Mapping[Scope, int]


class Replay:
    """One bundle, and all pasts of a record. Actions and outcomes are told in order. Cost: two looks an action."""

    def __init__(self, bundle: Bundle, knowledge: Knowledge) -> None:
        self._bundle = bundle
        self._knowledge = knowledge
        program = bundle.program
        # An event of the lenient bound can matter by what is only certain of it: nothing is skipped.
        self._program = Program(
            [replace(one, monitor=replace(one.monitor, skippable=False)) for one in program.monitors],
            program.limits,
        )
        self._blind_monitors = frozenset(
            number
            for number, one in enumerate(program.monitors)
            if one.sliced is not None
            and (
                any(knowledge.hides_measure(measure) for *_, measure in one.sliced.keys.of)
                or knowledge.hides_atoms(one.monitor.relevant)
            )
        )
        self._blind_limits = frozenset(
            number
            for number, limit in enumerate(program.limits)
            if any(
                measure is not None and knowledge.hides_measure(measure)
                for measure in (limit.amount, limit.key)
            )
        )
        self._rules_of: dict[int, list[int]] = {}
        for number, rule in enumerate(bundle.rules):
            self._rules_of.setdefault(rule.atom, []).append(number)
        self._strict: dict[tuple[Scope, str], Past] = {}
        self._lenient: dict[tuple[Scope, str], Past] = {}
        self._happened: dict[str, _Happened] = {}

    def judge(self, action: RecordedAction, told: Told = NOTHING) -> Judged:
        """What the bundle says to an action; if it happened, it is past to the next ones.

        Args:
            told: what is known of it from the bundle that decided.
        """
        bounds = self._knowledge.bounds(action, told.atoms)
        names = {
            Scope.SESSION: f"{action.tenant}/{action.session}",
            Scope.WORKFLOW: f"{action.tenant}/{action.workflow}",
            Scope.AGENT: f"{action.tenant}/{action.subject.type}/{action.subject.id}",
        }
        strict = Look(self._program, self._pasts(self._strict, names), bounds.strict)
        lenient = Look(self._program, self._pasts(self._lenient, names), bounds.lenient)
        judged = self._judged(action, bounds, strict, lenient, told)
        if action.permitted:
            self._forget(action.time_us)
            self._happened[action.id] = _Happened(
                action.time_us, bounds.strict, bounds.lenient, names, strict.permitted(), lenient.permitted()
            )
        else:
            # Denials are counted as this bundle gives them.
            if Effect.DENY in judged.effects:
                strict.denied()
            if judged.effect is Effect.DENY:
                lenient.denied()
        return judged

    def report(self, outcome: RecordedOutcome) -> None:
        """What an action came to; without effect for one that was never told."""
        happened = self._happened.pop(outcome.decision, None)
        if happened is None:
            return
        succeeded = outcome.status == "succeeded"
        for pasts, event, positions in (
            (self._strict, happened.strict, happened.strict_at),
            (self._lenient, happened.lenient, happened.lenient_at),
        ):
            for scope, position in positions.items():
                past = pasts[scope, happened.names[scope]]
                past.outcome(event, position, succeeded=succeeded, witnessed=outcome.witnessed)
                if outcome.status == "not_executed" and outcome.witnessed:
                    past.give_back(event)

    def _judged(
        self, action: RecordedAction, bounds: Bounds, strict: Look, lenient: Look, told: Told
    ) -> Judged:
        if bounds.refusal is not None:
            return Judged(effects=frozenset((Effect.DENY,)), refusal=bounds.refusal)
        sure: dict[Effect, list[str]] = {effect: [] for effect in Effect}
        maybe: dict[Effect, list[str]] = {effect: [] for effect in Effect}
        reachable = bounds.strict.possibly | bounds.lenient.possibly | bounds.lenient.certainly
        rewriting: list[int] = []
        numbers = sorted(number for bit in set_bits(reachable) for number in self._rules_of.get(bit, ()))
        for number in numbers:
            rule = self._bundle.rules[number]
            if rule.monitored:
                continue
            must, may = self._matches(rule, bounds, strict, lenient, told)
            if rule.effect is Effect.MODIFY:
                rewriting += [number] if may else []
            elif must:
                sure[rule.effect].append(rule.name)
            elif may:
                maybe[rule.effect].append(rule.name)
        effects: set[Effect] = {Effect.DENY} if bounds.may_refuse else set()
        doubtful: list[str] = []
        told_all = told.satisfied.issuperset(rewriting) and (told.rewrote is not None or not action.modified)
        if not told_all and not self._denied_whatever_is_sent(sure[Effect.DENY]):
            # Whether it would be rewritten depends on its arguments, and all else on what would be left of them.
            names = tuple(self._bundle.rules[number].name for number in rewriting)
            return Judged(effects=frozenset(Effect), maybe=names)
        for effect in (Effect.DENY, Effect.ESCALATE, Effect.ALLOW):
            if sure[effect]:
                effects.add(effect)
                break
            if maybe[effect]:
                effects.add(effect)
                doubtful += maybe[effect]
        else:
            effects.add(self._bundle.default)
        rules = tuple(name for effect in Effect if effect in effects for name in sure[effect])
        modifying = tuple(self._bundle.rules[number].name for number in told.rewrote or ())
        if modifying and Effect.ALLOW in effects:
            effects = (effects - {Effect.ALLOW}) | {Effect.MODIFY}
            rules = modifying + rules
        elif rules:
            rules += modifying
        return Judged(effects=frozenset(effects), rules=rules, maybe=tuple(doubtful))

    def _denied_whatever_is_sent(self, denying: list[str]) -> bool:
        """Whether one of these rules looks at no argument."""
        return any(
            rule.name in denying and rule.on_atom_alone and self._bundle.atoms[rule.atom].when is None
            for rule in self._bundle.rules
        )

    def _matches(
        self, rule: Rule, bounds: Bounds, strict: Look, lenient: Look, told: Told
    ) -> tuple[bool, bool]:
        """(whether a rule matches whatever is hidden, whether it could)."""
        bit = 1 << rule.atom
        if rule.effect is Effect.ALLOW:
            must, may = bool(bounds.strict.certainly & bit), bool(bounds.lenient.certainly & bit)
            tight, loose = strict, lenient
        else:
            must, may = bool(bounds.lenient.possibly & bit), bool(bounds.strict.possibly & bit)
            tight, loose = lenient, strict
        if not may:
            return False, False
        if rule.origin is not None or rule.asked is not None:
            must = False  # the record keeps no values
        if rule.past is not None:
            known = told.truths.get(rule.past)
            blind = rule.past in self._blind_monitors
            must = must and (known if known is not None else not blind and tight.truth(rule.past))
            may = known if known is not None else _open_truth(rule, blind, loose, rule.past)
        if may and rule.limit is not None:
            limit = self._program.limits[rule.limit]
            if rule.limit in told.levels:
                exceeded = ledgers.exceeds(told.levels[rule.limit], limit.above, limit.window)
                must, may = must and exceeded, exceeded
            elif rule.effect is Effect.ALLOW:
                must = must and rule.limit not in self._blind_limits and strict.level(rule.limit).exceeded
            else:
                blind = rule.limit in self._blind_limits
                must = must and not blind and lenient.level(rule.limit).exceeded
                may = strict.level(rule.limit).exceeded
        return must and may, may

    def _pasts(self, kept: dict[tuple[Scope, str], Past], names: Mapping[Scope, str]) -> dict[Scope, Past]:
        found = {}
        for scope, name in names.items():
            if scope not in self._program.used:
                continue
            past = kept.get((scope, name))
            if past is None:
                past = kept[scope, name] = Past(self._program, scope)
            found[scope] = past
        return found

    def _forget(self, now_us: int) -> None:
        """Leave out the oldest action, once no outcome can come to it any more: as many go as come."""
        oldest = next(iter(self._happened), None)
        if oldest is not None and now_us - self._happened[oldest].time_us > _OUTCOMES_WITHIN_US:
            del self._happened[oldest]


def _open_truth(rule: Rule, blind: bool, loose: Look, number: int) -> bool:
    """Whether a formula could be true. Keys that are hidden can be any, so that a grant by them is never ruled out."""
    if blind and rule.effect is Effect.ALLOW:
        return True
    return loose.truth(number)
