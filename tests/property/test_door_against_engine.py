"""The door of a whole control plane against a plain use of the engine: it never permits what the engine does not.

Policies are drawn from a set of rules, agents change what they are, and requests are drawn well formed and then spoilt:
parts of another type or missing, keys that nobody knows, numbers without measure, bytes that are no JSON. What the door
answers is compared with `compile_sources`, a fresh `Preparer` and `decide` on the action as a plain reader of the body
sees it. Neither half knows of the other's caches, batches, versions and owners.
"""

from __future__ import annotations

import hashlib
import itertools
import json
import logging
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from functools import lru_cache
from typing import Any

import pytest
import rfc8785
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from unit.service.in_process_plane import Answer, InProcessPlane, bundle_body, in_process_plane

from actors.placement import host_of
from policies.action import Action, Resource, Subject
from policies.bundle import Bundle
from policies.compile import compile_sources
from policies.effect import Effect
from policies.error import PolicyErrors
from policies.prepare import Preparer
from policies.rewriting import REWRITE_UNSTABLE, Rewriting, prepare
from policies.verdict import Verdict, decide, modified, rewriting

log = logging.getLogger(__name__)

# Fewer or more, by a Hypothesis profile, in the proportion of its `max_examples` to the usual 100.
BUNDLES = max(1, settings.default.max_examples * 30 // 100) if settings.default else 30
SEQUENCES = BUNDLES

CLOSED = """
kind: Catalog
tools:
  bank.pay:
    system: core
    effects: [pay, write]
    data: []
    boundary: external
    actions: [call]
    args: {to: {type: iban, role: destination, required: true}, amount: {type: decimal}, note: {type: string}}
  bank.read: {system: core, effects: [read], data: [financial], boundary: internal, args: {items: {type: list}}}
  mail.send:
    {system: mail, effects: [send], boundary: external, args: {to: {type: email}, note: {}, flag: {type: boolean}}}
  mail.read: {system: mail, effects: [read], data: [pii], boundary: internal}
  vague: {}
resources:
  todo: {"**": {effects: [write]}}
systems: {core: {jurisdiction: EU}, mail: {jurisdiction: US}}
"""
OPEN = """
kind: Catalog
tools:
  bank.*: {system: core, effects: [write], boundary: internal}
  mail.*: {effects: [send]}
resources:
  todo: {"**": {effects: [write]}}
"""
RULES = [
    "on: {tool: bank.*}, then: allow",
    "on: {tool: [mail.send, vague]}, then: allow",
    "on: {effect: read}, then: allow",
    "on: {}, then: allow",
    "on: {resource_type: todo}, then: allow",
    "on: {subject_type: user}, then: allow",
    "on: {tool: bank.pay}, when: args.amount <= 100.0, then: allow",
    'on: {tool: bank.pay}, when: args.to.startsWith("DE"), then: allow',
    "on: {resource_type: todo}, when: resource.properties.public == true, then: allow",
    'on: {effect: send}, when: subject.owner == "ops", then: allow',
    'on: {tool: mail.*}, when: "trusted" in subject.labels, then: allow',
    'on: {}, when: now > timestamp("2020-01-01T00:00:00Z"), then: allow',
    'on: {}, when: context.purpose == "audit", then: allow',
    "on: {tool: bank.pay}, when: args.amount > 1000.0, then: deny, because: too much",
    "on: {data: pii, boundary: external}, then: deny",
    "on: {effect: pay}, when: subject.attributes.level < 3.0, then: deny",
    'on: {}, when: has(args.note) && args.note.matches("[0-9]{4}"), then: deny',
    'on: {}, when: context.env == "prod", then: deny',
    "on: {}, when: size(args) > 3, then: deny",
    "on: {agent_label: blocked}, then: deny",
    "on: {agent: bot-2}, then: deny",
    "on: {action: erase}, then: deny",
    "on: {}, when: args.items.exists(item, item.n > 5.0), then: deny",
    "on: {}, when: args.flag, then: deny",
    "on: {jurisdiction: US}, then: deny",
    'on: {}, when: action.name == "erase" || resource.type != "tool", then: deny',
    'on: {subject_type: user}, when: !("treasury" in subject.roles), then: deny',
    'on: {}, when: has(args.to) && args.to.endsWith("!"), then: deny',
    "on: {tool: bank.pay}, then: modify, modify: [{at: /amount, clamp: {max: 500}}]",
    "on: {tool: mail.*}, then: modify, modify: [{at: /note, redact: [email, card-number]}, {at: /note, mask: {}}]",
    "on: {tool: bank.pay}, when: args.note == 'hi', then: modify, modify: [{at: /note, set: '1234'}]",
    "on: {effect: send}, then: modify, modify: [{at: /to, allow-list: [DE89, a@b.example]}]",
    "on: {tool: mail.send}, limit: {count: actions, above: 0}, then: modify, modify: [{at: /flag, remove: true}]",
    "on: {agent_label: x}, then: modify, modify: [{at: /to, set: DE89}]",
]
AGENTS = ("bot-0", "bot-1", "bot-2", "other")
PRINCIPALS = {"ann": ("treasury",), "bob": ()}
"""Users, and their roles."""
KEYS: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "operator": (("*",), ("*:*",)),
    "gateway": (("bot-*",), ("user:a*",)),
    "agent": (("bot-0",), ()),
}
"""For each key, the agents and the other subjects that it speaks for."""
NOT_THE_RULES = {
    "unknown_agent",
    "unknown_subject",
    "unknown_session",
    "idempotency_key_spent",
}


