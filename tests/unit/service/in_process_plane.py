"""A whole control plane without Ray, in one process: the real doors, actors, journals and evidence table.

Only what Ray does is replaced: looking an actor up by its name and carrying a call to it. Calls still go through
`actors.handles.ask`, and arguments, results and errors are pickled on the way, as Ray does. Everything runs on an
event loop in a thread of its own, so that leases are renewed and evidence lands while a test thinks.
"""

from __future__ import annotations

import asyncio
import gc
import json
import os
import pickle
import secrets
import tempfile
import threading
import time
from collections.abc import Callable, Coroutine, Iterator, MutableMapping, Sequence
from concurrent.futures import Future
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, TypeVar, cast

import pytest
import ray

from actors import api_keys, handles
from actors.agent_host import AgentHost
from actors.control_store import ControlStore
from actors.evidence_writer import EvidenceWriter
from actors.notifier_actor import NotifierActor
from actors.placement import CONTROL_STORE, EVIDENCE_WRITER, NOTIFIER, host_name, host_of
from controlplane.limits import Limits
from controlplane.service.application import Application
from controlplane.service.owners import Owners
from controlplane.service.routing import Route
from evidence.signing_keys import KeyFiles

T = TypeVar("T")

_START_TIMEOUT_S = 30.0
_WAIT_S = 20.0
UNLIMITED = Limits(key_per_s=0, agent_per_s=0)
WORKFLOWS = ["workflows"]

CATALOG_AND_POLICY = """
kind: Catalog
tools:
  ledger.read: {system: ledger, effects: [read], data: [financial], boundary: internal, args: {account: {type: string}}}
  ledger.pay:
    system: ledger
    effects: [pay, write]
    boundary: external
    data: []
    actions: [call]
    args: {to: {type: string, role: destination, required: true}, amount: {type: decimal, role: quantity}}
---
kind: Policy
name: spine
rules:
  - {id: everyday, on: {tool: ledger.*}, then: allow}
  - {id: too-much, on: {tool: ledger.pay}, when: args.amount > 1000.0, then: deny, because: more than a thousand}
"""


@dataclass(frozen=True, slots=True)
class Answer:
    """What a door answered; `body` as it was sent."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> dict[str, Any]:
        value = json.loads(self.body)
        assert isinstance(value, dict), value
        return value

    @property
    def code(self) -> str | None:
        """Of an error; None for anything else."""
        return cast("str | None", self.json.get("error", {}).get("code"))

    @property
    def permits(self) -> bool:
        return self.status == 200 and self.json.get("decision") is True

    @property
    def reason(self) -> str | None:
        """The reason code of a decision, or the code of an error."""
        return self.code or self.json.get("context", {}).get("reason_code")


class Clocks:
    """The clocks of one plane's thread, which a test can move: all of them on, or the wall clock alone."""

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        self.thread: threading.Thread | None = None
        self._wall_us = 0
        self._monotonic_us = 0
        wall_ns, monotonic_ns = time.time_ns, time.clock_gettime_ns

        def shifted_ns(by_us: int) -> int:
            return by_us * 1000 if threading.current_thread() is self.thread else 0

        patch.setattr(time, "time_ns", lambda: wall_ns() + shifted_ns(self._wall_us))
        patch.setattr(
            time, "clock_gettime_ns", lambda which: monotonic_ns(which) + shifted_ns(self._monotonic_us)
        )

    def pass_s(self, seconds: float) -> None:
        self._wall_us += int(seconds * 1e6)
        self._monotonic_us += int(seconds * 1e6)

    def jump_s(self, seconds: float) -> None:
        """Somebody sets the wall clock."""
        self._wall_us += int(seconds * 1e6)


class _Handle:
    """Stands for Ray's handle of one actor: `handle.method.remote(…)`."""

    def __init__(self, actors: Actors, name: str) -> None:
        self._actors = actors
        self._name = name

    def __getattr__(self, method: str) -> Any:
        actors, name = self._actors, self._name

        class Method:
            @staticmethod
            def remote(*arguments: Any) -> asyncio.Future[Any]:
                return actors.call(name, method, arguments)

        return Method


