"""Evidence in an object store, on real Ray: who holds its credentials, and what a killed writer and an outage cost."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from integration.faults.victims import Victim, found
from integration.plane import Running, brought_up, controlplane, decode, wait_until
from unit.evidence.s3_server import BUCKET, SECRET, S3Server, serving

from controlplane.evidence_settings import evidence_keys
from controlplane.lifecycle.processes import ours
from controlplane.lifecycle.run_state import RunState

pytestmark = pytest.mark.ray

PLACE = f"s3://{BUCKET}/fleet/decisions"
FILES = f"s3://{BUCKET}/kept/checkpoint-files"


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[S3Server]:
    with serving(monkeypatch) as server:
        yield server


def ask(plane: Running, count: int) -> set[str]:
    body = {
        "subject": {"type": "agent", "id": "bot"},
        "action": {"name": "call"},
        "resource": {"type": "tool", "id": "ledger.pay"},
        "context": {"arguments": {"to": "a", "amount": 1}},
    }
    with plane.http() as http:
        answers = [decode(http.post("/access/v1/evaluation", json=body)) for _ in range(count)]
    assert all(answer["decision"] for answer in answers)
    return {answer["context"]["id"] for answer in answers}


def holders(data: Path, temp: Path) -> list[Path]:
    """Files that the secret stands in."""
    files = [path for folder in (data, temp) for path in folder.rglob("*") if path.is_file()]
    return [path for path in files if SECRET.encode() in path.read_bytes()]


def test_it_lands_in_the_store_with_credentials_that_only_the_writer_has(
    server: S3Server, tmp_path: Path
) -> None:
    data = tmp_path / "cp"
    with brought_up(data, options=["--evidence", PLACE, "--checkpoint-files", FILES]) as plane:
        settings = plane.settings
        plane.client().request("POST", "/v1/agents", {"id": "bot"})
        decided = ask(plane, 20)
        plane.wait_until_landed()

        assert holders(data, settings.private_temp) == [settings.store_access]
        assert settings.store_access.stat().st_mode & 0o777 == 0o600
        state = RunState.read(settings.run_state)
        assert state is not None
        for process in ours(settings):
            if process.pid != state.supervisor.pid:
                assert SECRET not in process.environ().values(), process.cmdline()

        (writer,) = found(settings, Victim.EVIDENCE_WRITER)
        writer.send_signal(signal.SIGKILL)
        decided |= ask(plane, 20)
        server.stop()
        decided |= ask(plane, 20)
        wait_until(
            lambda: "table" in plane.client().request("GET", "/v1/status")["evidence"]["trouble"],
            timeout_s=60,
            what="the outage to be told",
        )
        server.start()
        wait_until(
            lambda: (
                {
                    row["event_id"]
                    for row in plane.table_rows("SELECT event_id FROM evidence WHERE event_type = 'decision'")
                }
                == decided
            ),
            timeout_s=60,
            what="every decision to land",
        )
        key = evidence_keys(settings).public.read_text().strip()
        plane.wait_until_landed()
        verified = controlplane("evidence", "verify", "--key", key, "--checkpoints", FILES, data=data)
        assert verified.returncode == 0, verified.stdout
    assert not settings.store_access.exists()
    assert holders(data, data) == []
    assert not any(
        SECRET in process.environ().values()
        for process in psutil.Process(os.getpid()).children(recursive=True)
    )