def sources_of(
    rules: tuple[int, ...], catalog: str, default: str, uncatalogued: str
) -> list[tuple[str, str]]:
    listed = "".join(f"  - {{id: r{number}, {RULES[number]}}}\n" for number in rules)
    bundle = f"kind: Bundle\nname: b\ndefault: {default}\nuncatalogued: {uncatalogued}\n"
    policy = f"kind: Policy\nname: p\nrules:\n{listed}"
    return [("0.yaml", f"{catalog}---\n{bundle}---\n{policy}")]


@lru_cache
def compiles(rule: int, catalog: str) -> bool:
    """Whether a rule fits a catalog; what a closed one does not know is refused by the compiler."""
    try:
        compile_sources(sources_of((rule,), catalog, "deny", "deny"))
    except PolicyErrors:
        return False
    return True


@dataclass(frozen=True)
class Engine:
    """The engine, used plainly."""

    bundle: Bundle

    @classmethod
    def of(cls, sources: list[tuple[str, str]]) -> Engine:
        return cls(compile_sources(sources))

    def verdict(
        self, body: Mapping[str, Any], facts: Mapping[str, Any]
    ) -> tuple[Verdict, Mapping[str, Any] | None]:
        """What the policies say of the action in a body, and what its arguments are rewritten to. A new `Preparer` each
        time: nothing is remembered."""
        subject, resource, context = body["subject"], body["resource"], body.get("context", {})
        ours = ("session", "arguments", "idempotency_key", "dry_run", "trace_id", "span_id", "tool_call_id")
        action = Action(
            tenant="default",
            subject=Subject(type=subject["type"], id=subject["id"], **facts),
            name=body["action"]["name"],
            resource=Resource(
                type=resource["type"], id=resource["id"], properties=resource.get("properties", {})
            ),
            arguments=context.get("arguments", {}),
            context={name: value for name, value in context.items() if name not in ours},
            now_us=time.time_ns() // 1000,
        )
        before = self._rewriting(action, None)
        # That of the limit, which the action itself exceeds, asks for more than its atom.
        rules = () if before.rules else self._wanted(before)
        found = self._rewriting(action, rules) if rules else before
        refusal = found.prepared.refusal
        if refusal is None and self._wanted(found):
            refusal = REWRITE_UNSTABLE
        verdict = decide(
            self.bundle,
            possibly=found.prepared.possibly,
            certainly=found.prepared.certainly,
            refusal=refusal,
        )
        made = found.action.arguments if found.rules else None
        return modified(self.bundle, verdict, found.rules), made

    def _rewriting(self, action: Action, rules: tuple[int, ...] | None) -> Rewriting:
        return prepare(Preparer(self.bundle), action, rules)

    def _wanted(self, found: Rewriting) -> tuple[int, ...]:
        return rewriting(
            self.bundle, possibly=found.prepared.possibly, wanted=found.wanted, clauses=lambda _: True
        )


