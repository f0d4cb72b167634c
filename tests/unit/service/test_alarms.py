"""A whole control plane whose evidence does not land: alarms in the log, in evidence, in the status and `/metrics`."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from unit.service.in_process_plane import CATALOG_AND_POLICY, InProcessPlane, in_process_plane

from actors import evidence_writer
from actors.alarms.disks import Disk
from actors.alarms.state import (
    DISK_LOW,
    ENDS_AFTER_S,
    EVIDENCE_GAP,
    EVIDENCE_LAG,
    LANDING_FAILED,
    Condition,
)
from actors.bounds import DISK_LOW_BYTES, EVIDENCE_LAG_S
from actors.world import REAL

PLENTY = Disk("", 2 * DISK_LOW_BYTES, 3 * DISK_LOW_BYTES)


@pytest.fixture
def plane(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[InProcessPlane]:
    monkeypatch.setattr(evidence_writer, "WATCH_S", 0.05)
    monkeypatch.setattr(evidence_writer, "MEASURE_S", 0.05)
    monkeypatch.setattr(evidence_writer, "measure", lambda path, place: PLENTY._replace(place=place))
    for owner in ("agent_host", "control_store"):
        monkeypatch.setattr(f"actors.{owner}.measure", lambda path, place: PLENTY._replace(place=place))
    with in_process_plane(tmp_path) as plane:
        plane.activate(CATALOG_AND_POLICY)
        plane.register("bot")
        yield plane


def on(plane: InProcessPlane) -> list[str]:
    return [alarm["code"] for alarm in plane.writer._bell.on()]


def findings(plane: InProcessPlane) -> list[tuple[str, str]]:
    """(alarm, began or ended) in the evidence table, in their order."""
    from evidence.query import query

    plane.wait_until(plane._nothing_pending, "evidence to land")
    rows = query(
        str(plane.evidence),
        "SELECT reason_code, details FROM evidence WHERE event_type = 'finding' ORDER BY log_id, seq",
    ).to_pylist()
    return [(row["reason_code"], json.loads(row["details"])["alarm"]) for row in rows]


def metrics(plane: InProcessPlane) -> dict[str, float]:
    answer = plane.send("GET", "/metrics")
    assert (answer.status, answer.headers["content-type"]) == (
        200,
        "text/plain; version=0.0.4; charset=utf-8",
    )
    lines = [line for line in answer.body.decode().splitlines() if not line.startswith("#")]
    return {name: float(value) for name, _, value in (line.rpartition(" ") for line in lines)}


def status(plane: InProcessPlane) -> dict[str, Any]:
    found: dict[str, Any] = plane.send("GET", "/v1/status").json["evidence"]
    return found


def causes(plane: InProcessPlane) -> dict[Condition, str]:
    return plane.writer._watch.conditions(plane.writer._sources.silent(), now_us=REAL.wall_us())


def let_it_end(plane: InProcessPlane) -> None:
    """Once its cause is gone. The clocks are moved, so that nobody has to wait."""
    # What still waits is as old as the clocks say, and would begin it anew.
    plane.wait_until(plane._nothing_pending, "everything to land")
    plane.wait_until(lambda: causes(plane) == {}, "the causes to be gone")
    plane.clocks.pass_s(ENDS_AFTER_S)
    plane.renew_leases()
    plane.wait_until(lambda: on(plane) == [], "the alarms to end")


def test_a_table_that_takes_nothing_is_told_of_once_and_once_when_it_takes_again(
    plane: InProcessPlane, caplog: pytest.LogCaptureFixture
) -> None:
    assert (on(plane), status(plane)["alarms"], findings(plane)) == ([], [], [])
    caplog.set_level(logging.WARNING, "actors.alarms.bell")
    aside = plane.folder / "aside"
    plane.evidence.rename(aside)
    plane.evidence.write_text("no folder")
    assert plane.ask().permits
    plane.wait_until(lambda: "table" in plane.writer._trouble, "the writer to notice")
    plane.clocks.pass_s(EVIDENCE_LAG_S + 1)
    plane.renew_leases()
    both = [EVIDENCE_LAG, LANDING_FAILED]
    plane.wait_until(lambda: sorted(on(plane)) == both, "both alarms")
    assert sorted(alarm["code"] for alarm in status(plane)["alarms"]) == both
    found = metrics(plane)
    assert found['controlplane_alarm{code="evidence_lag",about=""}'] == 1
    assert found['controlplane_alarm{code="evidence_landing_failed",about=""}'] == 1
    assert found["controlplane_evidence_landing_failures_total"] >= 1
    assert (
        max(v for name, v in found.items() if name.startswith("controlplane_evidence_lag_seconds"))
        > EVIDENCE_LAG_S
    )

    plane.evidence.unlink()
    aside.rename(plane.evidence)
    let_it_end(plane)
    told = findings(plane)
    assert sorted(told[:2]) == [(code, "began") for code in both]
    assert sorted(told[2:]) == [(code, "ended") for code in both]
    said = [record.message.split(":")[0] for record in caplog.records if record.message.startswith("alarm")]
    assert sorted(line.partition(" after")[0] for line in said) == sorted(
        f"alarm `{code}` {what}" for code in both for what in ("begins", "ends")
    )
    assert not any(name.startswith("controlplane_alarm") for name in metrics(plane))


def test_a_restart_of_the_writer_neither_begins_it_anew_nor_forgets_to_end_it(plane: InProcessPlane) -> None:
    plane.hold("host-000", "pending")
    plane.clocks.pass_s(EVIDENCE_LAG_S + 10)
    plane.renew_leases()
    plane.wait_until(lambda: on(plane) == [EVIDENCE_LAG], "the alarm")
    assert findings_of_store(plane) == [EVIDENCE_LAG]

    def restart() -> None:
        plane.end_actor("evidence-writer")
        plane.start_writer()

    plane.do(restart)
    plane.wait_until(lambda: on(plane) == [EVIDENCE_LAG], "the new writer to know of it")
    plane.let_go("host-000", "pending")
    let_it_end(plane)
    assert findings(plane) == [(EVIDENCE_LAG, "began"), (EVIDENCE_LAG, "ended")]


def findings_of_store(plane: InProcessPlane) -> list[str]:
    plane.wait_until(lambda: bool(plane.store._live().alarms.alarms_on()), "the control store to know of it")
    return [alarm["code"] for alarm in plane.store._live().alarms.alarms_on()]


def test_a_log_with_a_gap_and_a_disk_that_fills_are_told_of_by_name(
    plane: InProcessPlane, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        evidence_writer, "measure", lambda path, place: Disk(place, DISK_LOW_BYTES - 1, PLENTY.size_bytes)
    )
    plane.wait_until(lambda: on(plane) == [DISK_LOW], "the disk")

    def lose_rows() -> str:
        owner = plane.host_of("bot")._owner
        assert owner is not None
        with owner.journal.transaction() as step:
            step.next_seq += 5
        return owner.journal.log_id

    plane.wait_until(plane._nothing_pending, "everything to land")
    log_id = plane.do(lose_rows)
    assert plane.ask().permits
    plane.wait_until(lambda: sorted(on(plane)) == [DISK_LOW, EVIDENCE_GAP], "the gap")
    about = {alarm["code"]: (alarm["about"], alarm["says"]) for alarm in status(plane)["alarms"]}
    assert about[EVIDENCE_GAP][0] == log_id and f"gap in log `{log_id}`" in about[EVIDENCE_GAP][1]
    assert about[DISK_LOW] == ("table", "5.0 GiB of 15.0 GiB are free")
    assert metrics(plane)['controlplane_disk_free_bytes{place="table"}'] == DISK_LOW_BYTES - 1


def test_metrics_are_for_operators_and_auditors(plane: InProcessPlane) -> None:
    _, auditor = plane.make_key(role="auditor")
    _, agent = plane.make_key(role="agent", agents=["bot"])
    assert plane.send("GET", "/metrics", key=auditor).status == 200
    assert plane.send("GET", "/metrics", key=agent).status == 403
    assert plane.send("GET", "/metrics", key=None).status == 401
