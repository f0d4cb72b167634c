"""What an agent costs in memory: awake in its host, resting in the journal, or with a process of its own.

Awake and resting agents are measured in a fresh process each (`python -m benchmarks.memory awake|resting N`), from
the growth of its resident memory: an owner over a real journal, and the control store's index of the agents.
"""

from __future__ import annotations

import gc
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import psutil

from actors.active_bundle import ActiveBundle
from actors.agent_journal import open_agent_journal
from actors.control import Control, open_control_journal
from actors.deciding import decide
from actors.directory import Activation, Directory
from actors.owner import Owner, OwnerSettings
from actors.registration import register_agent
from actors.world import REAL
from benchmarks.bundles import sources
from benchmarks.decision_requests import decision_request
from policies.prepare import Prepared

TOOLS_USED = 5


def bytes_per_agent(state: str, agents: int) -> float:
    """Resident memory of one agent that is `awake` (it used five tools) or `resting`."""
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.memory", state, str(agents)],
        capture_output=True,
        text=True,
        check=True,
    )
    return float(json.loads(done.stdout))


def _measure(state: str, agents: int) -> float:
    with tempfile.TemporaryDirectory(prefix="controlplane-bench-") as folder:
        bundle = ActiveBundle.compile(sources(100))
        directory = Directory()
        owner = Owner(
            OwnerSettings(
                name="host-000",
                ordinal=0,
                session_key=b"s" * 32,
                awake_limit=agents if state == "awake" else 10,
            ),
            open_agent_journal(Path(folder) / "host.db", new_log_id="host-000.bench"),
            directory,
            REAL,
        )
        control = Control(open_control_journal(Path(folder) / "control.db", new_log_id="control.bench"), REAL)
        owner.adopt(bundle, Activation(bundle.digest, 1))
        directory.apply(0, (None, 0), [], sent_s=REAL.monotonic_us() / 1e6)
        # The first few fill caches and arenas that are not an agent's.
        _register(owner, control, directory, range(200))
        before = _resident_bytes()
        _register(owner, control, directory, range(200, 200 + agents))
        return (_resident_bytes() - before) / agents


def _register(owner: Owner, control: Control, directory: Directory, numbers: range) -> None:
    for number in numbers:
        directory.apply(0, (None, 0), [], sent_s=REAL.monotonic_us() / 1e6)
        name = f"bench-{number:06}"
        control.claim_agent(tenant="default", agent_id=name, isolation=None, owner="benchmark", by="bench")
        given = {"id": name, "owner": "benchmark"}
        version = register_agent(owner, "default", name, given, key_id="bench")["record_version"]
        assert owner.active is not None
        answer = decide(
            owner, owner.active.digest, [_request(name, version, tool) for tool in range(TOOLS_USED)]
        )
        assert all(item[2] == "allow" for item in answer[1]), answer
        owner.journal.trim(landed_seq=owner.journal.next_seq - 1)


def _request(agent: str, version: int, tool: int) -> tuple[object, ...]:
    return decision_request(
        agent,
        version,
        f"bench.tool-{tool}",
        Prepared(1, 1, None, ""),
        now_us=time.time_ns() // 1000,
        masked_arguments='{"to":"string(22)","amount":"number"}',
        deadline_us=5_000_000,
    )


def _resident_bytes() -> int:
    gc.collect()
    return int(psutil.Process().memory_full_info().uss)


if __name__ == "__main__":
    print(json.dumps(_measure(sys.argv[1], int(sys.argv[2]))))