@dataclass
class World:
    """The plane, and what a reader of this test knows of it."""

    plane: InProcessPlane
    keys: dict[str, str]
    sessions: dict[str, str] = field(default_factory=dict)
    agents: dict[str, dict[str, Any]] = field(default_factory=dict)
    told: dict[str, bool] = field(default_factory=dict)
    # (subject type, id, idempotency key) → the decisions: id, whether it was permitted, of what, and what instead. A
    # spoilt key may come again under the next bundle.
    bound: dict[tuple[str, str, str], list[tuple[str, bool, str, bytes | None]]] = field(default_factory=dict)
    seen: Counter[str] = field(default_factory=Counter)
    numbers: Iterator[int] = field(default_factory=itertools.count)

    def register(self, agent: str, facts: dict[str, Any]) -> None:
        self.plane.register(agent, **facts)
        self.agents[agent] = self.agents.get(agent, {}) | facts

    def facts(self, subject_type: str, subject_id: str) -> dict[str, Any] | None:
        """What is registered of a subject; None = it is not."""
        if subject_type == "user":
            roles = PRINCIPALS.get(subject_id)
            return None if roles is None else {"roles": roles}
        if subject_type != "agent" or subject_id not in self.agents:
            return None
        found = self.agents[subject_id]
        return {
            "labels": tuple(found.get("labels", ())),
            "owner": found.get("owner"),
            "attributes": found.get("attributes", {}),
        }


def may_speak(key: str, subject_type: str, subject_id: str) -> bool:
    agents, subjects = KEYS[key]
    if subject_type == "agent":
        return any(fnmatchcase(subject_id, pattern) for pattern in agents)
    return any(fnmatchcase(f"{subject_type}:{subject_id}", pattern) for pattern in subjects)


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with in_process_plane(tmp_path_factory.mktemp("plane"), channels=True) as plane:
        keys = {"operator": plane.operator}
        keys["gateway"] = plane.make_key(role="gateway", agents=["bot-*"], subjects=["user:a*"])[1]
        keys["agent"] = plane.make_key(role="agent", agents=["bot-0"])[1]
        world = World(plane, keys)
        for user, roles in PRINCIPALS.items():
            made = plane.send("POST", "/v1/principals", {"id": user, "roles": list(roles)})
            assert made.status == 201
        for agent in AGENTS:
            world.register(agent, {"labels": [], "owner": None, "attributes": {}})
            world.sessions[agent] = plane.send("POST", "/v1/sessions", {"agent": agent}).json["session"]
        assert {host_of(f"default/agent/{agent}", 2) for agent in AGENTS} == {0, 1}
        yield world
        log.info("%d decisions: %s", len(world.told), dict(world.seen.most_common()))
        # Everything that anybody was told stands in evidence, as it was told.
        rows = {row["event_id"]: row["decision"] in ("allow", "modify") for row in plane.decision_rows()}
        assert {identity: rows.get(identity) for identity in world.told} == world.told


# -- what is asked ------------------------------------------------------------------------------------------------

