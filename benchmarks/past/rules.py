"""Twenty rules over the past, and actions to be decided by them.

`MIXED` is what a company might have: each rule concerns some tools, so that a few look at each action. In the others
all twenty look at each action, whatever it is: each is stepped, and each takes in what was permitted. `FORMULAS` are as
simple as can be, the others have seven windows, outcomes, `since`, `previous`, keys and limits. Where none holds the
action is allowed; where all hold it is denied for twenty reasons; where all hold and are only watched it is
allowed, and all that the others cost comes together.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from policies.action import Action, Json, Resource, Subject

MIXED: Final = "mixed"
FORMULAS: Final = "20 times `a and once[w] b`, all hold"
NONE_HOLDS: Final = "all look, none holds"
ALL_HOLD: Final = "all hold"
WATCHED: Final = "all hold, watched"
KINDS: Final = (MIXED, FORMULAS, NONE_HOLDS, ALL_HOLD, WATCHED)

RULES: Final = 20
PAYEES: Final = 900
"""Different keys in a long history: fewer than a rule can tell apart (1 000), or it would match unasked."""
START_US: Final = 1_790_000_000_000_000

_CATALOG = """kind: Catalog
tools:
  crm.intake:
    {system: crm, effects: [read, write], data: [pii, secrets, financial], boundary: internal,
     args: {iban: {type: iban}, amount: {type: decimal}}}
  crm.read: {system: crm, effects: [read], data: [pii], boundary: internal, args: {id: {type: string}}}
  vault.read: {system: vault, effects: [read], data: [secrets], boundary: internal, args: {id: {type: string}}}
  web.fetch: {system: web, effects: [read], data: [], boundary: external, args: {url: {type: string}}}
  dlp.scan: {system: dlp, effects: [], data: [], boundary: internal}
  bank.create: {system: bank, effects: [write], data: [], boundary: internal, args: {iban: {type: iban}}}
  bank.wire: {system: bank, effects: [pay], data: [], boundary: external, args: {amount: {type: decimal}}}
  bank.pay:
    {system: bank, effects: [pay], data: [], boundary: external,
     args: {to: {type: iban, role: destination}, amount: {type: decimal}}}
  mail.send:
    {system: mail, effects: [send], data: [], boundary: external,
     args: {to: {type: email, role: destination}, body: {role: content}}}
---
kind: Policy
name: past
define:
  reads: {on: {effect: read}}
  reads_pii: {on: {data: pii}}
  reads_secrets: {on: {data: secrets}}
  reads_money: {on: {data: financial}}
  fetches: {on: {tool: web.fetch}}
  sends: {on: {effect: send}}
  leaves: {on: {boundary: external}}
  scanned: {on: {tool: dlp.scan}}
  created: {on: {tool: [bank.create, crm.intake]}}
  pays: {on: {tool: bank.pay}}
  wires: {on: {tool: bank.wire}}
"""
_LARGE = "  large: {on: {tool: bank.pay}, when: args.amount > 500.0}\n"
_ALL = """rules:
  - {id: all, on: {tool: "*.*"}, then: allow}
