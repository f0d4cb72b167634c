"""Owners that died for good, or that hang: the starter brings them back, and nobody else notices."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator

import httpx
import psutil
import pytest
from integration.faults.traffic import Group, register
from integration.faults.victims import Victim, found, wait_found
from integration.plane import CATALOG_AND_POLICY, TODO, Running, wait_until

from actors.placement import NAMESPACE, dedicated_name
from controlplane.lifecycle.environment import cluster_environment
from controlplane.lifecycle.run_state import RunState

pytestmark = pytest.mark.ray

KILL_FOR_GOOD = """
import sys, ray
ray.init("auto", namespace=sys.argv[1], log_to_driver=False)
for name in sys.argv[2:]:
    ray.kill(ray.get_actor(name), no_restart=True)
"""


@pytest.fixture(scope="module")
def groups(running: Running) -> list[Group]:
    return register(running)


@pytest.fixture
def same_policies_after(running: Running) -> Iterator[None]:
    """Whatever a test activates, the others find the policies that they know."""
    before = running.client().request("GET", "/v1/bundles")["active"]
    yield
    assert running.client(timeout_s=60).request("POST", f"/v1/bundles/{before}/activate")["lagging"] == []


def in_the_cluster(running: Running, *arguments: str) -> subprocess.Popen[str]:
    """A driver, in the environment that the supervisor gives its own."""
    settings, state = running.settings, RunState.read(running.settings.run_state)
    assert state is not None and state.ports is not None
    environment = cluster_environment(
        settings, state.ports, os.environ, haproxy=str(settings.run / "haproxy-on-loopback")
    )
    return subprocess.Popen(
        [sys.executable, *arguments],
        env=environment,
        cwd=settings.run,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def starter(running: Running) -> subprocess.Popen[str]:
    return in_the_cluster(running, "-m", "controlplane.lifecycle.starter")


def finish(process: subprocess.Popen[str]) -> None:
    out, _ = process.communicate(timeout=120)
    assert process.returncode == 0, out


def allowed(running: Running, agent: str) -> str:
    """The id of an allow, or nothing."""
    decision = running.client(timeout_s=2).decide(
        agent=agent, tool="ledger.pay", arguments={"to": "a", "amount": 1}
    )
    return decision.id if decision.allowed else ""


def activate_another(running: Running, because: str) -> dict[str, list[str]]:
    text = CATALOG_AND_POLICY.replace("more than a thousand", because)
    sources = [{"name": "spine.yaml", "text": text}, {"name": TODO.name, "text": TODO.read_text()}]
    # An owner that compiles is given 25 s; one that is silent must not cost that much.
    answer: dict[str, list[str]] = running.client(timeout_s=20).request(
        "POST", "/v1/bundles", {"sources": sources, "activate": True}
    )
    return answer


def pids(running: Running, *victims: Victim) -> list[int]:
    return [process.pid for victim in victims for process in found(running.settings, victim)]


def test_owners_that_died_for_good_are_made_anew_and_take_part_in_everything_again(
    running: Running, groups: list[Group], same_policies_after: None
) -> None:
    hosted, others, dedicated = (group.agents for group in groups)
    alone = dedicated_name(f"default/agent/{dedicated[0]}")
    service = pids(running, Victim.REPLICA, Victim.INGRESS, Victim.GCS)
    finish(in_the_cluster(running, "-c", KILL_FOR_GOOD, NAMESPACE, "host-000", alone))
    assert not allowed(running, hosted[0]) and not allowed(running, dedicated[0])
    assert allowed(running, others[0])
    ready = httpx.get(f"{running.url}/readyz", trust_env=False)
    assert (ready.status_code, ready.json()["status"]) == (200, "degraded")
    finish(starter(running))
    told: list[str] = []
    for agent in (*hosted, *dedicated):
        wait_until(
            lambda agent=agent: bool(identity := allowed(running, agent)) and told.append(identity) is None,
            timeout_s=30,
            what=f"`{agent}` to be allowed",
        )
    activated = activate_another(running, "more than a thousand, after the owner was made anew")
    assert activated["lagging"] == []
    assert {"host-000", "host-001", alone} <= set(activated["acknowledged"])
    told += [allowed(running, hosted[0]), allowed(running, dedicated[0])]
    running.wait_until_landed()
    names = ", ".join(f"'{identity}'" for identity in told)
    rows = running.table_rows(f"SELECT event_id FROM evidence WHERE event_id IN ({names})")
    assert sorted(row["event_id"] for row in rows) == sorted(told)
    assert pids(running, Victim.REPLICA, Victim.INGRESS, Victim.GCS) == service


def test_a_host_that_hangs_is_ended_and_comes_back_while_the_others_are_served(
    running: Running, groups: list[Group], same_policies_after: None
) -> None:
    others, hanging, _ = (group.agents for group in groups)
    (process,) = wait_found(running.settings, Victim.HOST_1, timeout_s=30)
    service = pids(running, Victim.REPLICA, Victim.INGRESS, Victim.GCS, Victim.HOST_0)
    before = allowed(running, hanging[0])
    process.send_signal(signal.SIGSTOP)
    try:
        with running.http() as http:
            reported = http.post(
                f"/v1/decisions/{before}/outcome",
                json={"status": "succeeded"},
                headers={"X-Deadline-Ms": "1000"},
                timeout=10,
            )
        assert (reported.status_code, reported.json()["error"]["code"]) == (503, "owner_timeout")
        # The others' policies change without it; it is told when it is back.
        activated = activate_another(running, "more than a thousand, while a host hangs")
        assert activated["lagging"] == ["host-001"] and "host-000" in activated["acknowledged"]
        mending = starter(running)
        while mending.poll() is None:
            assert allowed(running, others[0])
        finish(mending)
    finally:
        if process.is_running():
            process.send_signal(signal.SIGCONT)
    assert not process.is_running() or process.status() == psutil.STATUS_ZOMBIE
    wait_until(lambda: bool(allowed(running, hanging[0])), timeout_s=30, what="its agents to be allowed")
    assert pids(running, Victim.REPLICA, Victim.INGRESS, Victim.GCS, Victim.HOST_0) == service
    running.wait_until_landed()