texts = st.one_of(
    st.sampled_from(
        [
            "DE89",
            "DE89 3704",
            "a@b.example",
            "x!",
            "1234",
            "12",
            "",
            "prod",
            "audit",
            "é",
            "e\u0301",
            "𝕏",
            "\u202e",
            "\\u0000",
        ]
    ),
    st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=12),
)
numbers = st.one_of(
    st.sampled_from(
        [0, -0.0, 1, 12, 12.5, 100, 100.01, 999.999, 1000, 1000.01, 1e300, 5e-300, -1, 2**53 - 1]
    ),
    st.integers(-(2**53) + 1, 2**53 - 1),
    st.integers(-(10**7), 10**7).map(lambda cents: cents / 100),
)
scalars = st.one_of(st.none(), st.booleans(), numbers, texts)
values = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=6,
)
plain_arguments = st.fixed_dictionaries(
    {"to": st.sampled_from(["DE89", "a@b.example", "x!"])},
    optional={
        "amount": st.sampled_from([1, 12, 100.01, 999.99, 1000.01]),
        "note": st.sampled_from(["hi", "1234"]),
    },
)
arguments = st.one_of(
    plain_arguments,
    plain_arguments,
    st.fixed_dictionaries(
        {}, optional={"items": st.lists(st.fixed_dictionaries({"n": numbers}), max_size=3)}
    ),
    st.fixed_dictionaries(
        {},
        optional={
            "to": texts,
            "amount": numbers | values,
            "note": texts | values,
            "flag": st.booleans() | values,
            "items": values,
            "extra": values,
        },
    ),
    st.dictionaries(texts, values, max_size=5),
)
subjects = st.sampled_from(
    [{"type": "agent", "id": agent} for agent in AGENTS] * 4
    + [{"type": "user", "id": user} for user in (*PRINCIPALS, "eve")]
    + [{"type": "agent", "id": "nobody"}, {"type": "robot", "id": "bot-0"}, {"type": "user", "id": "bot-0"}]
)
resources = st.one_of(
    st.sampled_from(
        ["bank.pay", "bank.pay", "bank.read", "mail.send", "mail.read", "vague", "bank.other", "x"]
    ).map(lambda tool: {"type": "tool", "id": tool}),
    st.builds(
        lambda id_, properties: {"type": "todo", "id": id_, "properties": properties},
        st.sampled_from(["a", "a/b", "bank.pay"]),
        st.sampled_from([{}, {"public": True}, {"public": False}, {"public": "true"}, {"public": 1}]),
    ),
)
contexts = st.fixed_dictionaries(
    {"arguments": arguments},
    optional={
        "env": st.sampled_from(["prod", "test", "test", 1, None]),
        "purpose": st.sampled_from(["audit", "fun", True]),
        "dry_run": st.sampled_from([True, False, None]),
        # Replaced by ones of this example: what is drawn is only which.
        "session": st.sampled_from(["own", "own", "own", None, "foreign", "forged"]),
        "idempotency_key": st.sampled_from(["k1", "k2"]),
        "trace_id": st.just("a" * 32),
    },
)
questions = st.fixed_dictionaries(
    {
        "subject": subjects,
        "action": st.sampled_from([{"name": "call"}, {"name": "call"}, {"name": "erase"}]),
        "resource": resources,
        "context": contexts,
    }
)


@st.composite
def spoilt(draw: st.DrawFn) -> tuple[dict[str, Any], list[tuple[Any, ...]]]:
    """A good question, and what is to be done to it: (where, what), as indexes so that anything can be spoilt."""
    changes = st.tuples(
        st.integers(0, 10**6),
        st.sampled_from(["replace", "drop", "wrap", "add", "rename", "number", "id"]),
        values,
    )
    return draw(questions), draw(st.lists(changes, min_size=1, max_size=3))


@dataclass(frozen=True)
class Step:
    """One thing that is done: `kind` says which of the other fields counts."""

    kind: str
    key: str = "operator"
    question: Any = None
    changes: tuple[tuple[Any, ...], ...] = ()
    batch: tuple[Any, ...] = ()
    semantic: str | None = None
    hoist: bool = False
    form: int = 0
    cut: tuple[int, int, bytes] = (0, 0, b"")
    facts: Any = None