class Actors:
    """Stands for Ray: named actors and calls to them.

    Attributes:
        held: (actor, method) whose calls wait until the event is set: on their way, or at an owner that is stopped.
        dead: actors that cannot be reached.
        calls: (actor, method) of every call, in order.
    """

    def __init__(self) -> None:
        self.named: dict[str, Any] = {}
        self.held: dict[tuple[str, str], asyncio.Event] = {}
        self.dead: set[str] = set()
        self.calls: list[tuple[str, str]] = []
        self._under_way: set[asyncio.Task[Any]] = set()

    def handle(self, name: str) -> _Handle:
        if name not in self.named:
            raise ValueError(f"no actor `{name}`")
        return _Handle(self, name)

    def call(self, name: str, method: str, arguments: tuple[Any, ...]) -> asyncio.Future[Any]:
        self.calls.append((name, method))
        task = asyncio.get_running_loop().create_task(self._call(name, method, arguments))
        self._under_way.add(task)
        task.add_done_callback(self._under_way.discard)
        # Whoever stops waiting does not stop the call.
        return asyncio.shield(task)

    async def _call(self, name: str, method: str, arguments: tuple[Any, ...]) -> Any:
        if name in self.dead:
            raise ray.exceptions.ActorUnavailableError("the actor is dead", None)
        if (held := self.held.get((name, method))) is not None:
            await held.wait()
        arguments = pickle.loads(pickle.dumps(arguments))
        try:
            result = await getattr(self.named[name], method)(*arguments)
        except Exception as error:
            raise ray.exceptions.RayTaskError(method, "", pickle.loads(pickle.dumps(error))) from None
        return pickle.loads(pickle.dumps(result))

    def end_calls(self) -> None:
        for task in self._under_way:
            task.cancel()


class _LocalOwners:
    """What an application needs of `Owners`; dedicated owners start in this process."""

    def __init__(self, plane: InProcessPlane) -> None:
        self._plane = plane
        self.hosts = plane.hosts
        self.channels = plane.channels
        self.places = ()

    async def start_dedicated(self, name: str, ordinal: int) -> None:
        self._plane.start_owner(name, ordinal)
        await _until(lambda: self._plane.is_ready(name), f"`{name}` to be ready")


