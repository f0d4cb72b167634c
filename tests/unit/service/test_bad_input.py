"""Bad input at every door of a whole control plane: a clear 4xx or a deny with a reason, and nothing of the inside."""

from __future__ import annotations

import copy
import itertools
import json
import re
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from unit.service import channel_samples
from unit.service.bad_json import BODIES, INSIDE, MEMBERS, with_member
from unit.service.in_process_plane import (
    CATALOG_AND_POLICY,
    Answer,
    InProcessPlane,
    bundle_body,
    in_process_plane,
    question,
)

from actors.approvals import journal as approval_journal
from actors.approvals.journal import Value
from actors.approvals.values import PREFIX
from actors.ids import decision_id
from controlplane_sdk.decision import arguments_digest

DOCS = (Path(__file__).parents[3] / "docs" / "api.md").read_text(encoding="utf-8")
IDS = ["", " ", "-x", "a b", "ä", "a\n", "a\u2028b", "x" * 257, 1, 1.5, True, None, [], {}, ["a"]]
OBJECTS: list[Any] = [None, 1, True, "x", [], [{}]]
LABELS = ["x", 1, None, {}, [1], [None], [""], ["x" * 129], ["x"] * 101, [["x"]]]
IDS_OF_MANY = ["x", 1, None, {}, [1], [None], [""], ["a b"], ["ä"], ["x" * 257]]
FLAGS = ["true", "", 1, 0, None, [], {}]
ATTRIBUTES = [1, "x", None, [], [{}], {"a": "x" * 17_000}]
NAMES_OF_SOURCES: list[Any] = ["", "x" * 513, 1, None, []]
TEXTS_OF_SOURCES: list[Any] = [1, None, [], {}, True]
PRINCIPALS = ["", "ada", "user:", ":ada", "user:a b", "ä:b", "user:ada\n", "x" * 257 + ":a", 1, True, [], {}]
TOKENS: list[Any] = ["", "x" * 65, 1, True, [], {}]
SCOPES: list[Any] = [
    "pay",
    1,
    [],
    {"effect": ["pay"]},
    {"effects": "pay"},
    {"effects": ["fly"]},
    {"tools": [1]},
    {"tools": ["a b"]},
    {"objects": [""]},
    {"objects": ["x" * 257]},
    {"tools": ["t"] * 65},
    {"counts": {"pay": -1}},
    {"counts": {"pay": True}},
    {"counts": ["pay"]},
]
TOOLS = [*("x", 1, True, {}), *([1], [None], [""], ["a b"], ["ä"], ["x" * 257], ["x"] * 65, ["x" * 200] * 21)]
PRINTABLE = ["", "x" * 129, "ä", "a\nb", 1, True, [], {}]


# A session that lasts as long as the plane, for bodies that name one; an approver's key; a token, and a task.
OPENED: dict[str, str] = {}
NOTES = """
kind: Catalog
tools:
  ledger.note:
    system: ledger
    effects: [write]
    data: []
    boundary: internal
    args: {text: {type: string, role: content}}
    evidence: {subject: actor, arguments: {/text: encrypt}}
"""
ASKS = """
  - id: vault
    on: {tool: ledger.read}
    when: args.account.startsWith("vault")
    then: escalate
    approve: {by: [role:treasury], quorum: 2}
"""
NUMBERS = itertools.count(1)
WORDS: list[Any] = ["x" * 2_001, 1, None, True, [], {}]
MOMENTS: list[Any] = ["", "soon", "2026-01-01", "2026-01-01T00:00:00", "x" * 41, 1, True, [], {}]


class Sample(NamedTuple):
    """One door, and what it takes.

    Attributes:
        path: one that exists, made for each use.
        status: of the answer to `body`.
        body: None = the door looks at no body.
        wrong: by field (dotted), values that it does not take.
        required: fields that cannot be left out.
        approver: whether it takes an approver's key instead of the operator's.
    """

    path: Callable[[InProcessPlane], str]
    status: int
    body: Callable[[], dict[str, Any]] | None = None
    wrong: dict[str, list[Any]] = {}  # noqa: RUF012 - read only
    required: tuple[str, ...] = ()
    approver: bool = False

    @property
    def key(self) -> str:
        return OPENED["approver"] if self.approver else ""


def at(path: str) -> Callable[[InProcessPlane], str]:
    return lambda _: path


def of_session(tail: str) -> Callable[[InProcessPlane], str]:
    return lambda plane: f"/v1/sessions/{a_session(plane)}{tail}"


def of_decision(tail: str) -> Callable[[InProcessPlane], str]:
    return lambda plane: f"/v1/decisions/{a_decision(plane)}{tail}"


def of_stop(tail: str) -> Callable[[InProcessPlane], str]:
    return lambda plane: f"/v1/stops/{a_stop(plane)}{tail}"


def a_hold(plane: InProcessPlane) -> str:
    answer = plane.send("POST", "/v1/evidence/holds", {"reason": "r", "agent": "a"})
    assert answer.status == 201, answer
    return str(answer.json["id"])


def of_bundle(tail: str) -> Callable[[InProcessPlane], str]:
    return lambda plane: f"/v1/bundles/{plane.application._fleet.directory.activation.digest}{tail}"


def of_approval(tail: str) -> Callable[[InProcessPlane], str]:
    return lambda plane: f"/v1/approvals/{a_task(plane)}{tail}"


EVALUATION: dict[str, list[Any]] = {
    **dict.fromkeys(("subject", "action", "resource"), OBJECTS),
    **dict.fromkeys(("subject.type", "subject.id", "action.name", "resource.type", "resource.id"), IDS),
    **dict.fromkeys(("subject.properties", "action.properties", "resource.properties"), OBJECTS),
    "context": OBJECTS,
    "context.arguments": OBJECTS,
    "context.session": ["", "x" * 257, "a b", "ä", 1, True, [], {}],
    "context.idempotency_key": PRINTABLE,
    "context.tool_call_id": PRINTABLE,
    "context.dry_run": ["true", "", 1, 0, [], {}],
    "context.trace_id": ["", "0" * 32, "g" * 32, "a" * 31, "a" * 33, 1, [], {}],
    "context.approval": [
        "apr_1",
        1,
        True,
        [],
        {},
        {"id": None},
        {"id": 1},
        {"id": "apr_1"},
        {"id": "x" * 40},
    ],
    "context.span_id": ["", "0" * 16, "g" * 16, "a" * 15, "a" * 17, 1, [], {}],
}
NEEDED = (
    *("subject", "action", "resource", "subject.type", "subject.id", "action.name"),
    *("resource.type", "resource.id"),
)