keys = st.sampled_from(["operator"] * 8 + ["gateway", "agent"])
forms = st.integers(0, 3)
steps = st.one_of(
    st.builds(Step, kind=st.just("ask"), key=keys, question=questions, form=forms),
    st.builds(Step, kind=st.just("ask"), key=keys, question=questions, form=forms),
    st.builds(Step, kind=st.just("again"), cut=st.tuples(st.integers(0, 10**6), st.just(0), st.just(b""))),
    spoilt().map(lambda both: Step(kind="spoilt", question=both[0], changes=tuple(both[1]))),
    st.builds(
        Step,
        kind=st.just("bytes"),
        question=questions,
        cut=st.tuples(st.integers(0, 10**6), st.integers(0, 3), st.binary(max_size=3)),
    ),
    st.builds(
        Step,
        kind=st.just("batch"),
        key=keys,
        batch=st.lists(questions | spoilt(), min_size=1, max_size=5).map(tuple),
        semantic=st.sampled_from([None, "execute_all", "deny_on_first_deny", "permit_on_first_permit"]),
        hoist=st.booleans(),
        form=forms,
    ),
    st.builds(
        Step,
        kind=st.just("register"),
        question=st.sampled_from(AGENTS),
        facts=st.fixed_dictionaries(
            {},
            optional={
                "labels": st.lists(st.sampled_from(["trusted", "blocked", "x"]), max_size=2),
                "owner": st.sampled_from([None, "ops", "dev"]),
                "attributes": st.sampled_from([{}, {"level": 1}, {"level": 5}, {"level": "5"}]),
            },
        ),
    ),
)


@st.composite
def bundles(draw: st.DrawFn) -> list[tuple[str, str]]:
    catalog = draw(st.sampled_from([CLOSED, OPEN]))
    fitting = [number for number in range(len(RULES)) if compiles(number, catalog)]
    allowing = [number for number in fitting if "then: allow" in RULES[number]]
    denying = [number for number in fitting if "then: deny" in RULES[number]]
    modifying = [number for number in fitting if "then: modify" in RULES[number]]
    rules = draw(st.lists(st.sampled_from(allowing), min_size=1, max_size=6, unique=True))
    rules += draw(st.lists(st.sampled_from(denying), max_size=5, unique=True))
    rules += draw(st.lists(st.sampled_from(modifying), max_size=3, unique=True))
    default = draw(st.sampled_from(["deny", "deny", "allow"]))
    uncatalogued = draw(st.sampled_from(["deny", "deny", "allow"]))
    return sources_of(tuple(sorted(rules)), catalog, default, uncatalogued)


# -- asking -------------------------------------------------------------------------------------------------------


def places(value: Any) -> list[tuple[Any, Any]]:
    """Every (container, key or index) of a tree, in document order."""
    found: list[tuple[Any, Any]] = []
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, child in list(items):
        found.append((value, key))
        found.extend(places(child))
    return found


def spoil(question: dict[str, Any], changes: tuple[tuple[Any, ...], ...]) -> dict[str, Any]:
    spoilt: dict[str, Any] = json.loads(json.dumps(question))
    for where, what, value in changes:
        container, key = (all_places := places(spoilt))[where % len(all_places)]
        match what:
            case "replace":
                container[key] = value
            case "drop":
                del container[key]
            case "wrap":
                container[key] = [container[key]]
            case "add" if isinstance(container, dict):
                container[str(value)[:20]] = value
            case "rename" if isinstance(container, dict):
                container[f"{key}\u200b"] = container.pop(key)
            case "number":
                container[key] = where * 10**12
            case _:
                container[key] = f"{value}"
        if not places(spoilt):
            break
    return spoilt


def written(value: Any, form: int) -> bytes:
    """One of the ways to write the same JSON."""
    if form == 0:
        return json.dumps(value).encode()
    if form == 1:
        return json.dumps(value, ensure_ascii=False).encode()
    if form == 2:
        return json.dumps(value, indent=1, sort_keys=True).encode()
    return json.dumps(value, separators=(",", ":")).encode()


