"""Load on one HTTP endpoint, from a process of its own: closed loop (as fast as answers come) or open loop (on a
schedule that waits for nobody).

In the open loop a latency is counted from the moment at which the request was *due*, so that a server that stalls is
charged for everything that it kept waiting (no coordinated omission). Histograms are HDR, 3 significant digits.

The client is raw sockets under uvloop: it does nothing but write prepared bytes and count answers. `wrk` takes its
place in the closed loop where it is installed (`apt install wrk`): it costs a fifth, on cores that the server shares.

    python -m benchmarks.load SPEC.json     # prints the result as JSON; called by the benchmarks
"""

from __future__ import annotations

import asyncio
import json
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections import Counter, deque
from dataclasses import asdict, dataclass, field
from pathlib import Path

import uvloop
from hdrh.histogram import HdrHistogram

_MAX_LATENCY_US = 60_000_000
PERCENTILES = (50.0, 90.0, 99.0, 99.9)


@dataclass(slots=True, kw_only=True)
class Spec:
    """What to send.

    Args:
        path: of the endpoint.
        bodies: sent in turn, each as a POST.
        seconds: how long.
        rate_per_s: open loop at this rate; None = closed loop.
    """

    port: int
    path: str
    key: str
    bodies: list[str]
    connections: int
    seconds: float
    rate_per_s: float | None = None


@dataclass(slots=True, kw_only=True)
class Result:
    """What came back.

    Attributes:
        per_s: answers with status 200 a second.
        latency_ms: by percentile, and `max`; of 200s only.
        statuses: how many answers of each status.
        unanswered: sent, or due, and without an answer at the end.
    """

    client: str
    requests: int
    per_s: float
    latency_ms: dict[str, float]
    statuses: dict[str, int] = field(default_factory=dict)
    unanswered: int = 0


def closed_loop(spec: Spec) -> Result:
    """Send as fast as answers come. Uses wrk if there is one."""
    return _with_wrk(spec) if shutil.which("wrk") else _in_own_process(spec)


def open_loop(spec: Spec) -> Result:
    """Send on schedule. Always with our own client."""
    assert spec.rate_per_s
    return _in_own_process(spec)


def _in_own_process(spec: Spec) -> Result:
    with tempfile.NamedTemporaryFile("w", suffix=".json") as file:
        json.dump(asdict(spec), file)
        file.flush()
        done = subprocess.run(
            [sys.executable, "-m", "benchmarks.load", file.name], capture_output=True, text=True, check=False
        )
    if done.returncode != 0:
        sys.exit(f"the load generator failed:\n{done.stderr}")
    return Result(**json.loads(done.stdout))


_LUA = """
wrk.method = "POST"
wrk.headers["Authorization"] = "Bearer %(key)s"
wrk.headers["Content-Type"] = "application/json"
local bodies = {}
for line in io.lines("%(bodies)s") do bodies[#bodies + 1] = wrk.format(nil, nil, nil, line) end
local turn = 0
request = function() turn = turn %% #bodies + 1; return bodies[turn] end
done = function(summary, latency, requests)
  local e = summary.errors
  io.write(string.format("RESULT %%d %%d %%d", summary.requests, summary.duration, e.status))
  io.write(string.format(" %%d", e.connect + e.read + e.write + e.timeout))
  for _, p in pairs({50, 90, 99, 99.9}) do io.write(string.format(" %%d", latency:percentile(p))) end
  io.write(string.format(" %%d\\n", latency.max))
end
"""


def _with_wrk(spec: Spec) -> Result:
    with tempfile.TemporaryDirectory() as folder:
        bodies, script = Path(folder) / "bodies", Path(folder) / "load.lua"
        bodies.write_text("\n".join(spec.bodies) + "\n")
        script.touch(mode=0o600)  # it holds a key
        script.write_text(_LUA % {"key": spec.key, "bodies": bodies})
        done = subprocess.run(
            [
                "wrk",
                "-t1",
                f"-c{spec.connections}",
                f"-d{max(1, round(spec.seconds))}",
                "-s",
                str(script),
                f"http://127.0.0.1:{spec.port}{spec.path}",
            ],
            capture_output=True,
            text=True,
            check=True,
        )
    found = re.search(r"^RESULT (.*)$", done.stdout, re.MULTILINE)
    if found is None:
        sys.exit(f"wrk printed no result:\n{done.stdout}{done.stderr}")
    requests, duration_us, failed, unanswered, *latencies_us = (int(word) for word in found.group(1).split())
    names = [*(f"p{p:g}" for p in PERCENTILES), "max"]
    statuses = {"200": requests - failed} | ({"other": failed} if failed else {})
    return Result(
        client="wrk",
        requests=requests,
        per_s=(requests - failed) / (duration_us / 1e6),
        latency_ms={name: us / 1000 for name, us in zip(names, latencies_us, strict=True)},
        statuses=statuses,
        unanswered=unanswered,
    )