SAMPLES: dict[tuple[str, str], Sample] = {
    ("POST", "/access/v1/evaluation"): Sample(at("/access/v1/evaluation"), 200, question, EVALUATION, NEEDED),
    ("POST", "/access/v1/evaluations"): Sample(
        at("/access/v1/evaluations"),
        200,
        lambda: {**question(), "evaluations": [{}, {}]},
        {
            "evaluations": [None, 1, True, "x", {}],
            "options": OBJECTS,
            "options.evaluations_semantic": ["", "some", 1, True, None, [], {}],
        },
    ),
    ("POST", "/v1/sessions"): Sample(
        at("/v1/sessions"),
        201,
        lambda: {"agent": "bot", "subject_type": "agent", "task": "pay the rent"},
        {
            "agent": IDS,
            "subject_type": IDS,
            "task": ["", "x" * 65_537, 1, True, [], {}],
            "scope": SCOPES,
            "principal": PRINCIPALS,
            "parent": TOKENS,
        },
        ("agent",),
    ),
    ("POST", "/v1/delegations"): Sample(
        at("/v1/delegations"),
        201,
        lambda: {
            "session": OPENED["session"],
            "to": "other",
            "tools": ["ledger.*", "mail.send"],
            "depth": 2,
            "expires_in_s": 1,
            "principal": "user:ada",
        },
        {
            "session": [*TOKENS, None],
            "to": IDS,
            "tools": TOOLS,
            "depth": [-1, 1001, 1.5, "1", True, None, [], {}],
            "expires_in_s": [0, -1, 366 * 86_400 + 1, 1.5, "1", True, None, [], {}],
            "principal": PRINCIPALS,
        },
        ("session", "to"),
    ),
    ("POST", "/v1/sessions/{id}/task"): Sample(
        of_session("/task"),
        200,
        lambda: {"task": "and the water"},
        {"task": ["", "x" * 65_537, 1, True, None, [], {}], "scope": SCOPES},
        ("task",),
    ),
    ("POST", "/v1/sessions/{id}/end"): Sample(of_session("/end"), 200),
    ("POST", "/v1/decisions/{id}/outcome"): Sample(
        of_decision("/outcome"),
        200,
        lambda: {
            "status": "succeeded",
            "result": {"receipt": 7},
            "complete": True,
            "labels": ["a"],
            "executed_digest": arguments_digest(question()["context"]["arguments"]),
        },
        {
            "status": ["done", "", 1, True, None, [], {}],
            "result": [],  # takes anything
            "complete": FLAGS,
            "labels": LABELS,
            "executed_digest": ["", "zz", "A" * 64, "a" * 63, "a" * 65, "a" * 64 + "\n", 1, [], {}],
        },
        ("status",),
    ),
    ("GET", "/v1/decisions/{id}"): Sample(of_decision(""), 200),
    ("POST", "/v1/agents"): Sample(
        at("/v1/agents"),
        201,
        lambda: {
            "id": "bot",
            "owner": "o",
            "labels": ["a"],
            "attributes": {"level": 3},
            "tools": ["ledger.pay"],
            "isolation": "hosted",
            "standing": True,
            "version": "1",
        },
        {
            "id": IDS,
            "owner": ["x" * 513, 1, True, [], {}],
            "labels": LABELS,
            "attributes": ATTRIBUTES,
            "tools": [*IDS_OF_MANY, ["x"] * 1001],
            "isolation": ["shared", "", 1, True, [], {}],
            "standing": FLAGS,
            "version": ["x" * 129, 1, None, [], {}],
        },
        ("id",),
    ),
    ("GET", "/v1/agents"): Sample(at("/v1/agents?after=a"), 200),
    ("GET", "/v1/agents/{id}"): Sample(at("/v1/agents/bot"), 200),
    ("POST", "/v1/principals"): Sample(
        at("/v1/principals"),
        201,
        lambda: {
            "id": "ann",
            "type": "user",
            "roles": ["treasury"],
            "groups": ["emea"],
            "attributes": {"grade": "A"},
        },
        {
            "id": IDS,
            "type": IDS,
            "roles": LABELS,
            "groups": LABELS,
            "attributes": ATTRIBUTES,
        },
        ("id",),
    ),
    ("GET", "/v1/principals"): Sample(at("/v1/principals"), 200),
    ("POST", "/v1/keys"): Sample(
        at("/v1/keys"),
        201,
        lambda: {
            "role": "gateway",
            "agents": ["bot-*"],
            "subjects": ["user:*"],
            "grants": ["workflows"],
            "note": "a note",
            "expires_in_s": 60,
            "rate_per_s": 5,
        },
        {
            "role": ["root", "", 1, True, None, [], {}],
            "agents": [*IDS_OF_MANY, ["x"] * 101],
            "subjects": [*IDS_OF_MANY, ["x"] * 101],
            "grants": ["workflows", 1, None, {}, ["root"], [1]],
            "note": ["x" * 513, 1, None, [], {}],
            "expires_in_s": [0, -1, 1.5, "60", True, 10**12, [], {}],
            "rate_per_s": [-1, 1.5, "5", True, 10**9, [], {}],
        },
        ("role",),
    ),
    ("GET", "/v1/keys"): Sample(at("/v1/keys"), 200),
    ("DELETE", "/v1/keys/{id}"): Sample(lambda plane: f"/v1/keys/{a_key(plane)[0]}", 200),
    ("POST", "/v1/channels"): Sample(
        at("/v1/channels"), 201, channel_samples.a_body, channel_samples.WRONG, ("id", "kind")
    ),
    ("GET", "/v1/channels"): Sample(at("/v1/channels"), 200),
    ("GET", "/v1/channels/dead-letters"): Sample(at("/v1/channels/dead-letters?limit=5"), 200),
    ("GET", "/v1/channels/{id}/deliveries"): Sample(
        lambda plane: f"/v1/channels/{channel_samples.a_channel(plane)}/deliveries", 200
    ),
    ("POST", "/v1/channels/{id}/test"): Sample(
        lambda plane: f"/v1/channels/{channel_samples.a_channel(plane)}/test", 200
    ),
    ("POST", "/v1/channels/dead-letters/{id}/retry"): Sample(
        lambda plane: f"/v1/channels/dead-letters/{channel_samples.a_dead_letter(plane)}/retry", 200
    ),
    ("DELETE", "/v1/channels/{id}"): Sample(
        lambda plane: f"/v1/channels/{channel_samples.a_channel(plane)}", 200
    ),
    ("POST", "/v1/bundles"): Sample(
        at("/v1/bundles"),
        201,
        lambda: bundle_body(CATALOG_AND_POLICY, activate=False),
        {
            "sources": ["x", 1, None, {}, [], [1], [{}], [{"name": "a"}], [{"text": "a"}]]
            + [[{"name": name, "text": CATALOG_AND_POLICY}] for name in NAMES_OF_SOURCES]
            + [[{"name": "a", "text": text}] for text in TEXTS_OF_SOURCES]
            + [[{"name": "a", "text": CATALOG_AND_POLICY}] * 1001],
            "activate": FLAGS,
            "shadow": FLAGS,
            "past": ["", "Strict", 1, None, True, [], {}],
        },
        ("sources",),
    ),
    ("GET", "/v1/bundles"): Sample(at("/v1/bundles"), 200),
    ("GET", "/v1/bundles/{digest}"): Sample(of_bundle(""), 200),
    ("POST", "/v1/bundles/{digest}/activate"): Sample(
        of_bundle("/activate"), 200, dict, {"past": ["", "Strict", 1, None, True, [], {}]}
    ),
    ("POST", "/v1/bundles/{digest}/shadow"): Sample(of_bundle("/shadow"), 200),
    ("DELETE", "/v1/bundles/shadow"): Sample(at("/v1/bundles/shadow"), 200),
    ("POST", "/v1/stops"): Sample(
        at("/v1/stops"),
        201,
        lambda: {
            "target": {"type": "tool", "id": "nobody.uses.*"},
            "reason": "r",
            "expires_in_s": 60,
            "dry_run": False,
        },
        {
            "target": [
                *OBJECTS,
                *({"type": kind, "id": "x"} for kind in ("planet", "", "fleet", 1, True, None, [], {})),
                *({"type": "tool", "id": one} for one in IDS if one != "x"),
                *({"type": "owner", "id": one} for one in ("", "x" * 513, 1, None, [])),
                *({"type": "system", "id": one} for one in ("", "a*", "x" * 257)),
            ],
            "reason": ["", " ", "x" * 513, 1, True, None, [], {}],
            "expires_in_s": [0, -1, 1.5, "60", True, 10**12, [], {}],
            "dry_run": FLAGS,
        },
        ("target", "reason"),
    ),
    ("GET", "/v1/stops"): Sample(at("/v1/stops?over=true"), 200),
    ("GET", "/v1/stops/{id}"): Sample(of_stop(""), 200),
    ("POST", "/v1/stops/{id}/release"): Sample(
        of_stop("/release"),
        200,
        lambda: {"reason": "r"},
        {"reason": ["", " ", "x" * 513, 1, True, None, [], {}]},
        ("reason",),
    ),
    ("GET", "/v1/evidence/retention"): Sample(at("/v1/evidence/retention"), 200),
    ("POST", "/v1/evidence/retention"): Sample(
        at("/v1/evidence/retention"),
        200,
        lambda: {"keep_days": 400, "allow_shorter": False, "reason": "the law"},
        {
            "keep_days": [0, -1, 1.5, "400", True, 10**12, [], {}],
            "allow_shorter": FLAGS,
            "reason": ["x" * 513, 1, True, None, [], {}],
        },
        ("keep_days",),
    ),
    ("POST", "/v1/evidence/retention/runs"): Sample(
        at("/v1/evidence/retention/runs"), 202, lambda: {"dry_run": True}, {"dry_run": FLAGS}
    ),
    ("GET", "/v1/evidence/holds"): Sample(at("/v1/evidence/holds"), 200),
    ("POST", "/v1/evidence/holds"): Sample(
        at("/v1/evidence/holds"),
        201,
        lambda: {"reason": "r", "agent": "a", "first": "2026-01-01", "last": "2026-12-31"},
        {
            "reason": ["", " ", "x" * 513, 1, True, None, [], {}],
            "agent": [one for one in IDS if one is not None],
            "session": ["", "x" * 129, 1, True, [], {}],
            "workflow": [one for one in IDS if one is not None],
            "tenant": [one for one in IDS if one is not None],
            "first": ["", "yesterday", "2026-02-30", "2026-1-1", "2027-01-01", 1, True, [], {}],
            "last": ["", "yesterday", "2026-02-30", "2026-1-1", "2025-12-31", 1, True, [], {}],
        },
        ("reason",),
    ),
    ("POST", "/v1/evidence/holds/{id}/release"): Sample(
        lambda plane: f"/v1/evidence/holds/{a_hold(plane)}/release",
        200,
        lambda: {"reason": "r"},
        {"reason": ["", " ", "x" * 513, 1, True, None, [], {}]},
        ("reason",),
    ),
    ("POST", "/v1/evidence/{id}/reveal"): Sample(
        lambda plane: f"/v1/evidence/{OPENED['encrypted']}/reveal",
        200,
        lambda: {"reason": "complaint 4711"},
        {"reason": ["", " ", "x" * 513, 1, True, None, [], {}]},
        ("reason",),
    ),
    ("POST", "/v1/evidence/erasures"): Sample(
        at("/v1/evidence/erasures"),
        200,
        lambda: {"subject": "customer:nobody", "reason": "gdpr-17/4711"},
        {
            "subject": [
                "",
                "nobody",
                "customer:",
                "Customer:1",
                ":1",
                "customer:" + "x" * 257,
                1,
                True,
                None,
                [],
                {},
            ],
            "reason": ["", " ", "Anna wants it", "x" * 65, 1, True, None, [], {}],
        },
        ("subject",),
    ),
    ("GET", "/metrics"): Sample(at("/metrics"), 200),
    ("GET", "/v1/status"): Sample(at("/v1/status"), 200),
    ("POST", "/v1/approvals"): Sample(
        at("/v1/approvals"),
        200,
        lambda: {"binding_token": OPENED["token"], "arguments": {"account": "vault"}, "justification": "why"},
        {
            "binding_token": [*TOKENS, None],
            "denial": [1, True, "x", [], {}, {"binding_token": 1}],
            "subject": [1, "x", [], {}, {"type": "agent"}, {"type": "agent", "id": ""}],
            "action": [1, "x", [], {}, {"name": ""}],
            "resource": [1, "x", [], {}, {"id": "x"}],
            "arguments": [1, True, "x", []],
            "justification": WORDS,
        },
        ("binding_token",),
    ),
    ("GET", "/v1/approvals"): Sample(at("/v1/approvals?state=all&limit=5"), 200),
    ("GET", "/v1/approvals/{id}"): Sample(of_approval(""), 200),
    ("POST", "/v1/approvals/{id}/approve"): Sample(
        of_approval("/approve"),
        200,
        lambda: {"comment": "seen"},
        {
            "comment": WORDS,
            "arguments_digest": ["", "00", "G" * 64, 1, True, [], {}],
            "narrow": [1, True, "x", []],
            "remember_until": MOMENTS,
            "remember_scope": ["", "all", 1, None, True, [], {}],
        },
        approver=True,
    ),
    ("POST", "/v1/approvals/{id}/deny"): Sample(
        of_approval("/deny"), 200, lambda: {"comment": "no"}, {"comment": WORDS}, approver=True
    ),
    ("POST", "/v1/approvals/{id}/delegate"): Sample(
        of_approval("/delegate"),
        200,
        lambda: {"to": "user:bert", "until": "2199-01-01T00:00:00Z", "comment": "away"},
        {"to": [*PRINCIPALS, None], "until": MOMENTS, "comment": WORDS},
        ("to",),
        approver=True,
    ),
    ("POST", "/v1/approvals/{id}/comment"): Sample(
        of_approval("/comment"), 200, lambda: {"comment": "why?"}, {"comment": ["", *WORDS]}, ("comment",)
    ),
    ("POST", "/v1/approvals/{id}/cancel"): Sample(
        of_approval("/cancel"), 200, lambda: {"comment": "done"}, {"comment": WORDS}
    ),
    ("GET", "/v1/approvals/values"): Sample(at("/v1/approvals/values?limit=5"), 200),
    ("DELETE", "/v1/approvals/values/{id}"): Sample(
        lambda plane: f"/v1/approvals/values/{a_value(plane)}", 200
    ),
}
POSTS = sorted(route for route in SAMPLES if route[0] == "POST")
WITH_FIELDS = [route for route in POSTS if SAMPLES[route].body is not None]
WITH_IDS = sorted(route for route in SAMPLES if "{" in route[1])

