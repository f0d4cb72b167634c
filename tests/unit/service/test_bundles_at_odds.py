"""Bundles that are wrong, that come two at once, or that one part knows and another not: never an allow by mistake."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from unit.service.in_process_plane import Answer, InProcessPlane, bundle_body, in_process_plane, question

from actors.active_bundle import ActiveBundle
from actors.directory import Activation
from actors.messages import STALE_BUNDLE
from actors.placement import host_name, host_of
from controlplane.errors import UnavailableError
from controlplane.service.application import Application

TOOLS = ("tool.a", "tool.b", "tool.both", "tool.none")
CATALOG = "kind: Catalog\ntools:\n" + "".join(
    f"  {tool}: {{args: {{n: {{type: decimal}}}}}}\n" for tool in TOOLS
)
AGENTS = ("bot-0", "bot-1", "bot-2", "bot-3")


def allowing(*tools: str) -> str:
    """A bundle that allows these tools, with a condition, so that something has to be compiled."""
    return (
        f"{CATALOG}---\nkind: Policy\nname: p\nrules:\n"
        f"  - {{id: some, on: {{tool: [{', '.join(tools)}]}}, when: args.n < 10.0, then: allow}}\n"
    )


A = allowing("tool.a", "tool.both")
B = allowing("tool.b", "tool.both")
ALLOWED = {"a": {"tool.a", "tool.both"}, "b": {"tool.b", "tool.both"}}


@pytest.fixture
def plane(tmp_path: Path) -> Iterator[InProcessPlane]:
    with in_process_plane(tmp_path) as plane:
        for agent in AGENTS:
            plane.register(agent)
        yield plane


def ask(plane: InProcessPlane, tool: str, agent: str = AGENTS[0], **more: Any) -> Answer:
    return plane.run(exchange(plane, tool, agent, **more))


async def exchange(plane: InProcessPlane, tool: str, agent: str = AGENTS[0], **more: Any) -> Answer:
    body = question(agent, tool, arguments={"n": 1})
    return await plane.exchange("POST", "/access/v1/evaluation", body, **more)


def digests(plane: InProcessPlane) -> dict[str, str]:
    """Upload both bundles. Returns: their digests."""
    found = {}
    for name, text in (("a", A), ("b", B)):
        answer = plane.send("POST", "/v1/bundles", bundle_body(text))
        assert answer.status == 201, answer
        found[name] = answer.json["digest"]
    return found


def activate(plane: InProcessPlane, digest: str) -> Answer:
    return plane.send("POST", f"/v1/bundles/{digest}/activate")


# -- wrong --------------------------------------------------------------------------------------------------------

RULE = (
    CATALOG + "---\nkind: Policy\nname: p\nrules:\n  - {id: r, on: {tool: tool.a}, then: allow, when: '%s'}\n"
)
WRONG = {
    "a text compared with a number": (
        RULE % 'args.n > "ten"',
        11,
        "between a value of type double and one of type string",
    ),
    "not a truth": (RULE % "args.n", 11, "true or false"),
    "a name that is none": (RULE % "argz.n > 1.0", 11, "argz"),
    "no expression": (RULE % "args.n >", 11, "syntax error"),
    "an expression that is too deep": (RULE % ("(" * 500 + "true" + ")" * 500), 11, "too deeply"),
    "an expression that is too long": (RULE % ("true || " * 5000 + "true"), 11, "16384"),
    "a regular expression that is none": (RULE % 'subject.id.matches("(((")', 11, "regular expression"),
    "a tool that is not in the catalog": (
        CATALOG + "---\n" + allowing("tool.c").split("---\n")[1],
        11,
        "tool.c",
    ),
    "an effect that is none": (RULE.replace("then: allow", "then: maybe") % "true", 11, "maybe"),
    "a rule twice": (A + "  - {id: some, on: {tool: tool.a}, then: deny}\n", 12, "some"),
    "a key twice": (A + "  - {id: x, id: y, then: deny}\n", 12, "duplicate"),
    "a kind that is none": ("kind: Polizei\n", 1, "Polizei"),
    "no document": ("just a text\n", 1, "mapping"),
    "a tab and a brace": ("kind: {\t", 1, "not valid YAML"),
    "an alias": ("kind: &a Policy\nname: *a\n", 1, "alias"),
    "a tag": ("kind: !!python/object:os.system Policy\n", 1, "tag"),
    "brackets without end": ("[" * 5000, 1, "levels"),
    "a number too large": ("kind: Policy\nname: 99999999999999999999999\n", 2, "integer"),
}


@pytest.mark.parametrize("what", WRONG)
@pytest.mark.parametrize("at_once", [False, True], ids=["uploaded", "to be activated"])
def test_a_wrong_bundle_is_refused_with_file_and_line_and_changes_nothing(
    shared: InProcessPlane, what: str, at_once: bool
) -> None:
    text, line, said = WRONG[what]
    before = shared.send("GET", "/v1/bundles").json
    body = {"sources": [{"name": "good.yaml", "text": "kind: Policy\nname: other\n"}], "activate": at_once}
    body["sources"].append({"name": "policies/wrong.yaml", "text": text})  # type: ignore[attr-defined]
    answer = shared.send("POST", "/v1/bundles", body)
    assert (answer.status, answer.code) == (400, "invalid_bundle"), answer
    errors = answer.json["error"]["errors"]
    found = [error for error in errors if said in error["message"] + error["hint"]]
    assert found, [error["message"] for error in errors]
    assert (found[0]["file"], found[0]["line"]) == ("policies/wrong.yaml", line)
    assert found[0]["column"] >= 1 and found[0]["code"]
    for told in ("Traceback", "Error(", "site-packages", ".py"):
        assert told not in answer.body.decode()
    assert shared.send("GET", "/v1/bundles").json == before


def test_a_bundle_that_is_not_stored_or_has_no_rules_is_not_activated(shared: InProcessPlane) -> None:
    before = shared.send("GET", "/v1/bundles").json["active"]
    unknown = activate(shared, "sha256:" + "0" * 64)
    assert (unknown.status, unknown.code) == (404, "unknown_bundle")
    empty = shared.send("POST", "/v1/bundles", bundle_body(CATALOG, activate=True))
    assert (empty.status, empty.code) == (409, "empty_bundle")
    assert shared.send("GET", "/v1/bundles").json["active"] == before


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[InProcessPlane]:
    with in_process_plane(tmp_path_factory.mktemp("plane")) as plane:
        plane.register(AGENTS[0])
        plane.activate(A)
        yield plane
    # Whatever was refused above, the bundle of the beginning still decided.


# -- none, two at once --------------------------------------------------------------------------------------------


def test_without_an_active_bundle_everything_is_denied(plane: InProcessPlane) -> None:
    for tool in TOOLS:
        answer = ask(plane, tool)
        assert (answer.status, answer.json["decision"], answer.reason) == (200, False, "no_active_bundle")


def test_of_two_bundles_activated_at_once_one_comes_last_for_everybody(plane: InProcessPlane) -> None:
    """And meanwhile nothing is allowed that the bundle named in the answer does not allow."""
    found = digests(plane)
    name_of = {digest: name for name, digest in found.items()}
    answers: list[tuple[str, Answer]] = []

    async def traffic(stop: asyncio.Event) -> None:
        once = False
        while not (once and stop.is_set()):
            once = True
            for tool in TOOLS:
                for agent in AGENTS:
                    answers.append((tool, await exchange(plane, tool, agent)))

    async def both(order: list[str]) -> list[Answer]:
        stop = asyncio.Event()
        asking = asyncio.create_task(traffic(stop))
        done = await asyncio.gather(
            *(plane.exchange("POST", f"/v1/bundles/{found[name]}/activate") for name in order)
        )
        stop.set()
        await asking
        return done

    for order in (["a", "b"], ["b", "a"], ["a", "b", "a"], ["b", "a", "b", "a"]) * 2:
        for activated in plane.run(both(order)):
            assert activated.status == 200 and activated.json["lagging"] == [], activated
        last = plane.store._control.activation  # type: ignore[union-attr]
        assert last.digest in name_of
        plane.renew_leases()
        # The owners agree with the control store and with what they wrote down, and decide so.
        for index in range(plane.hosts):
            owner = plane.host(index)._owner
            assert owner is not None and owner.active is not None
            assert (owner.activation, owner.active.digest) == (last, last.digest)
            journalled = plane.do(lambda journal=owner.journal: journal.meta("active_digest", ""))  # type: ignore[misc]
            assert journalled == last.digest
        for tool in TOOLS:
            for agent in AGENTS:
                answer = ask(plane, tool, agent)
                assert answer.permits == (tool in ALLOWED[name_of[last.digest]])
                assert answer.json["context"]["bundle"] == last.digest
    assert len(answers) > 100
    for tool, answer in answers:
        if answer.status != 200:
            assert answer.status == 503 and not answer.permits
            continue
        named = answer.json["context"].get("bundle")
        allowed = named is not None and tool in ALLOWED[name_of[named]]
        assert answer.permits <= allowed, (tool, answer)
        if answer.reason in ("rule_allow", "default_deny"):
            assert answer.permits == allowed, (tool, answer)
    assert any(answer.permits for _, answer in answers)
    rows = {row["event_id"]: row for row in plane.decision_rows()}
    for _, answer in answers:
        if answer.status == 200:
            row = rows[answer.json["context"]["id"]]
            shown = (answer.json["context"].get("bundle"), answer.permits)
            assert (row["bundle_hash"], row["decision"] == "allow") == shown


# -- known here and not there -------------------------------------------------------------------------------------


def replica_that_stays_behind(plane: InProcessPlane) -> Application:
    """Another replica, which has heard of what is active now and hears of nothing more, though its lease holds."""
    replica = plane.new_replica()

    async def hear_once() -> None:
        await replica._fleet.refresh()
        replica._fleet.directory._trusted_until_s = float("inf")

    plane.run(hear_once())
    return replica


def test_a_replica_that_is_behind_its_owners_prepares_again(plane: InProcessPlane) -> None:
    found = digests(plane)
    activate(plane, found["a"])
    replica = replica_that_stays_behind(plane)
    owner = host_name(host_of(f"default/agent/{AGENTS[0]}", plane.hosts))
    # It has prepared with A and knows the agent's record.
    assert ask(plane, "tool.a", application=replica).permits
    assert activate(plane, found["b"]).json["lagging"] == []
    assert replica._fleet.directory.activation.digest == found["a"]
    asked = plane.actors.calls.count((owner, "decide"))
    for tool in TOOLS:
        answer = ask(plane, tool, application=replica)
        assert answer.json["context"]["bundle"] == found["b"]
        assert answer.permits == (tool in ALLOWED["b"])
    # Each of them twice: `stale`, and once more.
    assert plane.actors.calls.count((owner, "decide")) == asked + 2 * len(TOOLS)
    assert all(row["bundle_hash"] == found["b"] for row in plane.decision_rows()[1:])


@pytest.mark.parametrize(
    ("answered", "code"),
    [
        ("another one each time", "bundle_changing"),
        ("the one that was asked with", "bundle_loading"),
        ("one that nobody has", "bundle_mismatch"),
        ("none", "bundle_changing"),
    ],
)
def test_an_owner_that_stays_skewed_permits_nothing(
    plane: InProcessPlane, monkeypatch: pytest.MonkeyPatch, answered: str, code: str
) -> None:
    found = digests(plane)
    activate(plane, found["a"])
    assert ask(plane, "tool.a").permits
    asked: list[str | None] = []

    async def decide(digest: str | None, requests: list[Any]) -> tuple[Any, ...]:
        asked.append(digest)
        current: str | None = {
            "another one each time": found["b"] if digest == found["a"] else found["a"],
            "the one that was asked with": digest,
            "one that nobody has": "sha256:" + "0" * 64,
            "none": None if digest else found["a"],
        }[answered]
        return (STALE_BUNDLE, current)

    for index in range(plane.hosts):
        monkeypatch.setattr(plane.host(index), "decide", decide)
    for tool in TOOLS:
        answer = ask(plane, tool)
        assert (answer.status, answer.code) == (503, code)
        assert len(asked) <= 4
        asked.clear()
    batch = {"evaluations": [question(agent, "tool.both", arguments={"n": 1}) for agent in AGENTS]}
    items = plane.send("POST", "/access/v1/evaluations", batch).json["evaluations"]
    assert [item["decision"] for item in items] == [False] * len(AGENTS)
    assert {item["context"]["error"]["code"] for item in items} == {code}


def test_an_owner_that_cannot_follow_is_listed_and_denies_once_it_has_known_for_a_lease(
    plane: InProcessPlane, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = digests(plane)
    activate(plane, found["a"])
    index = host_of(f"default/agent/{AGENTS[0]}", plane.hosts)
    host = plane.host(index)
    elsewhere = next(a for a in AGENTS if host_of(f"default/agent/{a}", plane.hosts) != index)
    with monkeypatch.context() as broken:

        async def cannot(digest: str, sources: list[Any]) -> ActiveBundle:
            raise UnavailableError("the compiler is broken")

        broken.setattr(host._bundles, "compiled", cannot)
        answer = activate(plane, found["b"])
        assert (answer.status, answer.json["lagging"]) == (200, [host_name(index)])
        # Within a lease it may not have heard of it: it still says with which bundle it decides.
        for tool in TOOLS:
            early = ask(plane, tool)
            assert early.json["context"]["bundle"] == found["a"]
            assert early.permits == (tool in ALLOWED["a"])
            assert ask(plane, tool, elsewhere).permits == (tool in ALLOWED["b"])
        plane.renew_leases()  # now it has heard
        plane.clocks.pass_s(2.5)
        plane.renew_leases()
        for tool in TOOLS:
            late = ask(plane, tool)
            assert (late.status, late.permits, late.reason) == (200, False, "bundle_lagging")
            assert ask(plane, tool, elsewhere).permits == (tool in ALLOWED["b"])
    plane.renew_leases()
    plane.wait_until(lambda: not host._owner.lagging(), "the host to follow")  # type: ignore[union-attr]
    for tool in TOOLS:
        assert ask(plane, tool).permits == (tool in ALLOWED["b"])


def test_a_host_that_starts_again_decides_with_what_is_active_or_not_at_all(plane: InProcessPlane) -> None:
    found = digests(plane)
    activate(plane, found["a"])
    assert ask(plane, "tool.a").permits
    index = host_of(f"default/agent/{AGENTS[0]}", plane.hosts)
    name = host_name(index)
    plane.do(lambda: plane.end_actor(name))
    away = ask(plane, "tool.a")
    assert (away.status, away.code) == (503, "owner_unreachable")
    assert activate(plane, found["b"]).json["lagging"] == [name]
    plane.do(lambda: plane.start_owner(name, index))
    # From its first moment on it may be asked.
    early = [ask(plane, tool) for _ in range(5) for tool in TOOLS]
    plane.wait_until(lambda: plane.is_ready(name), "the host")
    for tool, answer in zip(TOOLS * 5, early, strict=True):
        assert answer.permits <= (tool in ALLOWED["b"]), answer
        if answer.status != 200:
            assert answer.status == 503 and answer.code in (
                "journal_unavailable",
                "journal_unconfirmed",
                "bundle_loading",
                "bundle_changing",
            )
    for tool in TOOLS:
        assert ask(plane, tool).permits == (tool in ALLOWED["b"])


def test_a_message_that_was_overtaken_does_not_bring_an_older_bundle_back(plane: InProcessPlane) -> None:
    found = digests(plane)
    for name in ("a", "b"):
        activate(plane, found[name])
    number = plane.store._control.activation.number  # type: ignore[union-attr]
    late = (found["a"], number - 1, [("0.yaml", A)])
    for index in range(plane.hosts):
        assert plane.run(plane.host(index).activate(*late)) is True
        owner = plane.host(index)._owner
        assert owner is not None and owner.activation == Activation(found["b"], number)
    assert not ask(plane, "tool.a").permits
    assert ask(plane, "tool.b").permits