"""
BY = "by: {created: args.iban, pays: args.to}"
_DONE = "permitted_is_done: true"

_ONCE = [
    ("reads_pii", "24h"),
    ("reads_pii", "1h"),
    ("reads_secrets", "24h"),
    ("reads_secrets", "7d"),
    ("reads_money", "24h"),
    ("reads", "30m"),
    ("reads", "12h"),
]


def mixed_clauses() -> list[str]:
    """The clauses of twenty different rules, each for the tools it is about."""
    of_sends, of_pay = "on: {effect: send}", "on: {tool: bank.pay}"
    return [
        f"{of_sends}, past: 'leaves and once[24h] reads_pii and once[24h] fetches'",
        f"{of_sends}, past: 'sends and once[7d] reads_secrets and not once[15m] done(scanned)'",
        f"{of_sends}, past: 'once[1h] reads_pii and not once[10m] done(scanned)'",
        f"{of_sends}, past: 'not done(scanned) since[24h] reads_money'",
        f"{of_sends}, past: 'previous fetches', {_DONE}",
        f"{of_sends}, past: 'once[1h] (fetches and once[1h] reads_secrets)', scope: session",
        f"{of_sends}, limit: {{count: actions, per: 1h, above: 1000000}}",
        "on: {boundary: external}, past: 'leaves and once[24h] reads_secrets and once[10m] fetches'",
        "on: {boundary: external}, past: 'leaves and previous reads_secrets and once fetches', " + _DONE,
        "on: {boundary: external}, limit: {count: denials, per: 1h, scope: agent, above: 1000000}",
        f"{of_pay}, past: 'large and once[72h] created', by: {{created: args.iban, large: args.to}}",
        f"{of_pay}, past: 'pays and once[1h] large', scope: agent, by: {{pays: args.to, large: args.to}}",
        f"{of_pay}, past: 'pays and once[10m] fetches'",
        f"{of_pay}, past: 'not done(scanned) since[10m] fetches'",
        f"{of_pay}, limit: {{sum: args.amount, per: 24h, scope: agent, above: 900000000000}}",
        f"{of_pay}, limit: {{sum: args.amount, per: 24h, key: args.to, above: 900000000000}}",
        f"{of_pay}, limit: {{count: actions, per: 10m, scope: session, above: 1000000}}",
        "on: {tool: bank.create}, past: 'created and once[30m] fetches'",
        "on: {data: secrets}, past: 'reads_secrets and once[24h] fetches and once[1h] reads_pii'",
        "on: {data: pii}, limit: {count: actions, per: 24h, scope: agent, above: 1000000}",
    ]


def eager_clauses(*, holds: bool) -> list[str]:
    """The clauses of twenty rules that look at every action, and hold for a payment or never."""
    acts = "leaves" if holds else "wires and leaves"
    above = "0" if holds else "900000000000"
    return [
        *(f"past: '{acts} and once[{window}] {atom}'" for atom, window in _ONCE),
        f"past: '{acts} and not once[10m] done(scanned)'",
        f"past: '{acts} and once[24h] reads_pii and not once[20m] done(scanned)'",
        f"past: '{acts} and reads_money or {acts} and not once[30m] done(scanned)'",
        f"past: '{acts} and (not done(scanned) since[24h] reads_pii)'",
        f"past: '{acts} and (not done(scanned) since[1h] reads_secrets)'",
        f"past: '{acts} and (not done(scanned) since reads)'",
        f"past: '{acts} and previous reads', {_DONE}",
        f"past: '{acts} and previous reads_secrets', {_DONE}",
        f"past: '{acts} and pays and once[72h] created', {BY}",
        f"past: '{acts} and pays and once[24h] created', scope: agent, {BY}",
        f"limit: {{count: actions, per: 1h, above: {above}}}",
        f"limit: {{sum: args.amount, per: 24h, scope: agent, above: {above}}}, on: {{tool: bank.pay}}",
        f"limit: {{sum: args.amount, per: 24h, key: args.to, above: {above}}}, on: {{tool: bank.pay}}",
    ]


def monitor_clauses() -> list[str]:
    """The clauses of twenty rules with a formula and nothing else, each of which has seen something after `intake`."""
    more = [
        "past: 'sends and once[7d] reads_pii'",
        "past: 'sends and once[1h] reads_secrets'",
        "past: 'sends and once[12h] reads_money'",
        "past: 'sends and once reads_money'",
        "past: 'sends and (not done(scanned) since[12h] reads_money)'",
    ]
    return [one for one in eager_clauses(holds=True) if "past:" in one and "by:" not in one] + more


def sources(clauses: list[str], *, watched: bool = False) -> list[tuple[str, str]]:
    """A catalog and a policy with an everyday permission and a rule for each of the clauses, which denies."""
    end = ", then: deny, mode: monitor}" if watched else ", then: deny}"
    rules = [f"  - {{id: r{number:02}, {clause}{end}" for number, clause in enumerate(clauses)]
    # A condition that no rule needs would be evaluated all the same.
    large = _LARGE if any("large" in clause for clause in clauses) else ""
    return [("past.yaml", _CATALOG + large + _ALL + "\n".join(rules) + "\n")]


def sources_of(kind: str) -> list[tuple[str, str]]:
    """The sources of one of `KINDS`."""
    if kind == MIXED:
        return sources(mixed_clauses())
    if kind == FORMULAS:
        return sources([f"past: 'leaves and once[{hours}h] reads'" for hours in range(5, 5 + RULES)])
    return sources(eager_clauses(holds=kind != NONE_HOLDS), watched=kind == WATCHED)


def plain_sources() -> list[tuple[str, str]]:
    """The same without the twenty."""
    return sources([])


def action(tool: str, arguments: dict[str, Json], *, now_us: int) -> Action:
    """One agent's call of a tool."""
    return Action(
        tenant="default",
        subject=Subject(type="agent", id="bench"),
        name="call",
        resource=Resource(type="tool", id=tool),
        arguments=arguments,
        now_us=now_us,
    )


def payee(number: int) -> str:
    """An account; not a valid one, which nothing here asks for."""
    return f"DE89{number % PAYEES:018}"


def intake() -> tuple[str, dict[str, Json]]:
    """Of what every rule asks whether it happened: reads everything and creates the first payee."""
    return "crm.intake", {"iban": payee(0), "amount": "1"}


def payment(number: int = 0) -> tuple[str, dict[str, Json]]:
    return "bank.pay", {"to": payee(number), "amount": "12.50"}


def everyday() -> list[tuple[str, dict[str, Json]]]:
    """What agents do all day, once each."""
    return [
        ("crm.read", {"id": "c-17"}),
        ("bank.create", {"iban": payee(0)}),
        payment(),
        ("vault.read", {"id": "s-4"}),
        ("dlp.scan", {}),
        ("mail.send", {"to": "a@b.example", "body": "as agreed"}),
    ]


def round_of_payees() -> Iterator[tuple[str, dict[str, Json]]]:
    """What agents do all day, with each payee once; a history is made of it, again and again."""
    for number in range(PAYEES):
        for tool, arguments in everyday():
            yield (
                tool,
                {name: payee(number) if value == payee(0) else value for name, value in arguments.items()},
            )


def measured(kind: str) -> list[tuple[str, dict[str, Json]]]:
    """What is decided after a history of whatever length, in turns."""
    return everyday() if kind == MIXED else [payment()]
