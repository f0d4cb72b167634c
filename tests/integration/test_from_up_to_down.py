"""A stranger's first hour: the README's commands and code as printed, and the end."""

from __future__ import annotations

import json
import os
import re
import shlex
import socket
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import psutil
import pytest
from integration.plane import Running, controlplane

from actors.ids import agent_key as agent_key_of
from actors.placement import host_name, host_of
from controlplane.lifecycle import processes
from controlplane.lifecycle.ports import any_free
from controlplane.settings import Settings

pytestmark = pytest.mark.ray

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")
API_PAGE = (ROOT / "docs" / "api.md").read_text(encoding="utf-8")


def blocks(heading: str, language: str, page: str = README) -> list[str]:
    """The fenced blocks of one section of a page."""
    section = page.split(f"## {heading}\n", 1)[1].split("\n## ", 1)[0]
    return re.findall(rf"```{language}\n(.*?)```", section, flags=re.S)


def commands(heading: str) -> list[list[str]]:
    text = "\n".join(blocks(heading, "sh"))
    joined = re.sub(r'("SELECT[^"]*")', lambda quoted: quoted.group(0).replace("\n", " "), text)
    return [
        shlex.split(line, comments=True) for line in joined.splitlines() if line.startswith("controlplane ")
    ]


def run(
    arguments: list[str], data: Path, *extra: str, folder: Path = ROOT
) -> subprocess.CompletedProcess[str]:
    """One command of the README, with the data directory in the environment as an operator would set it."""
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("RAY_", "CONTROLPLANE_"))}
    return subprocess.run(
        [sys.executable, "-m", *arguments, *extra],
        env=environment | {"CONTROLPLANE_DATA": str(data)},
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=180,
    )