class _Connection(asyncio.Protocol):
    """One connection: at most one request on its way."""

    def __init__(self, run: _Run) -> None:
        self._run = run
        self._buffer = b""
        self.due_s = 0.0
        self.busy = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport

    def ask(self, due_s: float) -> None:
        self.busy, self.due_s = True, due_s
        self.transport.write(self._run.next_request())  # type: ignore[attr-defined]

    def data_received(self, data: bytes) -> None:
        if not self.busy:
            return  # what a server says before it ends an idle connection (408) answers nothing
        self._buffer += data
        head = self._buffer.find(b"\r\n\r\n")
        if head < 0:
            return
        length = int(_LENGTH.search(self._buffer, 0, head).group(1))  # type: ignore[union-attr]
        if len(self._buffer) < head + 4 + length:
            return
        status, headers = self._buffer[9:12], self._buffer[:head]
        self._buffer = self._buffer[head + 4 + length :]
        self.busy = False
        if status != b"200" and b"connection: close" in headers.lower():
            self.transport.close()  # a server that refuses a body unread ends the connection
            self._run.counted(self, status)
        else:
            self._run.answered(self, status)

    def connection_lost(self, exc: Exception | None) -> None:
        self._run.lost(self)


_LENGTH = re.compile(rb"content-length: *(\d+)", re.IGNORECASE)


class _Run:
    """One run of our own client."""

    def __init__(self, spec: Spec) -> None:
        self._spec = spec
        head = (
            f"POST {spec.path} HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Bearer {spec.key}\r\n"
            "Content-Type: application/json\r\nContent-Length: "
        )
        self._requests = [f"{head}{len(b.encode())}\r\n\r\n{b}".encode() for b in spec.bodies]
        self._turn = 0
        self._latency = HdrHistogram(1, _MAX_LATENCY_US, 3)
        self._statuses: Counter[str] = Counter()
        self._connections: list[_Connection] = []
        self._idle: list[_Connection] = []
        self._late: deque[float] = deque()
        self._replacing: set[asyncio.Task[None]] = set()
        self._sent = 0
        self._ends_s = 0.0

    def next_request(self) -> bytes:
        self._turn = (self._turn + 1) % len(self._requests)
        self._sent += 1
        return self._requests[self._turn]

    def counted(self, connection: _Connection, status: bytes) -> None:
        self._statuses[status.decode()] += 1
        if status == b"200":
            self._latency.record_value(max(1, round((time.perf_counter() - connection.due_s) * 1e6)))

    def answered(self, connection: _Connection, status: bytes) -> None:
        self.counted(connection, status)
        self._go_on(connection)

    def _go_on(self, connection: _Connection) -> None:
        now_s = time.perf_counter()
        if self._late:  # due is due, also after the end
            connection.ask(self._late.popleft())
        elif now_s >= self._ends_s:
            return
        elif self._spec.rate_per_s is None:
            connection.ask(now_s)
        else:
            self._idle.append(connection)

    def lost(self, connection: _Connection) -> None:
        """A connection that ended is replaced, as any client would."""
        if connection.busy:
            self._statuses["connection lost"] += 1
        connection.busy = False
        self._connections.remove(connection)
        if connection in self._idle:
            self._idle.remove(connection)
        if time.perf_counter() < self._ends_s:
            task = asyncio.get_running_loop().create_task(self._replace())
            self._replacing.add(task)
            task.add_done_callback(self._replacing.discard)

    async def _replace(self) -> None:
        try:
            self._go_on(await self._connect())
        except OSError:
            self._statuses["connection refused"] += 1

    async def _connect(self) -> _Connection:
        _, connection = await asyncio.get_running_loop().create_connection(
            lambda: _Connection(self), "127.0.0.1", self._spec.port
        )
        self._connections.append(connection)
        return connection

    async def run(self) -> Result:
        for _ in range(self._spec.connections):
            await self._connect()
        began_s = time.perf_counter()
        self._ends_s = began_s + self._spec.seconds
        if self._spec.rate_per_s is None:
            for connection in list(self._connections):
                connection.ask(time.perf_counter())
            await asyncio.sleep(self._spec.seconds)
        else:
            await self._on_schedule(began_s, self._spec.rate_per_s)
        patience_s = time.perf_counter() + 10
        # Polled, at the end of a run: an event would cost each answer.
        while (  # noqa: ASYNC110
            self._late or any(c.busy for c in self._connections)
        ) and time.perf_counter() < patience_s:
            await asyncio.sleep(0.01)
        answered = sum(n for status, n in self._statuses.items() if status.isdigit())
        return Result(
            client="python",
            requests=answered,
            per_s=self._statuses["200"] / (time.perf_counter() - began_s),
            latency_ms={f"p{p:g}": self._latency.get_value_at_percentile(p) / 1000 for p in PERCENTILES}
            | {"max": self._latency.get_max_value() / 1000},
            statuses=dict(self._statuses),
            unanswered=self._sent - answered + len(self._late),
        )

    async def _on_schedule(self, began_s: float, rate_per_s: float) -> None:
        """Requests that are due go out on an idle connection, or on the next that becomes idle, oldest first: their
        clock has been running since they were due either way."""
        self._idle = list(self._connections)
        due = 0
        while (now_s := time.perf_counter()) < self._ends_s:
            while (due_s := began_s + due / rate_per_s) <= now_s:
                due += 1
                while self._idle and self._idle[-1].transport.is_closing():
                    self._idle.pop()
                if self._idle:
                    self._idle.pop().ask(due_s)
                else:
                    self._late.append(due_s)
            await asyncio.sleep(max(0.0, began_s + due / rate_per_s - time.perf_counter()))


def main() -> None:
    spec = Spec(**json.loads(Path(sys.argv[1]).read_text()))
    print(json.dumps(asdict(uvloop.run(_Run(spec).run()))))


if __name__ == "__main__":
    main()
