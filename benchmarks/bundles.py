"""Bundles of any size, and actions to be decided with them.

A bundle of n rules stands for a company's: nearly all rules concern one tool each, a few concern every tool. Each
action meets the few broad rules and the eight or so of its own tool, whatever n is; each of these has a condition.
"""

from __future__ import annotations

import json

from policies.action import Action, Json, Resource, Subject

RULES_A_TOOL = 8
_RULES_A_FILE = 5_000
_BROAD = """kind: Policy
name: bench
rules:
  - {id: everyday, on: {tool: "bench.*"}, then: allow}
  - {id: huge, on: {boundary: external}, when: "args.amount > 1000000.0", then: deny, controls: [sox/404]}
"""


def tools_of(rules: int) -> int:
    """How many tools a bundle of this many rules has."""
    return max(1, (rules - 2) // RULES_A_TOOL)


_OTHERS = (
    'args.to.startsWith("KP")',
    'has(args.invoice) && args.invoice.seller.name == "Shell GmbH {number}"',
    'has(args.body) && args.body.contains("password {number}")',
)


def sources(rules: int, *, mixed: bool = False) -> list[tuple[str, str]]:
    """A catalog and policies with exactly `rules` rules (2 at least).

    Args:
        mixed: three of a tool's eight rules are about texts; otherwise all are thresholds, as rules about money are.
    """
    catalog = ["kind: Catalog", "tools:"]
    for tool in range(tools_of(rules)):
        catalog.append(
            f"  bench.tool-{tool}: {{system: core, effects: [pay, write], boundary: external, data: [], args: "
            "{to: {type: iban, role: destination}, amount: {type: decimal}, body: {role: content}, "
            "invoice: {type: object}}}"
        )
    files = [("catalog.yaml", "\n".join(catalog)), ("broad.yaml", _BROAD)]
    for first in range(0, rules - 2, _RULES_A_FILE):
        policy = ["kind: Policy", f"name: bench-{first}", "rules:"]
        for number in range(first, min(first + _RULES_A_FILE, rules - 2)):
            limit = 10_000 + number
            of_tool = number // tools_of(rules)
            when = f"args.amount > {limit}.0"
            if mixed and of_tool < len(_OTHERS):
                when = _OTHERS[of_tool].replace("{number}", str(number))
            policy.append(
                f"  - {{id: limit-{number}, on: {{tool: bench.tool-{number % tools_of(rules)}}}, "
                f"when: '{when}', then: deny, because: more than {limit}}}"
            )
        files.append((f"policy-{first}.yaml", "\n".join(policy)))
    return files


SMALL: dict[str, Json] = {"to": "DE89370400440532013000", "amount": 120.5}
NESTED: dict[str, Json] = {
    **SMALL,
    "invoice": {
        "number": "2026-1041",
        "seller": {"name": "Example GmbH", "address": {"street": "Hauptstraße 1", "city": "Berlin"}},
        "lines": [{"item": f"item {n}", "quantity": n, "price": 9.5 * n} for n in range(1, 8)],
    },
}
LARGE: dict[str, Json] = {**SMALL, "body": ("All work and no play makes an agent dull. " * 300)[:12_000]}

ARGUMENTS = {"small": SMALL, "nested": NESTED, "12 kB": LARGE}


def action(arguments: dict[str, Json], *, tool: int, now_us: int) -> Action:
    """One agent's call of a tool of the bundle."""
    return Action(
        tenant="default",
        subject=Subject(type="agent", id="bench-0000"),
        name="call",
        resource=Resource(type="tool", id=f"bench.tool-{tool}"),
        arguments=arguments,
        now_us=now_us,
    )


def evaluation(agent: str, *, tool: int, arguments: dict[str, Json] = SMALL) -> dict[str, object]:
    """The same call as the body of an AuthZEN evaluation."""
    return {
        "subject": {"type": "agent", "id": agent},
        "action": {"name": "call"},
        "resource": {"type": "tool", "id": f"bench.tool-{tool}"},
        "context": {"arguments": arguments},
    }


def bodies(agents: list[str], *, rules: int, count: int = 256) -> list[bytes]:
    """Request bodies of `count` different calls, spread over agents and tools."""
    tools = tools_of(rules)
    return [
        json.dumps(evaluation(agents[n % len(agents)], tool=n * 7 % tools)).encode() for n in range(count)
    ]


def batches(agents: list[str], *, rules: int, size: int = 100, count: int = 16) -> list[bytes]:
    """Bodies of `evaluations` calls with `size` items each."""
    tools = tools_of(rules)
    return [
        json.dumps(
            {
                "evaluations": [
                    evaluation(agents[(n * size + item) % len(agents)], tool=(n + item * 7) % tools)
                    for item in range(size)
                ]
            }
        ).encode()
        for n in range(count)
    ]