HEADERS = {
    "no key": (None, "unauthenticated"),
    "an empty header": ("", "unauthenticated"),
    "only the scheme": ("Bearer", "unauthenticated"),
    "another scheme": ("Basic cm9vdDpyb290", "unauthenticated"),
    "no key of ours": ("Bearer sk-123", "unauthenticated"),
    "too few parts": ("Bearer cp_abc", "unauthenticated"),
    "an unknown key": ("Bearer cp_aaaaaaaaaaaaa_" + "A" * 43, "unauthenticated"),
    "letters beyond ascii": ("Bearer cp_ä_ö", "unauthenticated"),
    "a very long key": ("Bearer cp_a_" + "A" * 10_000, "unauthenticated"),
    "a quote and a semicolon": ("Bearer cp_';--_x", "unauthenticated"),
}


@pytest.fixture(scope="module")
def plane(tmp_path_factory: pytest.TempPathFactory) -> Iterator[InProcessPlane]:
    with in_process_plane(tmp_path_factory.mktemp("plane")) as plane:
        plane.activate(CATALOG_AND_POLICY + ASKS, NOTES)
        plane.register("bot")
        plane.register("other")
        for who in ("anna", "bert"):
            plane.send("POST", "/v1/principals", {"id": who, "roles": ["treasury"]})
        OPENED["approver"] = plane.make_key(role="approver", subjects=["user:anna"])[1]
        plane.renew_leases()
        OPENED["token"] = a_token(plane)
        asked = plane.send("POST", "/v1/approvals", {"binding_token": OPENED["token"]})
        assert asked.status == 201, asked
        opened = plane.send("POST", "/v1/sessions", {"agent": "bot", "principal": "user:ada"})
        OPENED["session"] = opened.json["session"]
        plane.do(plane.start_notifier)
        noted = plane.ask("bot", "ledger.note", arguments={"text": "called anna"})
        OPENED["encrypted"] = noted.json["context"]["id"]
        plane.decision_rows()  # waits until it has landed
        yield plane