@pytest.fixture(scope="module")
def own(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """A control plane of this module's own, brought up by the README's first command."""
    data = tmp_path_factory.mktemp("first-hour") / "cp"
    port = any_free("127.0.0.1")
    up = commands("Run it")[0]
    assert up == ["controlplane", "up"]
    try:
        started = run(up, data, "--port", str(port))
        assert started.returncode == 0, started.stdout + started.stderr
        settings = Settings.open(data, port=port)
        yield Running(settings, f"http://127.0.0.1:{port}", settings.operator_key.read_text().strip())
    finally:
        controlplane("down", data=data, check=False)


def test_every_command_of_the_readme_does_what_it_says(own: Running) -> None:
    for command in commands("Run it")[1:-1]:
        if command[1] == "evidence":
            own.wait_until_landed()
        done = run(command, own.settings.data)
        assert done.returncode == 0, (command, done.stdout, done.stderr)
        assert (command[1] != "evidence") or "assistant-1" in done.stdout
    assert commands("Run it")[-1] == ["controlplane", "down"]


@pytest.fixture(scope="module")
def agent_key(own: Running, tmp_path_factory: pytest.TempPathFactory) -> str:
    """The key of `my-agent`, made as the README prints it, with the README's policies active."""
    folder = tmp_path_factory.mktemp("policies")
    (policies,) = blocks("Write policies", "yaml")
    (folder / "treasury.yaml").write_text(policies, encoding="utf-8")
    for command in [*commands("Write policies"), *commands("Govern your agent")]:
        done = run(command, own.settings.data, folder=folder)
        assert done.returncode == 0, (command, done.stdout, done.stderr)
        assert "warning" not in done.stdout
    assert command[1:3] == ["keys", "create"]
    return done.stdout.strip()


def test_the_readmes_code_governs_an_agent(own: Running, agent_key: str) -> None:
    (code,) = blocks("Govern your agent", "python")
    code = code.replace("http://127.0.0.1:8470", own.url).replace("cp_…", agent_key)
    transfers: list[tuple[str, int]] = []
    exec(code, {"transfer": lambda to, amount: transfers.append((to, amount))})
    assert transfers == [("DE89…", 120)]
    own.wait_until_landed()
    kinds = own.table_rows(
        "SELECT event_type, outcome FROM evidence WHERE agent_id = 'my-agent' ORDER BY seq"
    )
    assert [row["event_type"] for row in kinds] == ["agent_registered", "decision", "outcome"]


def test_the_readmes_query_shows_what_was_denied_and_by_which_rule(own: Running, agent_key: str) -> None:
    refused, query = commands("Query the evidence")
    done = run(refused, own.settings.data)
    assert done.returncode == 4, done.stdout + done.stderr
    own.wait_until_landed()
    found = run(query, own.settings.data)
    assert found.returncode == 0, found.stderr
    assert "treasury/large-transfer" in found.stdout


def test_the_api_pages_request_is_answered_as_the_page_says(own: Running, agent_key: str) -> None:
    (request,) = blocks("Ask for a decision", "sh", API_PAGE)
    shown, *_ = blocks("Ask for a decision", "json", API_PAGE)
    request = request.replace("http://127.0.0.1:8470", own.url)
    done = subprocess.run(
        ["sh", "-c", request],
        env=os.environ | {"KEY": agent_key},
        capture_output=True,
        text=True,
        check=True,
        timeout=30,
    )
    written, answered = json.loads(shown), json.loads(done.stdout)
    assert list(answered["context"]) == list(written["context"])
    for name in ("effect", "reason_code", "arguments_digest", "reasons", "session"):
        assert answered["context"][name] == written["context"][name]


def test_a_second_up_says_where_things_are_and_other_hosts_are_refused(own: Running) -> None:
    again = controlplane("up", data=own.settings.data)
    assert own.url in again.stdout
    refused = controlplane("up", "--hosts", "3", data=own.settings.data, check=False)
    assert refused.returncode != 0 and "was created with 2 hosts" in refused.stderr


def test_down_leaves_no_process_and_no_port(own: Running) -> None:
    data, settings = own.settings.data, own.settings
    assert processes.ours(settings)
    down = controlplane("down", data=data)
    assert down.returncode == 0
    assert [process for process in processes.ours(settings) if process.status() != psutil.STATUS_ZOMBIE] == []
    with socket.socket() as probe:
        assert probe.connect_ex(("127.0.0.1", settings.port)) != 0
    assert not settings.private_temp.exists()
    assert "nothing runs" in controlplane("down", data=data).stdout
    # The table needs no control plane.
    rows = own.table_rows("SELECT DISTINCT decision FROM evidence WHERE event_type = 'decision'")
    assert {row["decision"] for row in rows} >= {"allow"}


def test_a_bundle_that_a_new_version_compiles_to_another_digest_is_activated_anew(own: Running) -> None:
    active = own.table_rows(
        "SELECT bundle_hash FROM evidence WHERE event_type = 'bundle_activated' ORDER BY seq DESC LIMIT 1"
    )[0]["bundle_hash"]
    older = "sha256:" + "0" * 64
    with closing(sqlite3.connect(own.settings.journals / "control.db")) as control, control:
        control.execute("UPDATE bundles SET digest = ? WHERE digest = ?", (older, active))
        control.execute("UPDATE meta SET value = ? WHERE name = 'active_digest'", (older,))
    up = controlplane("up", "--port", str(own.settings.port), data=own.settings.data)
    assert up.returncode == 0
    assert own.client().request("GET", "/v1/bundles")["active"] == active
    decision = own.client().decide(agent="my-agent", tool="payments.transfer", arguments={"amount": 1})
    assert decision.allowed, decision
    own.wait_until_landed()
    last = own.table_rows(
        "SELECT details FROM evidence WHERE event_type = 'bundle_activated' ORDER BY seq DESC LIMIT 1"
    )
    assert '"by":"upgrade"' in last[0]["details"]


def test_a_damaged_journal_denies_its_own_agents_and_nobody_elses(own: Running) -> None:
    controlplane("down", data=own.settings.data)
    healthy = host_of(agent_key_of("default", "agent", "my-agent"), 2)
    damaged = own.settings.journals / f"{host_name(1 - healthy)}.db"
    damaged.write_bytes(b"no journal any more " * 1000)
    for left_over in (damaged.with_name(damaged.name + "-wal"), damaged.with_name(damaged.name + "-shm")):
        left_over.unlink(missing_ok=True)
    assert controlplane("up", "--port", str(own.settings.port), data=own.settings.data).returncode == 0
    decision = own.client().decide(agent="my-agent", tool="payments.transfer", arguments={"amount": 1})
    assert decision.allowed, decision
    other = next(
        name
        for name in map("agent-{}".format, range(99))
        if host_of(agent_key_of("default", "agent", name), 2) != healthy
    )
    assert not own.client().decide(agent=other, tool="payments.transfer", arguments={"amount": 1}).allowed
    status = controlplane("status", data=own.settings.data, check=False)
    assert status.returncode == 1 and f"{damaged.stem} denies (journal_unavailable)" in status.stdout
