"""Masked evidence, replayed: what is said to be certain is what the whole action would have got."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from controlplane.hindsight.evidence_rows import read_masked
from controlplane.wire.digest import mask
from policies.action import Action, Resource, Subject
from policies.bundle import Bundle
from policies.compile import compile_sources
from policies.effect import Effect
from policies.past.look import Look
from policies.past.program import Scope
from policies.past.slices import Event
from policies.past.state import Past
from policies.prepare import Preparer
from policies.quantities import text_of
from policies.replay.knowledge import Knowledge
from policies.replay.recorded import RecordedAction, RecordedOutcome, unknown_of
from policies.replay.replay import Replay
from policies.replay.told import NOTHING, Telling
from policies.verdict import Verdict, decide

SECOND_US = 1_000_000
START_US = 1_750_000_000 * SECOND_US
CATALOG = """\
kind: Catalog
tools:
  crm.read: {effects: [read], data: [pii], boundary: internal, args: {id: {type: string}}}
  mail.send: {effects: [send], boundary: external, args: {to: {type: email}, size: {type: integer}}}
  pay.send: {effects: [pay], data: [], boundary: external, args: {to: {type: iban}, amount: {type: decimal}}}
  dlp.scan: {effects: [], data: [], boundary: internal, args: {deep: {type: boolean}}}
---
kind: Policy
name: p
define:
  reads: {on: {data: pii}}
  scans: {on: {tool: dlp.scan}}
  deep: {on: {tool: dlp.scan}, when: "has(args.deep) && args.deep"}
  big: {on: {tool: pay.send}, when: args.amount > 10}
  pays: {on: {tool: pay.send}}
  mails: {on: {tool: mail.send}, when: "!has(args.size)"}
  own: {on: {tool: crm.read}, when: '"a" in subject.labels'}