@pytest.fixture(scope="module")
def keys(plane: InProcessPlane) -> dict[str, str]:
    """A good key of each role."""
    made = {
        role: plane.make_key(role=role, agents=["bot"] if role in ("agent", "gateway") else [])[1]
        for role in ("agent", "gateway", "auditor")
    }
    return made | {"operator": plane.operator, "approver": OPENED["approver"]}


def a_session(plane: InProcessPlane, agent: str = "bot") -> str:
    return str(plane.send("POST", "/v1/sessions", {"agent": agent}).json["session"])


def a_decision(plane: InProcessPlane, agent: str = "bot") -> str:
    return str(plane.ask(agent).json["context"]["id"])


def a_stop(plane: InProcessPlane) -> str:
    body = {"target": {"type": "tool", "id": "nobody.uses"}, "reason": "r", "expires_in_s": 60}
    return str(plane.send("POST", "/v1/stops", body).json["id"])


def a_token(plane: InProcessPlane, account: str = "vault") -> str:
    """Of an escalated decision."""
    asked = plane.ask("bot", "ledger.read", arguments={"account": account})
    return str(asked.json["context"]["access_request"]["binding_token"])


def a_task(plane: InProcessPlane) -> str:
    """A request for approval; the one before is given up, as an agent has only so many."""
    if "task" in OPENED:
        plane.send("POST", f"/v1/approvals/{OPENED['task']}/cancel", {})
    answer = plane.send("POST", "/v1/approvals", {"binding_token": a_token(plane, f"vault {next(NUMBERS)}")})
    assert answer.status == 201, answer
    OPENED["task"] = answer.json["id"]
    return OPENED["task"]


