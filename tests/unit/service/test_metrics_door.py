"""What `/v1/status` says, in Prometheus' text format."""

from __future__ import annotations

import re
from typing import Any

from controlplane.service.management.metrics import exposition

STATUS: dict[str, Any] = {
    "hosts": [
        {"name": "host-000", "ready": True, "pending_rows": 12, "evidence_backlog": 700},
        {"name": "host-001", "ready": False, "reason": "it did not answer"},
    ],
    "control_store": {"name": "control-store", "ready": True, "pending_rows": 0, "stops": 2},
    "evidence": {
        "name": "evidence-writer",
        "ready": True,
        "landed_rows": 5,
        "landing_failures": 1,
        "last_landing_us": 1_780_000_000_250_000,
        "lag_s": {"host-000": 0.5},
        "disks": {'journals on "a"\\b': {"free_bytes": 2**33, "size_bytes": 2**34}},
        "alarms": [{"code": "evidence_gap", "about": "host-000.x\n", "says": "gap", "since_us": 1}],
    },
    "notifier": {"name": "notifier", "ready": True},
}
LINE = re.compile(
    r'[a-z_]+(?:\{[a-z]+="(?:[^"\\\n]|\\["\\n])*"(?:,[a-z]+="(?:[^"\\\n]|\\["\\n])*")*\})? -?[0-9.e+]+'
)


def samples(text: str) -> list[str]:
    return [line for line in text.splitlines() if not line.startswith("#")]


def test_every_number_of_the_status_is_a_sample() -> None:
    assert samples(exposition(STATUS)) == [
        'controlplane_ready{part="control-store"} 1',
        'controlplane_ready{part="host-000"} 1',
        'controlplane_ready{part="host-001"} 0',
        'controlplane_ready{part="evidence-writer"} 1',
        'controlplane_ready{part="notifier"} 1',
        'controlplane_evidence_pending_rows{owner="control-store"} 0',
        'controlplane_evidence_pending_rows{owner="host-000"} 12',
        'controlplane_evidence_backlog_rows{owner="host-000"} 700',
        'controlplane_evidence_lag_seconds{owner="host-000"} 0.5',
        "controlplane_evidence_landed_rows_total 5",
        "controlplane_evidence_landing_failures_total 1",
        "controlplane_evidence_last_landing_timestamp_seconds 1780000000.25",
        'controlplane_disk_free_bytes{place="journals on \\"a\\"\\\\b"} 8589934592',
        'controlplane_disk_size_bytes{place="journals on \\"a\\"\\\\b"} 17179869184',
        'controlplane_alarm{code="evidence_gap",about="host-000.x\\n"} 1',
        "controlplane_stops 2",
    ]


def test_what_is_silent_is_left_out_and_is_never_zero() -> None:
    silent = {name: {"name": name, "ready": False} for name in ("control_store", "evidence", "notifier")}
    found = exposition({"hosts": [], **silent})
    assert {line.partition("{")[0] for line in samples(found)} == {"controlplane_ready"}


def test_the_format_is_the_one_that_scrapers_read() -> None:
    text = exposition(STATUS)
    assert text.endswith("\n")
    for line in samples(text):
        assert LINE.fullmatch(line), line
    families = re.findall(r"^# TYPE (\w+) (counter|gauge)$", text, re.MULTILINE)
    assert families == [(name, "counter" if name.endswith("_total") else "gauge") for name, _ in families]
    assert re.findall(r"^# HELP (\w+) \S", text, re.MULTILINE) == [name for name, _ in families]
    assert {re.match(r"\w+", line)[0] for line in samples(text)} == {name for name, _ in families}  # type: ignore[index]
