"""Stops over real HTTP and processes: in force when the command returns, through a SIGKILL, until they are released."""

from __future__ import annotations

import json
import os
import signal
from typing import Any

import pytest
from integration.faults.victims import Victim, found
from integration.plane import CATALOG_AND_POLICY, TODO, Running, controlplane, wait_until

from actors.placement import host_of

pytestmark = pytest.mark.ray

PROBING = (
    "  - {id: probing, limit: {count: denials, per: 1h, scope: agent, above: 2}, then: deny,"
    " stop: {agent, for: 1h}, because: it keeps trying}\n"
)
HERE = next(f"stop-{n}" for n in range(40) if host_of(f"default/agent/stop-{n}", 2) == 0)
PROBER = next(f"probe-{n}" for n in range(40) if host_of(f"default/agent/probe-{n}", 2) == 0)
OTHER = next(f"stop-{n}" for n in range(40) if host_of(f"default/agent/stop-{n}", 2) == 1)


def asked(running: Running, agent: str, amount: int = 1) -> tuple[str, str]:
    """(reason code of an answer, the same in words)."""
    decision = running.client(timeout_s=5).decide(
        agent=agent, tool="ledger.pay", arguments={"to": "a", "amount": amount}
    )
    return decision.reason_code, decision.message


def command(running: Running, *words: str) -> dict[str, Any]:
    shown = controlplane(*words, "--json", data=running.settings.data)
    value: dict[str, Any] = json.loads(shown.stdout)
    return value


def kill_host(running: Running) -> None:
    (host,) = found(running.settings, Victim.HOST_0)
    os.kill(host.pid, signal.SIGKILL)


def stops_of(running: Running, agent: str) -> list[dict[str, Any]]:
    """The live stops of an agent: other tests leave some of others."""
    shown = command(running, "stops")["stops"]
    return [one for one in shown if one["target"] == {"type": "agent", "id": agent}]


def events(running: Running) -> list[tuple[str, str, dict[str, Any]]]:
    running.wait_until_landed()
    rows = running.table_rows(
        "SELECT event_type, coalesce(agent_id, '') AS agent, details FROM evidence"
        " WHERE event_type LIKE 'stop%' OR reason_code = 'stopped' ORDER BY event_time, seq"
    )
    ours = [row for row in rows if row["agent"] in (HERE, OTHER, PROBER)]
    return [(row["event_type"], row["agent"], json.loads(row["details"] or "{}")) for row in ours]


def test_stop_kill_release_and_a_rule_that_stops(running: Running) -> None:
    operator = running.client()
    for agent in (HERE, OTHER, PROBER):
        operator.request("POST", "/v1/agents", {"id": agent})
    sources = [
        {"name": "spine.yaml", "text": CATALOG_AND_POLICY + PROBING},
        {"name": TODO.name, "text": TODO.read_text()},
    ]
    before = operator.request("GET", "/v1/bundles")["active"]
    running.client(timeout_s=60).request("POST", "/v1/bundles", {"sources": sources, "activate": True})
    assert asked(running, HERE)[0] == asked(running, OTHER)[0] == "rule_allow"

    stop = command(running, "stop", "agent", HERE, "--reason", "pays twice", "--for", "1h")
    assert stop["lagging"] == [] and {"host-000", "host-001"} <= set(stop["acknowledged"])
    code, detail = asked(running, HERE)
    assert code == "stopped" and stop["id"] in detail and "pays twice" in detail
    assert asked(running, OTHER)[0] == "rule_allow"

    kill_host(running)
    wait_until(lambda: asked(running, HERE)[0] == "stopped", timeout_s=60, what="it to be stopped as before")
    assert [one["id"] for one in stops_of(running, HERE)] == [stop["id"]]
    released = command(running, "release", stop["id"], "--reason", "mended")
    assert released["state"] == "released" and released["lagging"] == []
    assert asked(running, HERE)[0] == "rule_allow"

    codes = [asked(running, PROBER, amount=2_000)[0] for _ in range(5)]
    assert codes == ["rule_deny"] * 4 + ["stopped"]
    kill_host(running)
    wait_until(
        lambda: asked(running, PROBER)[0] == "stopped", timeout_s=60, what="it to be stopped as before"
    )
    wait_until(lambda: bool(stops_of(running, PROBER)), timeout_s=30, what="the operator to see it")
    (automatic,) = stops_of(running, PROBER)
    assert automatic["by"] == "rule:spine/probing"
    command(running, "release", automatic["id"], "--reason", "looked into")
    assert asked(running, PROBER)[0] == "rule_deny"  # its denials are still in the window

    told = events(running)
    control = [(kind, details["stop"]) for kind, _, details in told if kind.startswith("stop_")]
    assert control[:3] == [
        ("stop_set", stop["id"]),
        ("stop_released", stop["id"]),
        ("stop_set", automatic["id"]),
    ]
    denied = {(agent, details["stop"]) for kind, agent, details in told if kind == "decision"}
    assert denied == {(HERE, stop["id"]), (PROBER, automatic["id"])}
    assert {agent for kind, agent, _ in told if kind == "stop_set"} == {HERE, PROBER}
    assert running.client(timeout_s=60).request("POST", f"/v1/bundles/{before}/activate")["lagging"] == []
