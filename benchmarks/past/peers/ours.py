"""The same rule and trace in our engine: prepared, decided and remembered as owners do it."""

from __future__ import annotations

from benchmarks.past.deciding import Decider
from benchmarks.past.peers.work import ABOVE, COUNT, SEND, SENDS
from benchmarks.past.rules import START_US
from policies.action import Action, Json, Resource, Subject
from policies.effect import Effect

_POLICY = """kind: Catalog
tools:
  read_customer: {effects: [read], data: [pii], boundary: internal, args: {id: {type: string}}}
  list_files: {effects: [read], data: [], boundary: internal, args: {id: {type: string}}}
  send_mail: {effects: [send], data: [], boundary: external, args: {to: {type: email, role: destination}}}
---
kind: Policy
name: past
define:
  scanned: {on: {tool: list_files}}
  reads_pii: {on: {data: pii}}
  sends: {on: {effect: send}}
rules:
  - {id: all, then: allow}
"""
_RULES = {
    SEND: "  - {id: rule, on: {effect: send}, past: 'sends and once[24h] reads_pii', then: deny}\n",
    COUNT: "  - {id: rule, on: {tool: list_files},"
    f" limit: {{count: actions, per: 24h, above: {ABOVE}}}, then: deny}}\n",
}
_DECIDERS: dict[str, Decider] = {}


class Ours:
    """One run. A call is fed as it is decided, but what the rule denies happens all the same: the others count it."""

    def __init__(self, rule: str) -> None:
        if rule not in _DECIDERS:
            _DECIDERS[rule] = Decider([("policy.yaml", _POLICY + _RULES[rule])], [])
        self._decider = _DECIDERS[rule]
        self._pasts = self._decider.empty()
        self._now_us = START_US

    def feed(self, tool: str) -> None:
        event = self._decider.event(self._action(tool))
        for past in self._pasts.values():
            past.permit(event)

    def allows(self, tool: str) -> bool:
        return self._decider.decide(self._pasts, self._action(tool)).effect is Effect.ALLOW

    def _action(self, tool: str) -> Action:
        self._now_us += 1_000_000
        arguments: dict[str, Json] = {"to": "a@b.example"} if tool == SENDS else {"id": "7"}
        return Action(
            tenant="default",
            subject=Subject(type="agent", id="bot"),
            name="call",
            resource=Resource(type="tool", id=tool),
            arguments=arguments,
            now_us=self._now_us,
        )