def a_value(plane: InProcessPlane) -> str:
    """A value that somebody has approved, as the journal has it."""

    def remember() -> str:
        owner = plane.host(0)._owner
        assert owner is not None
        identity = PREFIX + owner.new_event_id(1)
        entry = {"rule": "p/r", "agent": "bot", "action": "call", "resource": {"type": "tool", "id": "t"}}
        entry |= {"approval": "apr_1", "approved_by": ["user:anna"]}
        with owner.journal.transaction() as step:
            value = Value(
                identity,
                "default",
                "hash",
                "default/agent/bot",
                "digest",
                1 << 52,
                json.dumps(entry).encode(),
            )
            approval_journal.remember(step, [value])
        return identity

    return plane.do(remember)


def a_key(plane: InProcessPlane, **more: Any) -> tuple[str, str]:
    return plane.make_key(**{"role": "gateway", "agents": ["*"], **more})


def sent(plane: InProcessPlane, route: tuple[str, str], body: Any = None, **more: Any) -> Answer:
    """Use a route by its sample, with this body."""
    sample = SAMPLES[route]
    return plane.send(route[0], sample.path(plane), body, **({"key": sample.key} | more))


def refused(answer: Answer, *statuses: int) -> dict[str, Any]:
    """Check that an answer is a clear refusal by the caller's own fault. Returns: the error."""
    assert answer.status in (statuses or range(400, 500)), answer
    assert answer.headers["content-type"] in ("application/json", "application/problem+json")
    error: dict[str, Any] = answer.json["error"]
    assert re.fullmatch(r"[a-z]+(_[a-z]+)*", error["code"]), error
    assert len(error["message"]) > 5, error
    tell_nothing(answer)
    return error


def tell_nothing(answer: Answer) -> None:
    """Nothing of the inside is told."""
    found = INSIDE.search(answer.body.decode())
    assert found is None, answer


def changed(body: dict[str, Any], field: str, value: Any = ..., /) -> dict[str, Any]:
    """A copy with another value at a dotted path; without the field when no value is given."""
    body = copy.deepcopy(body)
    *way, last = field.split(".")
    place = body
    for step in way:
        place = place.setdefault(step, {})
    if value is ...:
        del place[last]
    else:
        place[last] = value
    return body


EXACT = {
    "/v1/agents",
    "/v1/approvals/{id}/approve",
    "/v1/approvals/{id}/delegate",
    "/v1/channels",
    "/v1/delegations",
    "/v1/evidence/erasures",
    "/v1/evidence/holds",
    "/v1/evidence/holds/{id}/release",
    "/v1/evidence/retention",
    "/v1/evidence/retention/runs",
    "/v1/evidence/{id}/reveal",
    "/v1/keys",
    "/v1/sessions",
    "/v1/sessions/{id}/task",
    "/v1/stops",
    "/v1/stops/{id}/release",
}
"""Routes that refuse what they do not know."""


def sample_body(route: tuple[str, str]) -> dict[str, Any]:
    make = SAMPLES[route].body
    return make() if make is not None else {}


def name_of(route: tuple[str, str]) -> str:
    return f"{route[0]} {route[1]}"


def test_every_route_has_its_sample_and_every_documented_field_its_wrong_values(
    plane: InProcessPlane,
) -> None:
    assert {(route.method, route.path) for route in plane.routes} == SAMPLES.keys()
    documented = dict(re.findall(r"^\| `POST (/v1/\S+)` \| [a-z, ]+ \| (.*?) \|", DOCS, re.MULTILINE))
    assert documented.keys() == {path for _, path in POSTS if path.startswith("/v1/")}
    for path, text in documented.items():
        # What stands in parentheses are values, not fields.
        fields = set(re.findall(r"`(\w+)`", re.sub(r"\([^)]*\)", "", text))) - {"name", "text"}
        assert SAMPLES["POST", path].wrong.keys() == fields, path


@pytest.mark.parametrize("route", SAMPLES, ids=name_of)
def test_a_good_request_passes_and_what_nobody_knows_in_it_is_ignored(
    plane: InProcessPlane, route: tuple[str, str]
) -> None:
    """The measure of all other tests here: what they change is the only thing that is wrong."""
    status = SAMPLES[route].status
    assert sent(plane, route, sample_body(route) or None).status == status
    if route[0] == "POST" and route[1] not in EXACT:
        unknown = sample_body(route) | {"x": {"y": [None, True, 1.5, {"z": "Ω"}]}, "__class__": "root"}
        assert sent(plane, route, unknown).status == status


