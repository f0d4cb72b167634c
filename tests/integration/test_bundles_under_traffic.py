"""Bundles activated one after another in the midst of traffic: what was answered, and what stands in evidence, is what
the bundle that it names says, and nobody goes back to an older one."""

from __future__ import annotations

import random
import threading
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

import httpx
import pytest
from integration.plane import Running, decode, wait_until

from actors.ids import agent_key
from actors.placement import host_of

pytestmark = pytest.mark.ray

ACTIVATIONS = 120
AGENTS_A_HOST = 2
ITEMS = 12
MOST = 700
"""Amounts are whole numbers up to this."""

CATALOG = """
kind: Catalog
tools:
  swap.pay: {system: ledger, effects: [pay], boundary: external, data: [], args: {amount: {type: decimal}}}
---
kind: Policy
name: swap
rules:
"""


@dataclass(frozen=True, slots=True)
class Rules:
    """A bundle that decides by the amount alone; its number stands in its rules' ids.

    Attributes:
        inverted: it denies what lies below its threshold, not what lies above.
    """

    number: int
    threshold: int
    inverted: bool = False

    @property
    def text(self) -> str:
        k, sign = self.number, "<" if self.inverted else ">"
        # Rules that never match come first, another number of them in each bundle: bits that were computed with one
        # bundle and read with another would say something else.
        never = [
            f"  - {{id: never-{k}-{n}, on: {{tool: swap.pay}}, when: args.amount > {9000 + n}.0, then: deny}}"
            for n in range(k)
        ]
        rules = [
            f"  - {{id: allows-{k}, on: {{tool: swap.pay}}, then: allow}}",
            f"  - {{id: denies-{k}, on: {{tool: swap.pay}}, when: args.amount {sign} {self.threshold}.0, then: deny}}",
        ]
        return CATALOG + "\n".join(never + rules) + "\n"

    def says(self, amount: int) -> tuple[str, list[str]]:
        """Effect and deciding rules."""
        denied = amount < self.threshold if self.inverted else amount > self.threshold
        return (
            ("deny", [f"swap/denies-{self.number}"]) if denied else ("allow", [f"swap/allows-{self.number}"])
        )


BUNDLES = (Rules(0, 100), Rules(1, 200), Rules(2, 300), Rules(3, 400, inverted=True), Rules(4, 500))


@dataclass(frozen=True, slots=True)
class Answered:
    """What a client was told, and which activations may have been in force: from the last one acknowledged before it
    asked to the last one begun before it heard."""

    id: str
    amount: int
    effect: str
    rules: list[str]
    bundle: str
    first: int
    last: int


@dataclass(slots=True)
class Story:
    """What the operator did and the clients heard.

    Attributes:
        digests: of the bundles, with what they say.
        order: the bundles' digests in the order of their activation; appended to before each is asked for.
        acknowledged: how many of them have been.
        lagging: the names that activations listed, with which one.
        refused: answers that were no decision, by status and code.
    """

    digests: dict[str, Rules]
    order: list[str]
    acknowledged: int = 1
    lagging: list[tuple[int, list[str]]] = field(default_factory=list)
    answers: list[Answered] = field(default_factory=list)
    refused: Counter[tuple[int, str]] = field(default_factory=Counter)
    over: threading.Event = field(default_factory=threading.Event)


@pytest.fixture
def same_policies_after(running: Running) -> Iterator[None]:
    """Whatever this test activates, the others find the policies that they know."""
    before = running.client().request("GET", "/v1/bundles")["active"]
    yield
    restored = running.client(timeout_s=60).request("POST", f"/v1/bundles/{before}/activate")
    assert restored["lagging"] == []


@pytest.fixture
def agents(running: Running) -> list[str]:
    """Some on each host, and one that has an owner of its own."""
    client = running.client(timeout_s=60)
    hosts = running.settings.hosts
    by_host: dict[int, list[str]] = {host: [] for host in range(hosts)}
    for number in range(1000):
        name = f"swap-{number}"
        by_host[host_of(agent_key("default", "agent", name), hosts)].append(name)
    hosted = [name for names in by_host.values() for name in names[:AGENTS_A_HOST]]
    for name in hosted:
        client.request("POST", "/v1/agents", {"id": name})
    client.request("POST", "/v1/agents", {"id": "swap-alone", "isolation": "dedicated"})
    wait_until(
        lambda: (
            client.decide(agent="swap-alone", tool="ledger.pay", arguments={"to": "a", "amount": 1}).allowed
        ),
        timeout_s=30,
        what="the dedicated owner to decide",
    )
    return [*hosted, "swap-alone"]


def item(agent: str, amount: int) -> dict[str, Any]:
    """The row of this action says by itself which amount it was about."""
    return {
        "subject": {"type": "agent", "id": agent},
        "action": {"name": "call"},
        "resource": {"type": "tool", "id": "swap.pay"},
        "context": {"arguments": {"amount": amount}, "tool_call_id": f"amount-{amount}"},
    }


def operate(running: Running, story: Story) -> None:
    """Activate one bundle after another, never the same twice in a row."""
    chance = random.Random(4)
    try:
        with running.http() as http:
            while len(story.order) <= ACTIVATIONS:
                digest = chance.choice([each for each in story.digests if each != story.order[-1]])
                story.order.append(digest)
                answered = decode(http.post(f"/v1/bundles/{digest}/activate", json={}).raise_for_status())
                if answered["lagging"]:
                    story.lagging.append((len(story.order) - 1, answered["lagging"]))
                story.acknowledged = len(story.order)
    finally:
        story.over.set()