rules:
"""
RULES = [
    "on: {}, then: allow",
    "on: {tool: [pay.send, mail.send]}, when: args.to != 'evil', then: allow",
    "on: {tool: mail.send}, when: args.size > 3, then: deny",
    "on: {tool: pay.send}, when: args.amount > 100, then: escalate",
    "on: {tool: crm.read, agent_label: a}, then: escalate",
    "on: {data: pii}, when: has(context.x), then: deny",
    "on: {tool: mail.send}, past: 'once[5s] reads', then: deny",
    "on: {tool: mail.send}, past: 'once[5s] own', then: deny, scope: session",
    "on: {tool: mail.send}, past: 'not once[5s] done(scans)', then: escalate",
    "on: {tool: mail.send}, past: 'not done(deep) since[9s] big', then: deny",
    "on: {tool: pay.send}, past: 'once[9s] (big and once[2s] mails)', then: deny, scope: agent",
    "on: {tool: pay.send}, past: 'previous big', permitted_is_done: true, then: deny",
    "on: {tool: pay.send}, past: 'pays and once[9s] big', by: {pays: args.to, big: args.to}, then: deny",
    "on: {tool: pay.send}, past: 'pays and once[9s] pays', by: {pays: resource.id}, then: escalate, scope: session",
    "on: {tool: mail.send}, past: 'once[5s] done(deep)', then: allow",
    "on: {tool: pay.send}, past: 'pays and not once[3s] big', by: {pays: args.to, big: args.to}, then: allow",
    "on: {tool: pay.send}, limit: {sum: args.amount, per: 9s, above: 50}, then: deny",
    "on: {tool: pay.send}, limit: {count: actions, per: 9s, above: 2}, then: escalate",
    "on: {tool: pay.send}, when: args.amount > 9, limit: {count: actions, per: 9s, scope: agent, above: 1}, then: deny",
    "on: {}, limit: {count: denials, per: 9s, above: 1}, then: deny",
    "on: {tool: crm.read}, limit: {count: actions, per: 9s, key: args.id, above: 1}, then: deny",
    "on: {tool: crm.read}, limit: {count: actions, per: 9s, key: subject.id, above: 1}, then: deny",
    "on: {tool: mail.send}, limit: {count: actions, per: 9s, above: 1}, then: allow",
]


def bundle_of(chosen: Sequence[int]) -> Bundle:
    rules = "".join(f"  - {{id: r{number}, {RULES[number]}}}\n" for number in sorted(set(chosen)))
    return compile_sources([("p.yaml", CATALOG + rules)])


values: dict[str, st.SearchStrategy[Any]] = {
    "id": st.sampled_from(["x", "y", 3]),
    "to": st.sampled_from(["a@b.example", "evil", "DE89", None]),
    "size": st.sampled_from([1, 5, "4", True, []]),
    "amount": st.sampled_from([1, 20, 200, "30", "many", -5, [], None]),
    "deep": st.sampled_from([True, False, "true"]),
}
ARGUMENTS = {
    "crm.read": ["id"],
    "mail.send": ["to", "size"],
    "pay.send": ["to", "amount"],
    "dlp.scan": ["deep"],
}
tools = st.sampled_from(sorted(ARGUMENTS))
steps = tools.flatmap(
    lambda tool: st.tuples(
        st.just(tool),
        st.fixed_dictionaries({}, optional={name: values[name] for name in ARGUMENTS[tool]}),
        st.sampled_from(["s1", "s2", "s3"]),
        st.sampled_from([0, 1, 2, 5, 6]),
        st.booleans(),
        st.sampled_from(["succeeded", "failed", "not_executed", ""]),
    )
)
chosen = st.lists(st.integers(0, len(RULES) - 1), min_size=1, max_size=6)
WORKFLOW = {"s1": "w1", "s2": "w1", "s3": "w3"}
AGENT = {"s1": "one", "s2": "two", "s3": "one"}


@dataclass
class Truth:
    """A bundle over whole actions, with the history that really was."""

    bundle: Bundle

    def __post_init__(self) -> None:
        self.preparer = Preparer(self.bundle)
        self.pasts: dict[tuple[Scope, str], Past] = {}

    def look(self, action: Action, session: str) -> tuple[Verdict, Look, Event]:
        prepared = self.preparer.prepare(action)
        event = Event(action.now_us, prepared.possibly, prepared.certainly, dict(prepared.measures))
        named = {Scope.SESSION: session, Scope.WORKFLOW: WORKFLOW[session], Scope.AGENT: AGENT[session]}
        pasts = {
            scope: self.pasts.setdefault((scope, name), Past(self.bundle.program, scope))
            for scope, name in named.items()
        }
        look = Look(self.bundle.program, pasts, event)
        verdict = decide(
            self.bundle,
            possibly=prepared.possibly,
            certainly=prepared.certainly,
            refusal=prepared.refusal,
            clauses=look.holds,
        )
        return verdict, look, event


def findings(bundle: Bundle, look: Look) -> tuple[dict[str, bool], dict[str, str | None]]:
    """As owners put them into evidence."""
    truths = {rule.name: look.truths[rule.past] for rule in look.asked if rule.past is not None}
    levels: dict[str, str | None] = {}
    for rule in look.asked:
        if rule.limit is not None and rule.limit in look.levels:
            level = look.levels[rule.limit].level
            sums = bundle.program.limits[rule.limit].counted == "sum"
            levels[rule.name] = None if level is None else text_of(level) if sums else str(level)
    return truths, levels


@settings(max_examples=1_000, deadline=None)
@given(chosen, chosen, st.lists(steps, min_size=1, max_size=8), st.booleans())
def test_what_is_certain_of_masked_actions_is_so_of_whole_ones(
    recorded: list[int], candidate: list[int], trace: list[tuple[Any, ...]], known: bool
) -> None:
    """`known`: whether the bundle that decided is at hand; then a replay under the same bundle leaves nothing open."""
    old, new = bundle_of(recorded), bundle_of(candidate)
    was, really = Truth(old), Truth(new)
    knowledge = Knowledge(new)
    replay, telling = Replay(new, knowledge), Telling(old, new, knowledge)
    now_us = START_US
    for number, (tool, arguments, session, gap, labelled, outcome) in enumerate(trace):
        now_us += gap * SECOND_US
        subject = Subject(type="agent", id=AGENT[session], labels=("a",) if labelled else ())
        action = Action(
            tenant="default",
            subject=subject,
            name="call",
            resource=Resource(type="tool", id=tool),
            arguments=arguments,
            now_us=now_us,
        )
        verdict, look, own = was.look(action, session)
        truths, levels = findings(old, look)
        atoms = {
            f"{policy}/{name}"
            for (policy, name), bit in old.defines.items()
            if was.preparer.prepare(action).possibly >> bit & 1
        }
        masked, complete = read_masked(mask(arguments))
        assert complete
        told = RecordedAction(
            id=str(number),
            time_us=now_us,
            asked_us=now_us,
            tenant="default",
            subject=Subject(type="agent", id=AGENT[session]),
            session=session,
            workflow=WORKFLOW[session],
            action="call",
            resource_type="tool",
            resource_id=tool,
            arguments=masked,
            complete=complete,
            decision=str(verdict.effect),
            reason_code=verdict.reason_code,
            bundle=old.digest,
            unknown=unknown_of(),
            rules=tuple(reason.rule for reason in verdict.reasons),
            atoms=frozenset(atoms),
            truths=truths,
            levels=levels,
        )
        would, would_look, event = really.look(action, session)
        judged = replay.judge(told, telling.told(told) if known else NOTHING)
        assert would.effect in judged.effects
        if judged.effect is not None:
            reported = {reason.rule for reason in would.reasons if reason.effect is would.effect}
            assert set(judged.rules) <= reported
        if known and old.digest == new.digest:
            assert judged.effects == {verdict.effect}
        if told.permitted:
            before, after = look.permitted(), would_look.permitted()
            if outcome:
                replay.report(RecordedOutcome(decision=told.id, status=outcome, witnessed=True))
                report(was, session, own, before, outcome)
                report(really, session, event, after, outcome)
            continue
        if verdict.effect is Effect.DENY:
            look.denied()
        if would.effect is Effect.DENY:
            would_look.denied()


def report(truth: Truth, session: str, event: Event, positions: Mapping[Scope, int], outcome: str) -> None:
    named = {Scope.SESSION: session, Scope.WORKFLOW: WORKFLOW[session], Scope.AGENT: AGENT[session]}
    for scope, position in positions.items():
        past = truth.pasts[scope, named[scope]]
        past.outcome(event, position, succeeded=outcome == "succeeded", witnessed=True)
        if outcome == "not_executed":
            past.give_back(event)
