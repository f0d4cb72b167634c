"""Actors killed in the middle of traffic: nothing that a client received is lost, doubled or otherwise than it was
told, and traffic goes on by itself."""

from __future__ import annotations

import os
import signal
import socket
import threading
import time
from dataclasses import dataclass, field

import psutil
import pytest
from integration.plane import Running, wait_until

from controlplane.lifecycle import processes

pytestmark = pytest.mark.ray

CLIENTS = 6


@dataclass(slots=True)
class Traffic:
    """Clients that ask without pause, and their own record of what they were told."""

    running: Running
    agents: list[str]
    received: dict[str, str] = field(default_factory=dict)  # decision id → effect
    failed: int = 0
    stopping: threading.Event = field(default_factory=threading.Event)
    lock: threading.Lock = field(default_factory=threading.Lock)
    threads: list[threading.Thread] = field(default_factory=list)

    def start(self) -> None:
        self.threads = [threading.Thread(target=self._ask, args=(n,)) for n in range(CLIENTS)]
        for thread in self.threads:
            thread.start()

    def stop(self) -> None:
        self.stopping.set()
        for thread in self.threads:
            thread.join(timeout=30)

    def _ask(self, number: int) -> None:
        client = self.running.client(timeout_s=3)
        turn = number
        while not self.stopping.is_set():
            agent = self.agents[turn % len(self.agents)]
            turn += 1
            decision = client.decide(
                agent=agent, tool="ledger.pay", arguments={"to": "a", "amount": 5000 if turn % 3 else 1}
            )
            with self.lock:
                if decision.id:
                    self.received[decision.id] = decision.effect
                else:
                    self.failed += 1


def process_of(running: Running, actor: str) -> psutil.Process:
    """The process of an actor of this control plane: one with a journal by its open file, others by their title."""
    journal = str(running.settings.journals / f"{actor}.db")
    for process in processes.ours(running.settings):
        try:
            if actor in " ".join(process.cmdline()) or any(
                file.path == journal for file in process.open_files()
            ):
                return process
        except (psutil.NoSuchProcess, psutil.AccessDenied):
            continue
    raise AssertionError(f"no process of `{actor}`")


def test_actors_killed_in_the_middle_of_traffic_lose_and_double_nothing(running: Running) -> None:
    client = running.client()
    agents = [f"kill-{n}" for n in range(12)]
    for agent in agents:
        client.request("POST", "/v1/agents", {"id": agent})
    traffic = Traffic(running, agents)
    traffic.start()
    try:
        for victim in ("host-000", "EvidenceWriter", "host-001", "control", "DecisionService", "host-000"):
            before = len(traffic.received)
            wait_until(
                lambda before=before: len(traffic.received) > before + 50, timeout_s=60, what="traffic"
            )
            os.kill(process_of(running, victim).pid, signal.SIGKILL)
            wait_until(
                lambda: all(
                    client.decide(agent=agent, tool="ledger.pay", arguments={"to": "a", "amount": 1}).allowed
                    for agent in agents
                ),
                timeout_s=60,
                what=f"every agent to be allowed again after `{victim}` was killed",
            )
    finally:
        traffic.stop()
    running.wait_until_landed(timeout_s=60)
    rows = running.table_rows("SELECT event_id, decision FROM evidence WHERE event_type = 'decision'")
    in_table = {row["event_id"]: row["decision"] for row in rows}
    assert len(traffic.received) > 300
    assert len(rows) == len(in_table)
    assert {identity: in_table.get(identity) for identity in traffic.received} == traffic.received
    assert set(traffic.received.values()) == {"allow", "deny"}
    gaps = running.table_rows(
        "SELECT log_id, count(*) AS n, max(seq) AS last FROM evidence GROUP BY log_id HAVING count(*) <> max(seq) + 1"
    )
    assert gaps == []


def test_a_client_that_disconnects_in_mid_request_disturbs_no_other(running: Running) -> None:
    client = running.client()
    agents = [f"gone-{n}" for n in range(4)]
    for agent in agents:
        client.request("POST", "/v1/agents", {"id": agent})
    traffic = Traffic(running, agents)
    traffic.start()
    body = (
        b'{"subject":{"type":"agent","id":"gone-0"},"action":{"name":"call"},'
        b'"resource":{"type":"tool","id":"ledger.pay"},"context":{"arguments":{"to":"a","amount":1}}}'
    )
    head = (
        f"POST /access/v1/evaluation HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {running.key}\r\n"
        f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    ).encode()
    try:
        deadline_s = time.monotonic() + 5
        while time.monotonic() < deadline_s:
            # Half the clients leave before the body is complete, half right after it.
            for cut in (len(body) // 2, len(body)):
                with socket.create_connection(("127.0.0.1", running.settings.port)) as connection:
                    connection.sendall(head + body[:cut])
                # Paced: a flood of requests would be overload, which is another test.
                traffic.stopping.wait(0.005)
    finally:
        traffic.stop()
    assert traffic.failed == 0
    assert len(traffic.received) > 100
    running.wait_until_landed(timeout_s=60)
