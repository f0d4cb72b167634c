"""One action decided and remembered, as owners and the engine do it, and pasts of any length to decide it over."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import cycle, islice

from benchmarks.past import rules
from policies.action import Action
from policies.bundle import Bundle
from policies.compile import compile_sources
from policies.condition_plans import FUSED_AT_USE
from policies.effect import Effect
from policies.past.look import Look
from policies.past.program import Scope
from policies.past.slices import Event
from policies.past.state import Past
from policies.prepare import Preparer
from policies.verdict import Verdict, decide

Pasts = dict[Scope, Past]

STEP_US = 2_000_000
"""Between two actions of a history."""
REST_US = 3_600_000_000
"""Between a history and its last action: short windows are over, long ones are full."""


class Decider:
    """A bundle, ready: its conditions are compiled and have been used."""

    def __init__(self, sources: list[tuple[str, str]], warm: list[Action]) -> None:
        self.bundle: Bundle = compile_sources(sources)
        self.preparer = Preparer(self.bundle)
        for one in warm * (FUSED_AT_USE + 1):
            self.preparer.prepare(one)

    def decide(self, pasts: Pasts, action: Action) -> Verdict:
        """Prepare an action, decide it, and remember it if it was permitted."""
        prepared = self.preparer.prepare(action)
        event = Event(action.now_us, prepared.possibly, prepared.certainly, dict(prepared.measures))
        look = Look(self.bundle.program, pasts, event)
        verdict = decide(
            self.bundle,
            possibly=prepared.possibly,
            certainly=prepared.certainly,
            refusal=prepared.refusal,
            clauses=look.holds,
        )
        if verdict.effect in (Effect.ALLOW, Effect.MODIFY):
            look.permitted()
        elif verdict.effect is Effect.DENY:
            look.denied()
        return verdict

    def event(self, action: Action) -> Event:
        """The action as the past sees it."""
        prepared = self.preparer.prepare(action)
        return Event(action.now_us, prepared.possibly, prepared.certainly, dict(prepared.measures))

    def empty(self) -> Pasts:
        program = self.bundle.program
        return {scope: Past(program, scope) for scope in Scope if scope in program.used}

    def lived(self, events: int) -> Pasts:
        """The pasts after `events` permitted actions, the last of which is the intake; each scan was done.

        Cost: 10 to 20 µs an action.
        """
        pasts = self.empty()
        now_us = rules.START_US
        scanned = 1 << self.bundle.defines["past", "scanned"]
        again = [self.event(rules.action(*one, now_us=now_us)) for one in rules.round_of_payees()]
        for event in islice(cycle(again), events - 1):
            now_us += STEP_US
            timed = event._replace(time_us=now_us)
            for past in pasts.values():
                position = past.permit(timed)
                if event.possibly & scanned:
                    past.outcome(timed, position, succeeded=True, witnessed=True)
        last = self.event(rules.action(*rules.intake(), now_us=now_us + REST_US))
        for past in pasts.values():
            past.permit(last)
        return pasts


def copied(pasts: Mapping[Scope, Past]) -> Pasts:
    """The same pasts once more, to be changed on their own."""
    found: Pasts = {}
    for scope, past in pasts.items():
        one = found[scope] = Past(past.program, scope)
        one.settled = past.settled.copy()
        one.open = list(past.open)
        one.ledgers = {
            number: led._replace(accounts=dict(led.accounts)) for number, led in past.ledgers.items()
        }
        one.position, one.last_us = past.position, past.last_us
    return found