@pytest.mark.parametrize(
    ("path", "field", "meant"),
    [
        ("/v1/agents", "standng", "standing"),
        ("/v1/approvals/{id}/approve", "narow", "narrow"),
        ("/v1/approvals/{id}/delegate", "untill", "until"),
        ("/v1/channels", "approver", "approvers"),
        ("/v1/delegations", "tool", "tools"),
        ("/v1/evidence/erasures", "reasn", "reason"),
        ("/v1/evidence/holds", "sesion", "session"),
        ("/v1/evidence/holds/{id}/release", "reasn", "reason"),
        ("/v1/evidence/retention", "keep_day", "keep_days"),
        ("/v1/evidence/retention/runs", "dryrun", "dry_run"),
        ("/v1/evidence/{id}/reveal", "reasn", "reason"),
        ("/v1/keys", "expire_in_s", "expires_in_s"),
        ("/v1/sessions", "scop", "scope"),
        ("/v1/sessions/{id}/task", "scopes", "scope"),
        ("/v1/stops", "dryrun", "dry_run"),
        ("/v1/stops/{id}/release", "reson", "reason"),
    ],
)
def test_a_misspelled_field_that_would_widen_an_act_is_refused(
    plane: InProcessPlane, path: str, field: str, meant: str
) -> None:
    assert path in EXACT
    error = refused(sent(plane, ("POST", path), sample_body(("POST", path)) | {field: True}), 400)
    assert f"`{field}`: there is no such field; did you mean `{meant}`?" in error["message"]


@pytest.mark.parametrize("member", MEMBERS)
@pytest.mark.parametrize("route", POSTS, ids=name_of)
def test_json_that_two_readers_could_read_differently_is_refused_whatever_else_stands_there(
    plane: InProcessPlane, route: tuple[str, str], member: str
) -> None:
    error = refused(sent(plane, route, with_member(sample_body(route), MEMBERS[member])), 400)
    assert error["code"] == "invalid_request"


@pytest.mark.parametrize("body", BODIES)
@pytest.mark.parametrize("route", POSTS, ids=name_of)
def test_a_body_that_is_no_json_object_is_refused(
    plane: InProcessPlane, route: tuple[str, str], body: str
) -> None:
    assert refused(sent(plane, route, BODIES[body]), 400)["code"] == "invalid_request"


@pytest.mark.parametrize("route", [one for one in WITH_FIELDS if SAMPLES[one].required], ids=name_of)
def test_a_body_that_says_nothing_is_refused(plane: InProcessPlane, route: tuple[str, str]) -> None:
    nothing: list[Any] = [None, {}]
    for body in nothing:
        assert refused(sent(plane, route, body), 400)["code"] == "invalid_request"


@pytest.mark.parametrize("route", POSTS, ids=name_of)
def test_a_body_that_is_too_large_is_refused_however_it_comes(
    plane: InProcessPlane, route: tuple[str, str]
) -> None:
    limit = next(each.limit_bytes for each in plane.routes if (each.method, each.path) == route)
    small = with_member(sample_body(route), b'"x": ""')
    large = with_member(sample_body(route), b'"x": "' + b"x" * (limit - len(small) + 1) + b'"')
    assert len(large) == limit + 1
    ways: list[dict[str, Any]] = [
        {"body": large},
        {"parts": [large[start : start + 65_536] for start in range(0, len(large), 65_536)]},
        {"headers": {"content-length": str(limit + 1)}},
        {"headers": {"content-length": "9" * 5000}},
    ]
    for way in ways:
        assert refused(sent(plane, route, **way), 413)["code"] == "too_large"


@pytest.mark.parametrize("route", WITH_FIELDS, ids=name_of)
def test_a_field_of_a_wrong_type_or_beyond_its_bounds_is_refused_by_name(
    plane: InProcessPlane, route: tuple[str, str]
) -> None:
    for field, values in SAMPLES[route].wrong.items():
        for value in values:
            answer = sent(plane, route, changed(sample_body(route), field, value))
            error = refused(answer, 400, 413)
            assert error["code"] in ("invalid_request", "invalid_scope", "too_large"), (field, value)
            assert field.split(".")[-1] in error["message"] or error["code"] == "too_large", (field, value)


@pytest.mark.parametrize("route", WITH_FIELDS, ids=name_of)
def test_a_field_that_cannot_be_left_out_is_asked_for_by_name(
    plane: InProcessPlane, route: tuple[str, str]
) -> None:
    for field in SAMPLES[route].required:
        error = refused(sent(plane, route, changed(sample_body(route), field)), 400)
        assert f"`{field}`" in error["message"]


@pytest.mark.parametrize("field", EVALUATION)
def test_what_is_wrong_with_one_item_of_a_batch_denies_that_item_and_no_other(
    plane: InProcessPlane, field: str
) -> None:
    for value in EVALUATION[field]:
        items = [question(), changed(question(), field, value), question()]
        answer = plane.send("POST", "/access/v1/evaluations", {"evaluations": items})
        tell_nothing(answer)
        first, wrong, last = answer.json["evaluations"]
        assert (first["decision"], wrong["decision"], last["decision"]) == (True, False, True), value
        error = wrong["context"]["error"]
        assert (error["status"], error["code"]) == (400, "invalid_request")
        assert f"evaluations[1].{field.split('.')[0]}" in error["message"]


def test_more_items_than_a_batch_may_have_are_refused(plane: InProcessPlane) -> None:
    answer = plane.send("POST", "/access/v1/evaluations", {**question(), "evaluations": [{}] * 1001})
    assert refused(answer, 413)["code"] == "too_large"


@pytest.mark.parametrize("header", HEADERS)
@pytest.mark.parametrize("route", SAMPLES, ids=name_of)
def test_no_door_opens_without_a_good_key(plane: InProcessPlane, route: tuple[str, str], header: str) -> None:
    value, code = HEADERS[header]
    headers = {} if value is None else {"authorization": value}
    method, path = route
    # Not even whether the path exists is told, nor is the body looked at.
    for body in (sample_body(route), b"no json"):
        answer = plane.send(method, path, body, key=None, headers=headers)
        assert refused(answer, 401)["code"] == code
        assert answer.headers["www-authenticate"].startswith("Bearer")


@pytest.mark.parametrize("route", SAMPLES, ids=name_of)
def test_no_door_opens_with_a_key_that_is_over_or_whose_secret_is_wrong(
    plane: InProcessPlane, route: tuple[str, str]
) -> None:
    identity, revoked = a_key(plane)
    assert plane.send("GET", "/v1/agents/bot", key=revoked).status == 200
    plane.send("DELETE", f"/v1/keys/{identity}")
    _, forged = a_key(plane)
    forged = forged[:-2] + ("AA" if not forged.endswith("AA") else "BB")
    path = SAMPLES[route].path(plane)
    for key, code in ((revoked, "key_revoked"), (forged, "key_unknown")):
        answer = plane.send(route[0], path, sample_body(route) or None, key=key)
        assert refused(answer, 401)["code"] == code


