"""How a bundle comes into force: acknowledged by owners or lagging, in order, and never mixed up with another."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from unit.actors.owners import POLICY, Bench, World

from actors import activation, agent_host, messages
from actors.active_bundle import ActiveBundle
from actors.agent_host import AgentHost
from actors.control import Control, open_control_journal
from actors.messages import Decided, DecisionRequest
from actors.placement import CONTROL_STORE
from actors.world import REAL
from controlplane.errors import NotFoundError, UnavailableError

NAMES = ("host-000", "host-001")
OLD = [("p.yaml", POLICY)]
# One rule more, so that bits mean something else than in the old one.
NEW = [("p.yaml", POLICY + "  - {id: none, on: {tool: ledger.read}, when: args.amount > 1.0, then: deny}\n")]


class Fleet:
    """A control store and two hosts as they are, without Ray between them; a host may be silent.

    Attributes:
        silent: hosts that answer nobody.
        deaf: hosts that, further, cannot ask the control store.
        asked: (name, method) of each call to a host.
        before: called before each call to a host is carried out.
    """

    def __init__(self, folder: Path) -> None:
        secrets = folder / "secrets.json"
        secrets.write_text(json.dumps({"session_key": "00" * 32}))
        self.control = Control(open_control_journal(folder / "control.db", new_log_id="control.test"), REAL)
        self.hosts: dict[str, AgentHost] = {}
        self._make = lambda name, ordinal: AgentHost(name, ordinal, str(folder), str(secrets))
        self._versions: dict[str, int] = {}
        # A replica's part: it prepares actions with one bundle or the other.
        self._replica = Bench(folder / "replica.db", World(wall_us=time.time_ns() // 1000))
        self.silent: set[str] = set()
        self.asked: list[tuple[str, str]] = []
        self.before: Callable[[str, str], None] = lambda name, method: None

    async def start(self, name: str) -> AgentHost:
        """Start a host, again if it was there; what it had not journalled is gone."""
        host = self.hosts[name] = self._make(name, NAMES.index(name))
        await host.refresh()
        await host.trim((await host.status())["log"], -1)
        return host

    async def begin(self) -> None:
        """Both hosts up, each with an agent of its own, and the old bundle in force."""
        for name in NAMES:
            host = await self.start(name)
            record = await host.register_agent("default", f"bot-of-{name}", {}, "k")
            self._versions[name] = record["record_version"]
        assert (await self.activate(OLD))["lagging"] == []

    async def call(self, name: str, method: str, *arguments: Any, timeout_s: float) -> Any:
        if name == CONTROL_STORE:
            if method == "lease":
                return self.control.changes(*arguments)
            called, given = arguments
            return getattr(self.control, called)(**given)
        self.asked.append((name, method))
        if name in self.silent:
            raise UnavailableError(f"`{name}` did not answer within {timeout_s:g} s", code="owner_timeout")
        self.before(name, method)
        return await getattr(self.hosts[name], method)(*arguments)

    def store(self, sources: list[tuple[str, str]], digest: str | None = None) -> str:
        digest = digest or ActiveBundle.compile(sources).digest
        self.control.store_bundle(digest=digest, name="n", rules=3, sources=sources, tenant="default", by="k")
        return digest

    async def activate(self, sources: list[tuple[str, str]], digest: str | None = None) -> dict[str, Any]:
        return await self.activate_stored(self.store(sources, digest))

    async def activate_stored(self, digest: str) -> dict[str, Any]:
        return await activation.activate(
            lambda: self.control, NAMES, self.call, digest=digest, tenant="default", by="k"
        )

    async def bundle_of(self, name: str) -> str:
        return str((await self.hosts[name].status())["bundle"])

    def prepared(self, name: str, sources: list[tuple[str, str]]) -> tuple[str, DecisionRequest]:
        """An action of the host's agent, prepared with a bundle."""
        self._replica.bundle = ActiveBundle.compile(sources)
        self._replica.world.wall_us = time.time_ns() // 1000
        request = self._replica.request(f"bot-of-{name}", record_version=self._versions[name])
        return self._replica.bundle.digest, request

    async def decide(self, name: str, sources: list[tuple[str, str]]) -> tuple[Any, ...]:
        digest, request = self.prepared(name, sources)
        return await self.hosts[name].decide(digest, [tuple(request)])

    async def decided(self, name: str, sources: list[tuple[str, str]]) -> Decided:
        tag, ((decided, *answer),) = await self.decide(name, sources)
        assert (tag, decided) == (messages.BATCH, messages.DECIDED)
        return Decided._make(answer)

    async def follow(self, name: str) -> None:
        """Have a host renew its lease and take over what it hears of, as it does twice a second."""
        host = self.hosts[name]
        await host.refresh()
        assert host._adopting is not None
        await host._adopting