@dataclass(slots=True)
class InProcessPlane:
    """A control plane that runs; made by `in_process_plane`.

    Args:
        folder: empty; journals, secrets and the evidence table come here.
        hosts: how many.
        channels: folder of the sockets between replica and owners; empty = every call goes the way through Ray.
        evidence: folder of the evidence table, or `s3://bucket/prefix`.
    """

    folder: Path
    hosts: int
    channels: str
    evidence: Path | str
    clocks: Clocks
    limits: Limits
    operator: str = field(default_factory=lambda: api_keys.mint(os.urandom)[1])
    actors: Actors = field(default_factory=Actors)
    application: Application = field(init=False)
    loop: asyncio.AbstractEventLoop = field(default_factory=asyncio.new_event_loop)
    _thread: threading.Thread = field(init=False)

    # -- asking --------------------------------------------------------------------------------------------------

    def send(self, method: str, path: str, body: Any = None, **more: Any) -> Answer:
        """Send one request and wait for its answer; see `exchange`."""
        return self.run(self.exchange(method, path, body, **more))

    async def exchange(
        self,
        method: str,
        path: str,
        body: Any = None,
        *,
        key: str | None = "",
        headers: dict[str, str] | None = None,
        parts: Sequence[bytes] | None = None,
        pause_s: float = 0.0,
        application: Application | None = None,
    ) -> Answer:
        """One request through the ASGI entry.

        Args:
            body: bytes as they are, None for none, anything else as JSON.
            key: the operator's when empty; None = no key at all.
            headers: further ones; they replace what is sent otherwise.
            parts: the body in these parts instead, each of them `pause_s` after the one before.
            application: the replica to ask; the first one unless said otherwise.
        """
        path, _, query = path.partition("?")
        sent = {} if key is None else {"authorization": f"Bearer {key or self.operator}"}
        sent |= headers or {}
        scope = {
            "type": "http",
            "method": method,
            "path": path,
            "query_string": query.encode("latin-1"),
            "headers": [(name.encode("latin-1"), value.encode("latin-1")) for name, value in sent.items()],
        }
        raw = b"" if body is None else body if isinstance(body, bytes) else json.dumps(body).encode()
        waiting = list(parts if parts is not None else [raw])
        answered: list[MutableMapping[str, Any]] = []

        async def receive() -> MutableMapping[str, Any]:
            if not waiting:
                return {"type": "http.disconnect"}
            if pause_s and len(waiting) < len(parts or ()):
                await asyncio.sleep(pause_s)
            return {"type": "http.request", "body": waiting.pop(0), "more_body": bool(waiting)}

        async def send(message: MutableMapping[str, Any]) -> None:
            answered.append(message)

        await (application or self.application).ingress(scope, receive, send)
        start, *rest = answered
        return Answer(
            status=start["status"],
            headers={name.decode(): value.decode() for name, value in start["headers"]},
            body=b"".join(message["body"] for message in rest),
        )

    def begin(self, method: str, path: str, body: Any = None, **more: Any) -> Future[Answer]:
        """Send one request and do not wait for its answer."""
        return asyncio.run_coroutine_threadsafe(self.exchange(method, path, body, **more), self.loop)

    def ask(
        self,
        agent: str = "bot",
        tool: str = "ledger.pay",
        *,
        key: str = "",
        headers: dict[str, str] | None = None,
        **context: Any,
    ) -> Answer:
        """Ask for one decision; `to` and `amount` are there unless `arguments` say otherwise."""
        body = question(agent, tool, **context)
        return self.send("POST", "/access/v1/evaluation", body, key=key, headers=headers)

    def hold(self, name: str, method: str) -> None:
        """Let calls of this method wait, until `let_go`."""
        self.actors.held[name, method] = asyncio.Event()

    def let_go(self, name: str, method: str) -> None:
        self.do(self.actors.held.pop((name, method)).set)

    # -- what tests need beside the doors -------------------------------------------------------------------------

    @property
    def routes(self) -> tuple[Route, ...]:
        return self.application.ingress._router.routes

    @property
    def store(self) -> ControlStore:
        return cast(ControlStore, self.actors.named[CONTROL_STORE])

    @property
    def writer(self) -> EvidenceWriter:
        return cast(EvidenceWriter, self.actors.named[EVIDENCE_WRITER])

    @property
    def notifier(self) -> NotifierActor:
        return cast(NotifierActor, self.actors.named[NOTIFIER])

    def host(self, index: int) -> AgentHost:
        return cast(AgentHost, self.actors.named[host_name(index)])

    def host_of(self, agent: str) -> AgentHost:
        return self.host(host_of(f"default/agent/{agent}", self.hosts))

    def owners(self) -> list[AgentHost]:
        return [actor for actor in self.actors.named.values() if isinstance(actor, AgentHost)]

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        """Run a coroutine where everything of the plane runs, and wait for it."""
        return asyncio.run_coroutine_threadsafe(work, self.loop).result(_START_TIMEOUT_S * 2)

    def do(self, work: Callable[[], T]) -> T:
        """Call something where everything of the plane runs, between two of its steps."""

        async def call() -> T:
            return work()

        return self.run(call())

    def wait_until(self, condition: Callable[[], bool], what: str) -> None:
        """Look again and again, where everything of the plane runs."""
        self.run(_until(condition, what))

    def register(self, agent: str = "bot", **more: Any) -> None:
        answer = self.send("POST", "/v1/agents", {"id": agent, **more})
        assert answer.status == 201, answer

    def make_key(self, **given: Any) -> tuple[str, str]:
        """A new key: (its id, the key)."""
        answer = self.send("POST", "/v1/keys", given)
        assert answer.status == 201, answer
        return answer.json["id"], answer.json["key"]

    def activate(self, *texts: str) -> str:
        """Upload and activate a bundle. Returns: its digest."""
        answer = self.send("POST", "/v1/bundles", bundle_body(*texts, activate=True))
        assert answer.status == 201 and answer.json["lagging"] == [], answer
        return str(answer.json["digest"])

    def renew_leases(self) -> None:
        """After a test has moved the clocks: what would happen by itself in half a second."""

        async def renew() -> None:
            for owner in self.owners():
                await owner.refresh()
            await self.application._fleet.refresh()

        self.run(renew())

    def is_ready(self, name: str) -> bool:
        return cast(AgentHost, self.actors.named[name])._not_ready() is None

    def decision_rows(self) -> list[dict[str, Any]]:
        """Every decision in evidence, wherever it is: landed or still in a journal. In the order of their logs."""
        self.wait_until(self._nothing_pending, "evidence to land")
        from evidence.query import query

        rows: list[dict[str, Any]] = query(
            str(self.evidence), "SELECT * FROM evidence WHERE event_type = 'decision' ORDER BY log_id, seq"
        ).to_pylist()
        return rows

    def sequences(self) -> dict[str, list[int]]:
        """The sequence numbers in the evidence table by log."""
        self.wait_until(self._nothing_pending, "evidence to land")
        from evidence.query import query

        found: dict[str, list[int]] = {}
        rows = query(str(self.evidence), "SELECT log_id, seq FROM evidence ORDER BY log_id, seq").to_pylist()
        for row in rows:
            found.setdefault(row["log_id"], []).append(row["seq"])
        return found

    def _nothing_pending(self) -> bool:
        journals = [owner._owner.journal for owner in self.owners() if owner._owner is not None]
        assert self.store._control is not None
        journals.append(self.store._control.journal)
        return all(journal.usable and journal.pending_count() == 0 for journal in journals)

    def new_replica(self) -> Application:
        """Another replica of the same plane, which nobody has asked yet. Its lease is not renewed by itself."""
        return Application(
            cast(Owners, _LocalOwners(self)),
            digest_key=b"d" * 32,
            base_url="http://cp.example",
            limits=self.limits,
            wrapping_key=b"w" * 32,
            table=str(self.evidence),
        )

    # -- starting and ending --------------------------------------------------------------------------------------

    def start_owner(self, name: str, ordinal: int) -> None:
        """Start an owner, or start it again over the journal that it has."""
        self.end_actor(name)
        self.actors.named[name] = AgentHost(
            name, ordinal, str(self.folder / "journals"), str(self.folder / "secrets.json"), self.channels
        )

    def restart_host(self, index: int) -> None:
        """What Ray does when a host's process has died: a new one opens the journal."""
        name = host_name(index)
        self.do(lambda: self.start_owner(name, index))
        self.wait_until(lambda: self.is_ready(name), f"`{name}` to be ready")

    def restart_store(self) -> None:
        def restart() -> None:
            self.end_actor(CONTROL_STORE)
            self.actors.named[CONTROL_STORE] = ControlStore(str(self.folder / "journals"), self.hosts)

        self.do(restart)
        self.wait_until(self._store_ready, "the control store")

    def start_writer(self) -> None:
        """Start the evidence writer; its key is made the first time."""
        keys = KeyFiles(
            private=self.folder / "evidence.json",
            notes=self.folder / "keys.notes",
            public=self.folder / "keys.vkey",
        )
        keys.create("controlplane-test", created_at="2026-09-04T12:00:00Z", random_bytes=os.urandom)
        self.actors.named[EVIDENCE_WRITER] = EvidenceWriter(
            str(self.evidence), self.hosts, keys, str(self.folder / "checkpoint-files")
        )

    def start_notifier(self) -> None:
        self.actors.named[NOTIFIER] = NotifierActor(str(self.folder / "journals"), self.hosts)

    def end_actor(self, name: str) -> None:
        """End an actor's tasks and close its journal: nothing of it goes on."""
        actor = self.actors.named.pop(name, None)
        match actor:
            case AgentHost():
                for task in actor._tasks:
                    task.cancel()
                if actor._listening is not None:
                    actor._listening.close()
                if actor._owner is not None:
                    actor._owner.journal.close()
            case ControlStore():
                actor._reopening.cancel()
                if actor._control is not None:
                    actor._control.journal.close()
            case NotifierActor():
                for task in (*actor._tasks, *actor._taking.values()):
                    task.cancel()
                if actor._notifier is not None:
                    for under_way in actor._notifier._under_way.values():
                        for task in under_way.values():
                            task.cancel()
                    actor._notifier.deliveries.journal.close()
                actor._sending._threads.shutdown(wait=False)
            case EvidenceWriter():
                for task in actor._tasks:
                    task.cancel()
                actor.retention.close()
                actor._thread.shutdown(wait=True)

    def _store_ready(self) -> bool:
        store = self.store
        return store._control is not None and store._control.journal.usable and store._feed.trouble is None

    async def _start(self) -> None:
        journals = self.folder / "journals"
        journals.mkdir()
        secret = {"session_key": secrets.token_hex(32)}
        (self.folder / "secrets.json").write_text(json.dumps(secret))
        self.actors.named[CONTROL_STORE] = ControlStore(str(journals), self.hosts)
        for index in range(self.hosts):
            self.start_owner(host_name(index), index)
        self.start_writer()
        self.application = self.new_replica()

    async def _ready(self) -> None:
        await _until(self._store_ready, "the control store")
        assert await self.store.call("ensure_operator_key", {"key": self.operator})
        for index in range(self.hosts):
            with suppress(Exception):
                await self.host(index).refresh()
            await _until(lambda index=index: self.is_ready(host_name(index)), f"host {index}")  # type: ignore[misc]
        await self.application._start()

    def __enter__(self) -> InProcessPlane:
        self._thread = threading.Thread(target=self.loop.run_forever, name="in-process plane", daemon=True)
        self.clocks.thread = self._thread
        self._thread.start()
        self.run(self._start())
        return self

    def wait_until_ready(self) -> None:
        self.run(self._ready())

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        async def end() -> None:
            for task in self.application._background:
                task.cancel()
            for name in list(self.actors.named):
                self.end_actor(name)
            self.actors.end_calls()
            left = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
            for task in left:
                task.cancel()
            await asyncio.gather(*left, return_exceptions=True)
            await asyncio.get_running_loop().shutdown_default_executor()

        self.run(end())
        self.loop.call_soon_threadsafe(self.loop.stop)
        self._thread.join(_START_TIMEOUT_S)
        self.loop.close()