def ask(http: httpx.Client, story: Story, agents: list[str], amounts: list[int]) -> None:
    """Ask once, singly or for all in a batch, and remember what came."""
    first = story.acknowledged - 1
    items = [item(agent, amount) for agent, amount in zip(agents, amounts, strict=True)]
    if len(items) == 1:
        response = http.post("/access/v1/evaluation", json=items[0])
    else:
        response = http.post("/access/v1/evaluations", json={"evaluations": items})
    last = len(story.order) - 1
    body = decode(response)
    if response.status_code != 200:
        story.refused[response.status_code, body["error"]["code"]] += 1
        return
    for amount, answer in zip(amounts, body.get("evaluations", [body]), strict=True):
        context = answer["context"]
        if "error" in context:
            story.refused[context["error"]["status"], context["error"].get("code", "")] += 1
            continue
        assert answer["decision"] == (context["effect"] == "allow")
        story.answers.append(
            Answered(
                id=context["id"],
                amount=amount,
                effect=context["effect"],
                rules=[reason["rule"] for reason in context.get("reasons", [])],
                bundle=context["bundle"],
                first=first,
                last=last,
            )
        )


def client(running: Running, key: str, story: Story, agents: list[str], seed: int, items: int) -> None:
    chance = random.Random(seed)
    with running.http(key) as http:
        while not story.over.is_set():
            asked = chance.choices(agents, k=items)
            ask(http, story, asked, [chance.randint(0, MOST) for _ in asked])


def is_in_order(found: list[str], order: list[str]) -> bool:
    """Whether bundles, as one log names them, could have been in force in this order, some of them for no decision."""
    position = 0
    for digest in found:
        while position < len(order) and order[position] != digest:
            position += 1
        if position == len(order):
            return False
    return True


@pytest.mark.usefixtures("same_policies_after")
def test_every_decision_is_what_the_bundle_that_it_names_says(running: Running, agents: list[str]) -> None:
    operator = running.client(timeout_s=60)
    key = operator.request("POST", "/v1/keys", {"role": "gateway", "agents": ["swap-*"], "rate_per_s": 0})[
        "key"
    ]
    stored = {}
    for rules in BUNDLES:
        body = {"sources": [{"name": "swap.yaml", "text": rules.text}], "activate": rules is BUNDLES[-1]}
        stored[operator.request("POST", "/v1/bundles", body)["digest"]] = rules
    assert len(stored) == len(BUNDLES)
    story = Story(stored, [list(stored)[-1]])

    with ThreadPoolExecutor(6) as pool:
        sizes = (1, 1, 1, ITEMS, ITEMS)
        clients = [
            pool.submit(client, running, key, story, agents, seed, items) for seed, items in enumerate(sizes)
        ]
        pool.submit(operate, running, story).result()
        for each in clients:
            each.result()

    print(
        f"{len(story.answers)} answers under {len(story.order)} activations; refused: {dict(story.refused)}"
    )
    assert story.lagging == []
    # An activation costs an attempt of what is on its way, and there are four: whoever meets that many is told 503.
    assert set(story.refused) <= {(503, "bundle_changing")} and sum(story.refused.values()) <= 5
    assert {answer.bundle for answer in story.answers} == set(stored)

    # Each answer is what its bundle says, and its bundle one that was in force between question and answer.
    for answer in story.answers:
        assert (answer.effect, answer.rules) == stored[answer.bundle].says(answer.amount), answer
        assert answer.bundle in story.order[answer.first : answer.last + 1], answer

    # So is each row, whether or not anybody heard of it; and every answer has one.
    running.wait_until_landed()
    names = ", ".join(f"'{name}'" for name in agents)
    rows = running.table_rows(
        "SELECT event_id, log_id, seq, tool_call_id, decision, rule_ids, bundle_hash FROM evidence"
        f" WHERE event_type = 'decision' AND tool_name = 'swap.pay' AND agent_id IN ({names}) ORDER BY log_id, seq"
    )
    by_id = {row["event_id"]: row for row in rows}
    assert len(by_id) == len(rows)
    for row in rows:
        amount = int(row["tool_call_id"].removeprefix("amount-"))
        assert (row["decision"], row["rule_ids"]) == stored[row["bundle_hash"]].says(amount), row
    for answer in story.answers:
        row = by_id.pop(answer.id)
        assert (row["decision"], row["rule_ids"], row["bundle_hash"], row["tool_call_id"]) == (
            answer.effect,
            answer.rules,
            answer.bundle,
            f"amount-{answer.amount}",
        )
    assert len(by_id) == 0

    # No owner ever went back to an older one, and what the control store wrote down is what the operator did.
    logs = {row["log_id"] for row in rows}
    assert len(logs) == running.settings.hosts + 1
    for log_id in logs:
        assert is_in_order([row["bundle_hash"] for row in rows if row["log_id"] == log_id], story.order), (
            log_id
        )
    activated = running.table_rows(
        "SELECT bundle_hash FROM evidence WHERE event_type = 'bundle_activated' ORDER BY log_id, seq"
    )
    assert [row["bundle_hash"] for row in activated][-len(story.order) :] == story.order


@pytest.mark.parametrize(
    ("found", "order", "expected"),
    [
        ("", "ab", True),
        ("aabb", "ab", True),
        ("b", "ab", True),
        ("aba", "ab", False),
        ("aba", "aba", True),
        ("ac", "ab", False),
    ],
)
def test_going_back_would_be_noticed(found: str, order: str, expected: bool) -> None:
    assert is_in_order(list(found), list(order)) is expected