@pytest.mark.parametrize("route", SAMPLES, ids=name_of)
def test_no_door_opens_for_a_role_that_may_not(
    plane: InProcessPlane, keys: dict[str, str], route: tuple[str, str]
) -> None:
    roles = next(each.roles for each in plane.routes if (each.method, each.path) == route)
    path = SAMPLES[route].path(plane)
    for role in keys.keys() - roles:
        # Before the body is even looked at.
        for body in (sample_body(route) or None, b"no json"):
            answer = plane.send(route[0], path, body, key=keys[role])
            assert refused(answer, 403)["code"] == "role_not_permitted", role


@pytest.mark.parametrize("role", ["agent", "gateway"])
def test_another_agents_key_opens_nothing_of_an_agent(
    plane: InProcessPlane, keys: dict[str, str], role: str
) -> None:
    session, decision = a_session(plane, "other"), a_decision(plane, "other")
    workflows = plane.make_key(role="gateway", agents=["bot"], grants=["workflows"])[1]
    for key in (keys[role], workflows):
        for answer in (
            plane.ask("other", key=key),
            plane.send("POST", "/v1/sessions", {"agent": "other"}, key=key),
            plane.send("GET", "/v1/agents/other", key=key),
        ):
            assert refused(answer, 403)["code"] == "foreign_subject"
        # For whom it is none of their business, there is no such thing.
        for answer in (
            plane.send("GET", f"/v1/decisions/{decision}", key=key),
            plane.send("POST", f"/v1/decisions/{decision}/outcome", {"status": "succeeded"}, key=key),
        ):
            assert refused(answer, 404)["code"] == "not_found"
    for tail, body in (("task", {"task": "x"}), ("end", None)):
        answer = plane.send("POST", f"/v1/sessions/{session}/{tail}", body, key=workflows)
        assert refused(answer, 404)["code"] == "unknown_session"
    for key in (keys[role], workflows):
        answer = plane.send("POST", "/v1/delegations", {"session": session, "to": "bot"}, key=key)
        assert refused(answer, 404)["code"] == "unknown_session"
    batch = {"evaluations": [question("bot"), question("other")]}
    own, foreign = plane.send("POST", "/access/v1/evaluations", batch, key=keys[role]).json["evaluations"]
    assert (own["decision"], foreign["decision"]) == (True, False)
    assert foreign["context"]["error"]["code"] == "foreign_subject"
    denied = plane.ask("bot", key=keys[role], session=session).json
    assert (denied["decision"], denied["context"]["reason_code"]) == (False, "unknown_session")


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/v1/principals", {"type": "agent", "id": "bot"}),
        ("/v1/keys", {"role": "agent"}),
        ("/v1/keys", {"role": "gateway"}),
        ("/v1/keys", {"role": "agent", "agents": ["bot", "other"]}),
        ("/v1/keys", {"role": "agent", "agents": ["*"]}),
        ("/v1/keys", {"role": "agent", "agents": ["bot"], "subjects": ["user:ann"]}),
        ("/v1/keys", {"role": "agent", "agents": ["bot"], "grants": ["workflows"]}),
        ("/v1/keys", {"role": "agent", "agents": ["bot"], "grants": ["witness"]}),
    ],
)
def test_fields_that_are_good_alone_and_not_together_are_refused(
    plane: InProcessPlane, path: str, body: dict[str, Any]
) -> None:
    assert refused(plane.send("POST", path, body), 400)["code"] == "invalid_request"


def test_a_key_that_says_more_than_its_grants_is_refused(plane: InProcessPlane, keys: dict[str, str]) -> None:
    session = a_session(plane)
    for path, body, code in (
        ("/v1/sessions", {"agent": "bot", "task": "pay everybody"}, "task_needs_workflows"),
        ("/v1/sessions", {"agent": "bot", "scope": {"effects": ["pay"]}}, "scope_needs_workflows"),
        ("/v1/sessions", {"agent": "bot", "principal": "user:eve"}, "principal_needs_workflows"),
        (f"/v1/sessions/{session}/task", {"task": "pay everybody"}, "task_needs_workflows"),
        (f"/v1/sessions/{session}/end", None, "end_needs_workflows"),
    ):
        assert refused(plane.send("POST", path, body, key=keys["agent"]), 403)["code"] == code


IDS_IN_PATHS = [
    *("nope", "x" * 5000, "..", "a/../b", ".", "-", "\x00", "a\x00b", "😀", "' OR 1=1 --", "%00", "{id}"),
    "ses_" + "A" * 43,
    "ses_" + "é" * 43,
    decision_id(now_us=1, ordinal=0, random=1),
    decision_id(now_us=1, ordinal=(1 << 20) - 1, random=1),
    "{01a20461-44aa-761c-8000-029521cbf8a7}",
    "01A20461-44AA-761C-8000-029521CBF8A7",
    "٠" * 32,
    "sha256:" + "0" * 64,
]


@pytest.mark.parametrize("identity", IDS_IN_PATHS, ids=ascii)
@pytest.mark.parametrize("route", WITH_IDS, ids=name_of)
def test_what_no_id_names_is_not_found(plane: InProcessPlane, route: tuple[str, str], identity: str) -> None:
    path = re.sub(r"\{\w+\}", lambda _: identity, route[1])
    error = refused(plane.send(route[0], path, sample_body(route) or None, key=SAMPLES[route].key), 404)
    assert error["code"] in ("not_found", "no_route") or error["code"].startswith("unknown_")


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/"),
        ("GET", ""),
        ("GET", "/access/v1/evaluation"),
        ("PUT", "/v1/agents"),
        ("PATCH", "/v1/agents/bot"),
        ("DELETE", "/v1/agents/bot"),
        ("POST", "/healthz"),
        ("POST", "/V1/agents"),
        ("POST", "/v1/agents/"),
        ("POST", "//v1/agents"),
        ("POST", "/v1/../v1/agents"),
        ("GET", "/access/v1/search/subject"),
        ("X" * 5000, "/v1/agents"),
        ("GET", "/" + "x" * 60_000),
        ("OPTIONS", "*"),
        ("TRACE", "/v1/agents"),
    ],
)
def test_a_path_or_a_method_that_is_none_is_not_found(plane: InProcessPlane, method: str, path: str) -> None:
    assert refused(plane.send(method, path, {}), 404)["code"] == "no_route"
    assert refused(plane.send(method, path, {}, key=None), 401)["code"] == "unauthenticated"