class Example:
    """One bundle, and what is asked while it is active."""

    def __init__(self, world: World, sources: list[tuple[str, str]]) -> None:
        self.world = world
        self.engine = Engine.of(sources)
        self.number = next(world.numbers)
        self.sent: list[dict[str, Any]] = []
        body = bundle_body(*(text for _, text in sources), activate=True)
        answer = world.plane.send("POST", "/v1/bundles", body)
        assert answer.status == 201 and answer.json["lagging"] == [], answer
        assert answer.json["digest"] == self.engine.bundle.digest

    def run(self, step: Step) -> None:
        match step.kind:
            case "ask":
                self.sent.append(self.filled(step.question))
                self.ask(self.sent[-1], step)
            case "spoilt":
                self.ask(spoil(self.filled(step.question), step.changes), step, good=False)
            case "bytes":
                raw = written(self.filled(step.question), 0)
                at, gone, put = step.cut
                at %= len(raw)
                self.ask(raw[:at] + put + raw[at + gone :], step, good=False)
            case "again" if self.sent:
                body = self.sent[step.cut[0] % len(self.sent)]
                self.world.seen["asked again"] += 1
                self.ask(body, step)
            case "batch":
                self.batch(step)
            case "register":
                self.world.register(step.question, step.facts)

    def filled(self, question: dict[str, Any]) -> dict[str, Any]:
        """With a session and an idempotency key of this world in the place of the drawn ones."""
        context = dict(question["context"])
        subject = question["subject"]
        own = self.world.sessions.get(subject["id"], "ses_" + "A" * 43)
        sessions = {
            "own": own,
            "foreign": self.world.sessions["other" if subject["id"] != "other" else "bot-0"],
            "forged": own[:-2] + ("AA" if not own.endswith("AA") else "EA"),
        }
        if context.get("session"):
            context["session"] = sessions[context["session"]]
        if "idempotency_key" in context:
            context["idempotency_key"] = f"{self.number}-{context['idempotency_key']}"
        return {**question, "context": context}

    def ask(self, body: dict[str, Any] | bytes, step: Step, *, good: bool = True) -> None:
        raw = body if isinstance(body, bytes) else written(body, step.form)
        key = self.world.keys[step.key]
        answer = self.world.plane.send("POST", "/access/v1/evaluation", raw, key=key)
        clear(answer)
        if answer.status == 200:
            self.compare(json.loads(raw), answer.json, step.key)
            return
        error = answer.json["error"]
        self.world.seen[f"{answer.status} {error['code']}"] += 1
        if good:
            # A good question is answered, or not this key's business, or its idempotency key is another action's.
            self.justified(json.loads(raw), error["code"], step.key)
        else:
            assert answer.status in (400, 403, 409), answer

    def batch(self, step: Step) -> None:
        items, good = [], []
        for item in step.batch:
            is_good = isinstance(item, dict)
            items.append(self.filled(item) if is_good else spoil(self.filled(item[0]), tuple(item[1])))
            good.append(is_good)
        body: dict[str, Any] = {"evaluations": items}
        if step.semantic:
            body["options"] = {"evaluations_semantic": step.semantic}
        if step.hoist and all(good):
            body["subject"] = items[0]["subject"]
            body["evaluations"] = [
                {name: part for name, part in item.items() if name != "subject" or part != body["subject"]}
                for item in items
            ]
        key = self.world.keys[step.key]
        raw = written(body, step.form)
        answer = self.world.plane.send("POST", "/access/v1/evaluations", raw, key=key)
        clear(answer)
        if answer.status != 200:
            assert answer.status == 400 and not all(good), answer
            return
        answers = answer.json["evaluations"]
        read = json.loads(raw)["evaluations"]
        decisions = [each["decision"] for each in answers]
        stop = {"deny_on_first_deny": False, "permit_on_first_permit": True}.get(step.semantic or "")
        if stop is None:
            assert len(answers) == len(items)
        else:
            assert stop not in decisions[:-1]
            assert len(answers) == len(items) or decisions[-1] is stop
        for item, each, is_good in zip(read, answers, good, strict=False):
            whole = {"subject": body["subject"], **item} if "subject" in body else item
            error = each["context"].get("error")
            if error is None:
                self.compare(whole, each, step.key)
                continue
            self.world.seen[f"item: {error['status']} {error['code']}"] += 1
            assert each["decision"] is False and error["status"] in (400, 403, 409), each
            if is_good:
                self.justified(whole, error["code"], step.key)

    def justified(self, body: dict[str, Any], code: str, key: str) -> None:
        """Why a good question was refused."""
        subject = body["subject"]
        if code == "foreign_subject":
            assert not may_speak(key, subject["type"], subject["id"])
            return
        assert code == "idempotency_conflict", code
        bound = (subject["type"], subject["id"], body["context"]["idempotency_key"])
        assert bound in self.world.bound

    def compare(self, body: dict[str, Any], answer: dict[str, Any], key: str) -> None:
        """The heart of it: what the service answered beside what the engine says."""
        decision, context = answer["decision"], answer["context"]
        assert type(decision) is bool
        subject, sent = body["subject"], body.get("context", {})
        assert may_speak(key, subject["type"], subject["id"])
        facts = self.world.facts(subject["type"], subject["id"])
        session, reason = sent.get("session"), context["reason_code"]
        own = subject["type"] == "agent" and session == self.world.sessions.get(subject["id"])
        bound = (subject["type"], subject["id"], sent.get("idempotency_key") or "")
        said, made = self.engine.verdict(body, facts or {})
        self.world.seen[reason] += 1

        permitted = decision or context["effect"] in ("allow", "modify")
        if permitted:
            # Nobody is permitted anything whom nobody registered, or in a session that is not theirs.
            assert facts is not None, (body, answer)
            assert session is None or own, (body, answer)
        if context.get("replayed"):
            # What was said before of this very action.
            told = (context["id"], decision, action_of(body), obliged(answer))
            assert told in self.world.bound[bound], (body, answer)
            self.world.seen["replayed"] += 1
            return
        if permitted:
            # The property: never what the engine does not permit, by the policies that are active.
            assert context["bundle"] == self.engine.bundle.digest
            assert said.effect in (Effect.ALLOW, Effect.MODIFY), (body, answer)
        if sent.get("dry_run") is True:
            assert decision is False and context["dry_run"] is True and context["id"] == ""
        else:
            assert decision is permitted
            assert self.world.told.setdefault(context["id"], decision) is decision
        if reason in NOT_THE_RULES:
            assert not permitted
            match reason:
                case "unknown_agent" | "unknown_subject":
                    assert facts is None
                case "unknown_session":
                    assert session is not None and not own
                case _:
                    assert bound in self.world.bound
            return
        # Both decided, so both say the same, and for the same reasons.
        assert facts is not None and (session is None or own), (body, answer)
        assert (context["effect"], reason) == (str(said.effect), said.reason_code), (body, answer)
        assert [each["rule"] for each in context["reasons"]] == [each.rule for each in said.reasons]
        # And of the same arguments: those that were sent, or what the rules made of them.
        final = sent.get("arguments", {}) if made is None else made
        assert context["arguments_digest"] == hashlib.sha256(rfc8785.dumps(final)).hexdigest()
        expected = rfc8785.dumps(final) if said.effect is Effect.MODIFY else None
        assert obliged(answer) == expected, (body, answer)
        if bound[2] and not sent.get("dry_run"):
            told = (context["id"], decision, action_of(body), obliged(answer))
            self.world.bound.setdefault(bound, []).append(told)


