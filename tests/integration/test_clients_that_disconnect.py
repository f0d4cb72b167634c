"""Clients that leave in the middle of a request: nobody else notices."""

from __future__ import annotations

import socket
import time

import pytest
from integration.faults import against_table
from integration.faults.traffic import Group, Traffic
from integration.plane import Running

pytestmark = pytest.mark.ray


def test_a_client_that_disconnects_in_mid_request_disturbs_no_other(running: Running) -> None:
    agents = tuple(f"gone-{n}" for n in range(4))
    for agent in agents:
        running.client().request("POST", "/v1/agents", {"id": agent})
    traffic = Traffic(running, [Group(owner="any", agents=agents)], seed=time.monotonic_ns())
    body = (
        b'{"subject":{"type":"agent","id":"gone-0"},"action":{"name":"call"},'
        b'"resource":{"type":"tool","id":"ledger.pay"},"context":{"arguments":{"to":"a","amount":1}}}'
    )
    head = (
        f"POST /access/v1/evaluation HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {running.key}\r\n"
        f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    ).encode()
    traffic.start()
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
    assert not traffic.record.failures()
    assert len(traffic.record.answers) > 100
    running.wait_until_landed(timeout_s=60)
    against_table.everything_told_is_there(traffic.record.answers, against_table.rows_of(running))