@pytest.fixture
def run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[[Callable[[Fleet], Awaitable[None]]], None]:
    """Run a story over a fleet that has begun."""

    def run(story: Callable[[Fleet], Awaitable[None]]) -> None:
        async def told() -> None:
            fleet = Fleet(tmp_path)
            monkeypatch.setattr(agent_host, "ask", fleet.call)
            # Leases are renewed when a story says so.
            monkeypatch.setattr(agent_host, "REFRESH_S", 3600.0)
            await fleet.begin()
            await story(fleet)

        asyncio.run(told())

    return run


Run = Callable[[Callable[[Fleet], Awaitable[None]]], None]


def a_lease_passes(host: AgentHost) -> None:
    """As if the host had heard of the newest activation more than a lease ago."""
    host._directory.activation_known_s -= 2.5


def test_whoever_was_told_acknowledges_and_decides_with_it(run: Run) -> None:
    async def story(fleet: Fleet) -> None:
        before = fleet.control.activation
        answer = await fleet.activate(NEW)
        assert answer["acknowledged"] == list(NAMES) and answer["lagging"] == []
        assert answer["replaces"] == before.digest != answer["digest"]
        for name in NAMES:
            assert await fleet.bundle_of(name) == answer["digest"]
            assert (await fleet.decided(name, NEW)).bundle == answer["digest"]

    run(story)


def test_until_every_owner_has_compiled_it_the_old_one_is_in_force(run: Run) -> None:
    async def story(fleet: Fleet) -> None:
        old = fleet.control.activation.digest
        seen: list[tuple[str, str | None]] = []
        fleet.before = lambda name, method: seen.append((method, fleet.control.activation.digest))
        new = (await fleet.activate(NEW))["digest"]
        assert [digest for method, digest in seen if method == "prepare_bundle"] == [old, old]
        assert [digest for method, digest in seen if method == "activate"] == [new, new]

    run(story)


def test_an_owner_that_does_not_acknowledge_is_named_and_holds_up_nobody(run: Run) -> None:
    async def story(fleet: Fleet) -> None:
        old = await fleet.bundle_of("host-001")
        fleet.silent = {"host-001"}
        answer = await fleet.activate(NEW)
        assert (answer["acknowledged"], answer["lagging"]) == (["host-000"], ["host-001"])
        assert fleet.control.activation.digest == answer["digest"]
        # One that says nothing is not asked to compile first; but told, in case it is back.
        asked = [method for name, method in fleet.asked if name == "host-001"]
        assert asked[-2:] == ["status", "activate"]
        assert (await fleet.decided("host-000", NEW)).effect == "allow"
        # It has not heard of it: its agents are decided for with what it has, and evidence says so.
        assert (await fleet.decided("host-001", OLD)).bundle == old

    run(story)


def test_an_owner_that_goes_silent_between_compiling_and_acknowledging_lags(run: Run) -> None:
    async def story(fleet: Fleet) -> None:
        def fall_silent(name: str, method: str) -> None:
            if (name, method) == ("host-000", "activate"):
                raise UnavailableError("gone", code="owner_unreachable")

        fleet.before = fall_silent
        answer = await fleet.activate(NEW)
        assert (answer["acknowledged"], answer["lagging"]) == (["host-001"], ["host-000"])

    run(story)


def test_a_laggard_that_hears_of_it_takes_it_over_by_itself(run: Run) -> None:
    async def story(fleet: Fleet) -> None:
        fleet.silent = {"host-001"}
        answer = await fleet.activate(NEW)
        await fleet.follow("host-001")
        assert await fleet.bundle_of("host-001") == answer["digest"]
        assert (await fleet.hosts["host-001"].status())["ready"]
        fleet.silent = set()
        # Activating what is active again is how an operator asks who has it.
        again = await fleet.activate_stored(answer["digest"])
        assert (again["acknowledged"], again["lagging"]) == (list(NAMES), [])
        assert again["replaces"] is None and fleet.control.activation.number == 2

    run(story)