def action_of(body: dict[str, Any]) -> str:
    """What an idempotency key is bound to: everything that is to be done, and in which session."""
    context = body.get("context", {})
    parts = [context.get("session"), body["action"]["name"], body["resource"]["type"], body["resource"]["id"]]
    return rfc8785.dumps([*parts, context.get("arguments", {})]).decode()


def obliged(answer: dict[str, Any]) -> bytes | None:
    """The arguments that are to be executed instead of what was asked; None where there is no obligation."""
    match answer["context"].get("obligations"):
        case None:
            return None
        case [{"type": "custom", "properties": {"modify_arguments": dict(made)}}]:
            return rfc8785.dumps(made)
        case other:
            raise AssertionError(other)


def clear(answer: Answer) -> None:
    """No failure of ours, no word of the inside; a refusal says what is wrong."""
    assert answer.status in (200, 400, 403, 409), answer
    text = answer.body.decode()
    for inside in ("Traceback", 'File "', "site-packages", ".py:", "Error(", "Exception"):
        assert inside not in text, answer
    if answer.status != 200:
        error = answer.json["error"]
        assert error["code"] and error["message"]


UNHURRIED = [HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.function_scoped_fixture]


@settings(max_examples=BUNDLES, deadline=None, suppress_health_check=UNHURRIED)
@given(sources=bundles(), asked=st.lists(steps, min_size=15, max_size=60))
def test_the_service_never_permits_what_the_engine_does_not(
    world: World, sources: list[tuple[str, str]], asked: list[Step]
) -> None:
    example = Example(world, sources)
    for step in asked:
        example.run(step)