def test_asking_for_many_agents_that_nobody_registered_keeps_none_in_memory(plane: InProcessPlane) -> None:
    owners = [host._owner for host in plane.owners() if host._owner is not None]
    assert owners
    before = [owner.settings for owner in owners]
    for owner in owners:
        owner.settings = replace(owner.settings, awake_limit=3)
    for number in range(20):
        assert plane.send("GET", f"/v1/agents/nobody-{number}").code == "unknown_agent"
        assert plane.send("POST", "/v1/sessions", {"agent": f"no-one-{number}"}).code == "unknown_agent"
    assert all(plane.do(owner.awake) <= 3 for owner in owners)
    for owner, settings in zip(owners, before, strict=True):
        owner.settings = settings


@pytest.mark.parametrize("query", ["&".join(f"f{n}=1" for n in range(21)), "x&" * 500])
def test_a_query_of_too_many_fields_is_refused(plane: InProcessPlane, query: str) -> None:
    assert refused(plane.send("GET", f"/v1/agents?{query}"), 400)["code"] == "invalid_request"


@pytest.mark.parametrize(
    "after",
    ["", "%00", "a%00b", "\xff", "%ff%fe", "%ED%A0%80", "x" * 60_000, "%", "%F4%8F%BF%BF", "' OR 1=1"],
)
def test_whatever_a_page_is_to_begin_after_it_is_a_page(plane: InProcessPlane, after: str) -> None:
    answer = plane.send("GET", f"/v1/agents?after={after}")
    assert answer.status == 200
    assert {agent["id"] for agent in answer.json["agents"]} <= {"bot", "other"}


@pytest.mark.parametrize(
    "deadline", ["", "0", "-1", "30001", "1.5", "1e3", "soon", " 1", "٣", "\xb2", "9" * 5000, "+5"]
)
def test_a_deadline_that_is_none_is_refused_at_every_door(plane: InProcessPlane, deadline: str) -> None:
    headers = {"x-deadline-ms": deadline.encode().decode("latin-1")}
    for method, path in SAMPLES:
        key = SAMPLES[method, path].key
        answer = plane.send(method, path, sample_body((method, path)), headers=headers, key=key)
        assert refused(answer, 400)["code"] == "invalid_request"


def test_a_unknown_tool_action_or_argument_is_a_deny_with_a_reason(plane: InProcessPlane) -> None:
    requests = {
        "uncatalogued_resource": question(tool="ledger.steal"),
        "unlisted_action": changed(question(), "action.name", "erase"),
        "unlisted_argument": changed(question(), "context.arguments.iban", "DE89"),
        "missing_argument": changed(question(), "context.arguments.to"),
        "unknown_agent": question("nobody"),
        "unknown_subject": changed(question(), "subject.type", "user"),
        "unknown_session": question(session="ses_" + "A" * 43),
    }
    for reason, body in requests.items():
        answer = plane.send("POST", "/access/v1/evaluation", body)
        tell_nothing(answer)
        assert (answer.status, answer.json["decision"]) == (200, False)
        context = answer.json["context"]
        assert (context["effect"], context["reason_code"]) == ("deny", reason)
        assert context["detail"]


def test_a_tool_of_another_type_of_resource_is_not_that_tool(plane: InProcessPlane) -> None:
    answer = plane.send("POST", "/access/v1/evaluation", changed(question(), "resource.type", "document"))
    assert answer.json["context"]["reason_code"] == "uncatalogued_resource"


def test_what_a_caller_claims_about_itself_changes_nothing(plane: InProcessPlane) -> None:
    claims = {"labels": ["admin"], "roles": ["treasury"], "system": "none", "effects": [], "allowed": True}
    body = question(arguments={"to": "DE89", "amount": 5000}, decision=True, roles=["treasury"])
    for entity in ("subject", "action", "resource"):
        body[entity]["properties"] = claims
    assert plane.send("POST", "/access/v1/evaluation", body).reason == "rule_deny"


@pytest.mark.parametrize(
    "amount",
    [
        *("12", "1e1", "１２", "12 ", "0x10", "NaN", "-0", "", "1_0", "9" * 400),
        *(None, True, [12], {"value": 12}, -1, 1e300, 5e-300, 1000.0000001),
    ],
)
def test_an_amount_that_is_no_plain_number_never_passes_a_rule_that_it_does_not_satisfy(
    plane: InProcessPlane, amount: Any
) -> None:
    """`1e3 + ε`, texts, lists, booleans: whatever it is, it is allowed only if it is a number up to 1 000."""
    answer = plane.ask(arguments={"to": "DE89", "amount": amount})
    tell_nothing(answer)
    assert answer.status == 200
    plainly_small = {"12", "-0"} if isinstance(amount, str) else {-1, 5e-300}
    is_small = type(amount) is not bool and not isinstance(amount, list | dict) and amount in plainly_small
    assert answer.permits <= (is_small or amount in ("1e1", "12 ", "0x10")), answer
    if is_small:
        assert answer.permits


def test_a_very_long_name_of_an_argument_fills_neither_the_answer_nor_the_evidence(
    plane: InProcessPlane,
) -> None:
    long = "x" * 900_000
    answer = plane.send("POST", "/access/v1/evaluation", changed(question(), f"context.arguments.{long}", 1))
    assert answer.reason == "unlisted_argument"
    assert len(answer.body) < 2_000
    rows = [row for row in plane.decision_rows() if row["event_id"] == answer.json["context"]["id"]]
    assert len(rows) == 1 and len(str(rows[0])) < 8_000