def test_an_owner_that_knows_of_a_newer_bundle_and_cannot_compile_it_denies_after_a_lease(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def story(fleet: Fleet) -> None:
        host = fleet.hosts["host-001"]

        async def broken(digest: str, sources: list[Any]) -> ActiveBundle:
            raise UnavailableError("no memory to compile it", code="owner_failed")

        monkeypatch.setattr(host._bundles, "compiled", broken)
        answer = await fleet.activate(NEW)
        assert (answer["acknowledged"], answer["lagging"]) == (["host-000"], ["host-001"])
        await fleet.follow("host-001")
        assert (await fleet.decided("host-001", OLD)).effect == "allow"
        a_lease_passes(host)
        denied = await fleet.decided("host-001", OLD)
        assert (denied.effect, denied.reason_code) == ("deny", "bundle_lagging")
        assert (await host.status())["reason"] == "bundle_lagging"
        monkeypatch.undo()
        monkeypatch.setattr(agent_host, "ask", fleet.call)
        await fleet.follow("host-001")
        assert (await fleet.decided("host-001", NEW)).effect == "allow"
        assert (await host.status())["reason"] is None

    run(story)


def test_sources_that_compile_to_something_else_are_taken_over_by_nobody(run: Run) -> None:
    async def story(fleet: Fleet) -> None:
        answer = await fleet.activate(NEW, digest="sha256:" + "f" * 64)
        assert (answer["acknowledged"], answer["lagging"]) == ([], list(NAMES))
        for name in NAMES:
            await fleet.follow(name)
            a_lease_passes(fleet.hosts[name])
            denied = await fleet.decided(name, OLD)
            assert (denied.effect, denied.reason_code) == ("deny", "bundle_lagging")
            assert (await fleet.hosts[name].status())["reason"] == "bundle_mismatch"

    run(story)


def test_a_word_that_was_overtaken_on_the_way_takes_nobody_back(run: Run) -> None:
    async def story(fleet: Fleet) -> None:
        old = fleet.store(OLD)
        new = fleet.store(NEW)
        host = fleet.hosts["host-000"]
        assert await host.activate(new, 9, NEW)
        # To whoever sent the older word it is the truth that the host is past it.
        assert await host.activate(old, 8, OLD)
        assert await fleet.bundle_of("host-000") == new
        assert (await fleet.decided("host-000", NEW)).bundle == new
        # Nor does a lease that says the older one, nor a restart.
        await fleet.follow("host-000")
        assert await fleet.bundle_of("host-000") == new
        host = await fleet.start("host-000")
        assert await host.activate(old, 8, OLD)
        assert await fleet.bundle_of("host-000") == new

    run(story)


def test_two_activations_at_once_leave_all_with_the_one_that_was_numbered_last(run: Run) -> None:
    async def story(fleet: Fleet) -> None:
        fleet.store(OLD)
        third = [("p.yaml", POLICY + "  - {id: more, on: {tool: ledger.pay}, then: allow}\n")]
        digests = [fleet.store(NEW), fleet.store(third), fleet.store(OLD)]
        answers = await asyncio.gather(*(fleet.activate_stored(digest) for digest in digests * 3))
        assert all(answer["lagging"] == [] for answer in answers)
        active = fleet.control.activation
        for name in NAMES:
            assert await fleet.bundle_of(name) == active.digest

    run(story)


def test_what_was_prepared_with_another_bundle_is_stale_and_leaves_no_row(run: Run) -> None:
    async def story(fleet: Fleet) -> None:
        new = (await fleet.activate(NEW))["digest"]
        for name in NAMES:
            before = (await fleet.hosts[name].status())["pending_rows"]
            assert await fleet.decide(name, OLD) == (messages.STALE_BUNDLE, new)
            assert (await fleet.hosts[name].status())["pending_rows"] == before
            # Prepared once more with what the answer names, it is decided.
            assert (await fleet.decided(name, NEW)).bundle == new
            assert (await fleet.hosts[name].status())["pending_rows"] == before + 1

    run(story)


def test_an_owner_started_anew_decides_nothing_before_it_has_compiled_its_bundle(run: Run) -> None:
    async def story(fleet: Fleet) -> None:
        active = fleet.control.activation.digest
        host = await fleet.start("host-000")
        assert await fleet.decide("host-000", OLD) == (messages.STALE_BUNDLE, active)
        assert (await host.status())["reason"] == "bundle_loading"
        await fleet.follow("host-000")
        assert (await fleet.decided("host-000", OLD)).effect == "allow"

    run(story)


def test_what_is_not_stored_is_not_activated_and_nobody_hears_of_it(run: Run) -> None:
    async def story(fleet: Fleet) -> None:
        before, asked = fleet.control.activation, len(fleet.asked)
        with pytest.raises(NotFoundError, match="upload it first"):
            await fleet.activate_stored("sha256:" + "0" * 64)
        assert fleet.control.activation == before and len(fleet.asked) == asked

    run(story)