@contextmanager
def in_process_plane(
    folder: Path,
    *,
    hosts: int = 2,
    channels: bool = False,
    evidence: Path | str | None = None,
    ready: bool = True,
    limits: Limits = UNLIMITED,
) -> Iterator[InProcessPlane]:
    """A running control plane with an operator's key, and nothing active.

    Args:
        channels: whether replica and owners speak over Unix sockets, as they do on one machine.
        evidence: where the evidence table is, or is to be; in `folder` unless said otherwise.
        ready: whether to wait until it decides.
    """
    thresholds = gc.get_threshold()
    patch = pytest.MonkeyPatch()
    # A socket's path has room for 107 bytes, which pytest's folders may use up.
    sockets = tempfile.TemporaryDirectory(prefix="cp-") if channels else None
    try:
        plane = InProcessPlane(
            folder=folder,
            hosts=hosts,
            channels=sockets.name if sockets else "",
            evidence=evidence or folder / "evidence",
            clocks=Clocks(patch),
            limits=limits,
        )
        others = handles.actor_handle

        def handle(name: str) -> Any:
            own = asyncio.get_running_loop() is plane.loop
            return plane.actors.handle(name) if own else others(name)

        patch.setattr(handles, "actor_handle", handle)
        with plane:
            if ready:
                plane.wait_until_ready()
            yield plane
    finally:
        patch.undo()
        if sockets:
            sockets.cleanup()
        # Owners and replicas set the collector to their liking.
        gc.set_threshold(*thresholds)
        gc.unfreeze()


def question(agent: str = "bot", tool: str = "ledger.pay", **context: Any) -> dict[str, Any]:
    """The body of an evaluation that is allowed unless the rest says otherwise."""
    if "arguments" not in context:
        context["arguments"] = {"to": "DE89", "amount": 12} if tool == "ledger.pay" else {}
    return {
        "subject": {"type": "agent", "id": agent},
        "action": {"name": "call"},
        "resource": {"type": "tool", "id": tool},
        "context": context,
    }


def bundle_body(*texts: str, **more: Any) -> dict[str, Any]:
    return {"sources": [{"name": f"{n}.yaml", "text": text} for n, text in enumerate(texts)], **more}


async def _until(condition: Callable[[], bool], what: str) -> None:
    deadline_s = time.monotonic() + _WAIT_S
    while not condition():
        if time.monotonic() > deadline_s:
            raise AssertionError(f"waited {_WAIT_S:g} s for {what}")
        await asyncio.sleep(0.01)
