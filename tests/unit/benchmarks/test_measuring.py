"""What benchmarks measure is what they say: calls that are allowed, latencies that count from when they were due."""

from __future__ import annotations

import asyncio
import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from unit.evidence.evidence_samples import full_row

from benchmarks import bundles, cpu, landing, load
from benchmarks.load import Spec
from controlplane.wire import authzen, json_input
from evidence.delta.table import EvidenceTable
from evidence.landing import LogBatch
from evidence.record import canonical_bytes, leaf_hash
from policies.action import Action, Resource, Subject
from policies.compile import compile_sources
from policies.effect import Effect
from policies.prepare import Preparer
from policies.verdict import decide


@pytest.mark.parametrize("rules", [2, 10, 1_000, 5_003])
def test_a_bundle_has_as_many_rules_as_it_says(rules: int) -> None:
    assert len(compile_sources(bundles.sources(rules, mixed=rules % 2 == 1)).rules) == rules


def test_every_call_that_is_sent_is_allowed_and_meets_conditions() -> None:
    bundle = compile_sources(bundles.sources(1_000))
    preparer = Preparer(bundle)
    singles = [json_input.parse(body) for body in bundles.bodies(["a", "b"], rules=1_000)]
    items = [
        item
        for body in bundles.batches(["a", "b"], rules=1_000, size=10, count=3)
        for item in json_input.parse(body)["evaluations"]  # type: ignore[union-attr]
    ]
    assert len(singles) == 256 and len(items) == 30
    tools = set()
    for body in (*singles, *items):
        request = authzen.parse_evaluation(body)  # type: ignore[arg-type]
        tools.add(request.resource_id)
        prepared = preparer.prepare(
            Action(
                tenant="default",
                subject=Subject(type=request.subject_type, id=request.subject_id),
                name=request.action,
                resource=Resource(type=request.resource_type, id=request.resource_id),
                arguments=request.arguments,
                now_us=0,
            )
        )
        verdict = decide(
            bundle, possibly=prepared.possibly, certainly=prepared.certainly, refusal=prepared.refusal
        )
        assert verdict.effect is Effect.ALLOW
    assert len(tools) > 100, "calls that are all alike would be answered from caches"
    matching = [atom for atom in bundle.atoms if atom.when is not None]
    assert len(matching) > 990


def test_processor_time_is_told_by_request_and_what_is_next_to_nothing_is_left_out() -> None:
    before = {"replica": 1.0, "gone": 3.0}
    after = {"replica": 1.5, "host": 0.25, "idle": 0.0}
    assert cpu.per_request_us([(before, after, 1_000)]) == {"replica": 500.0, "host": 250.0}
    assert cpu.per_request_us([(before, after, 500), (after, after, 1_500)]) == {
        "replica": 250.0,
        "host": 125.0,
    }


def test_landing_counts_from_the_decision_to_the_commit_and_only_what_was_asked_for(tmp_path: Path) -> None:
    table = EvidenceTable.open_or_create(str(tmp_path / "t"))
    now_us = time.time_ns() // 1000
    long_ago_us, ten_s_ago_us = now_us - 3_600_000_000, now_us - 10_000_000
    for first, times_us in ((0, [long_ago_us] * 2), (2, [ten_s_ago_us] * 3)):
        records = [
            canonical_bytes(full_row(log_id="a", seq=first + n, event_time=time_us))
            for n, time_us in enumerate(times_us)
        ]
        batch = LogBatch(
            log_id="a",
            first_seq=first,
            last_seq=first + len(records) - 1,
            records=[(record, leaf_hash(record)) for record in records],
        )
        table.land([batch], ingest_time_us=now_us)
    found = landing.delays_s(tmp_path / "t", since_us=ten_s_ago_us)
    assert found["decisions"] == 3
    assert found["max"] >= found["p50"] >= 10
    assert landing.bytes_per_row(tmp_path / "t") > 100


_ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}"
_BUSY = b"HTTP/1.1 429 Too Many Requests\r\nContent-Length: 2\r\n\r\n{}"


class Server(asyncio.Protocol):
    """Answers each request at once, but for a stall after the first ones."""

    stall_s = 0.0
    answer = _ANSWER
    served = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        type(self).served += 1
        if type(self).served == 5:
            time.sleep(type(self).stall_s)
        head, _, body = data.partition(b"\r\n\r\n")
        assert head.startswith(b"POST /x HTTP/1.1") and b"Bearer key" in head
        assert json.loads(body) in ({"n": 1}, {"n": 2})
        self.transport.write(type(self).answer)  # type: ignore[attr-defined]


@contextmanager
def serving(*, stall_s: float = 0.0, answer: bytes = _ANSWER, kind: type[Server] = Server) -> Iterator[int]:
    """A server on a thread of its own; gives its port."""

    class Own(kind):  # type: ignore[misc, valid-type]
        pass

    Own.stall_s, Own.answer, Own.served = stall_s, answer, 0
    loop = asyncio.new_event_loop()
    server = loop.run_until_complete(loop.create_server(Own, "127.0.0.1", 0))
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        server.close()
        loop.close()


def spec(port: int, **changes: object) -> Spec:
    given: dict[str, object] = {
        "port": port,
        "path": "/x",
        "key": "key",
        "bodies": ['{"n":1}', '{"n":2}'],
        "connections": 2,
        "seconds": 1,
    }
    return Spec(**(given | changes))  # type: ignore[arg-type]


def test_a_closed_loop_counts_every_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(load.shutil, "which", lambda _: None)
    with serving() as port:
        result = load.closed_loop(spec(port))
    assert result.client == "python"
    assert result.statuses == {"200": result.requests} and result.requests > 10
    assert result.unanswered == 0


def test_an_answer_that_is_no_200_is_counted_and_has_no_latency(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(load.shutil, "which", lambda _: None)
    with serving(answer=_BUSY) as port:
        result = load.closed_loop(spec(port))
    assert set(result.statuses) == {"429"} and result.per_s == 0
    assert result.latency_ms["max"] == 0


def test_connections_that_the_server_ends_are_replaced(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(load.shutil, "which", lambda _: None)
    with serving(answer=_BUSY.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n")) as port:
        closed = load.closed_loop(spec(port))
        opened = load.open_loop(spec(port, rate_per_s=50.0))
    assert closed.statuses["429"] > 2 and set(closed.statuses) == {"429"}
    assert opened.statuses["429"] > 20 and opened.unanswered < 5


class Impatient(Server):
    """Ends a connection that was silent for a while, and says so, as HAProxy does."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        self.asked = False
        asyncio.get_running_loop().call_later(0.2, self.give_up)

    def data_received(self, data: bytes) -> None:
        self.asked = True
        super().data_received(data)

    def give_up(self) -> None:
        if not self.asked:
            self.transport.write(_ANSWER.replace(b"200 OK", b"408 Request Time-out"))  # type: ignore[attr-defined]
            self.transport.close()


def test_what_a_server_says_on_a_connection_that_asked_nothing_is_no_answer() -> None:
    with serving(kind=Impatient) as port:
        result = load.open_loop(spec(port, rate_per_s=50.0, connections=8))
    assert set(result.statuses) == {"200"} and result.statuses["200"] > 20
    assert result.unanswered < 5


def test_an_open_loop_charges_a_stall_to_everybody_who_was_due_in_it() -> None:
    with serving(stall_s=0.5) as port:
        result = load.open_loop(spec(port, rate_per_s=100.0, seconds=2))
    assert result.statuses["200"] == result.requests
    # Fifty were due while the server stalled. A client that waits for answers would have sent two of them, and the
    # ninetieth percentile would know of nothing.
    assert result.latency_ms["p90"] > 100
    assert result.latency_ms["max"] >= 500