TOO_SWEEPING = (
    "on: {}, then: allow",
    'on: {}, when: now > timestamp("2020-01-01T00:00:00Z"), then: allow',
    "on: {}, when: args.flag, then: deny",
    "on: {}, when: args.items.exists(item, item.n > 5.0), then: deny",
    'on: {}, when: context.env == "prod", then: deny',
)
RICH = sources_of(
    tuple(n for n in range(len(RULES)) if RULES[n] not in TOO_SWEEPING and compiles(n, CLOSED)),
    CLOSED,
    "deny",
    "deny",
)


@settings(max_examples=SEQUENCES, deadline=None, suppress_health_check=UNHURRIED)
@given(asked=st.lists(steps, min_size=15, max_size=60))
def test_nor_under_many_rules_at_once(world: World, asked: list[Step]) -> None:
    example = Example(world, RICH)
    for step in asked:
        example.run(step)


REWRITING = sources_of(
    tuple(n for n in range(len(RULES)) if RULES[n] == "on: {}, then: allow" or "then: modify" in RULES[n]),
    CLOSED,
    "deny",
    "deny",
)


@settings(max_examples=SEQUENCES, deadline=None, suppress_health_check=UNHURRIED)
@given(asked=st.lists(steps, min_size=15, max_size=60))
def test_nor_other_arguments_than_rules_make_of_them(world: World, asked: list[Step]) -> None:
    example = Example(world, REWRITING)
    for step in asked:
        example.run(step)


@pytest.mark.parametrize(
    ("amount", "more", "reason"),
    [
        (12, {}, "rule_allow"),
        (5000, {}, "rule_deny"),
        ("much", {}, "rule_deny"),
        (12, {"env": "prod"}, "rule_deny"),
        (12, {"env": "test", "purpose": 1}, "rule_allow"),
    ],
)
def test_the_many_rules_allow_and_deny(world: World, amount: Any, more: dict[str, Any], reason: str) -> None:
    """So that what is compared above is not one deny with another."""
    rules = tuple(number for number in range(len(RULES)) if RULES[number] in PLAIN)
    example = Example(world, sources_of(rules, CLOSED, "deny", "deny"))
    world.register("bot-0", {"labels": [], "owner": "ops", "attributes": {"level": 5}})
    body: dict[str, Any] = {
        "subject": {"type": "agent", "id": "bot-0"},
        "action": {"name": "call"},
        "resource": {"type": "tool", "id": "bank.pay"},
        "context": {"arguments": {"to": "DE89", "amount": amount}, "env": "test", **more},
    }
    facts = world.facts("agent", "bot-0")
    assert facts is not None
    assert example.engine.verdict(body, facts)[0].reason_code == reason
    assert world.plane.send("POST", "/access/v1/evaluation", body).reason == reason


PLAIN = {
    "on: {tool: bank.pay}, when: args.amount <= 100.0, then: allow",
    "on: {tool: bank.pay}, when: args.amount > 1000.0, then: deny, because: too much",
    "on: {effect: pay}, when: subject.attributes.level < 3.0, then: deny",
    'on: {}, when: context.env == "prod", then: deny',
}


def test_most_rules_of_this_test_fit_both_catalogs() -> None:
    for catalog in (CLOSED, OPEN):
        assert sum(compiles(number, catalog) for number in range(len(RULES))) >= len(RULES) * 3 // 4
