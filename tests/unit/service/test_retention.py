"""Retention and legal holds through the real doors, with a real table that signs: what is due leaves, unless held."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from unit.service.in_process_plane import CATALOG_AND_POLICY, InProcessPlane, in_process_plane

from evidence.delta.table import EvidenceTable
from evidence.errors import EvidenceUnavailableError

DAY_S = 86_400
RETENTION, HOLDS = "/v1/evidence/retention", "/v1/evidence/holds"


@pytest.fixture
def plane(tmp_path: Path) -> Iterator[InProcessPlane]:
    with in_process_plane(tmp_path) as plane:
        yield plane


def run(plane: InProcessPlane, **body: Any) -> dict[str, Any]:
    """One run, to its end."""
    assert plane.send("POST", f"{RETENTION}/runs", body).status == 202
    plane.wait_until(lambda: "ended_us" in plane.writer.retention.status(), "the run to end")
    found: dict[str, Any] = plane.send("GET", RETENTION).json["run"]
    return found


def test_what_is_due_leaves_once_no_hold_keeps_it(plane: InProcessPlane) -> None:
    plane.activate(CATALOG_AND_POLICY)
    plane.register("bot")
    before = plane.sequences()
    assert run(plane)["state"] == "nothing"
    assert plane.send("POST", RETENTION, {"keep_days": 183}).json["keep_days"] == 183
    held = plane.send("POST", HOLDS, {"tenant": "default", "reason": "case 4711"})
    assert (held.status, held.json["too_late"]) == (201, [])
    plane.sequences()
    plane.clocks.pass_s(200 * DAY_S)
    plane.renew_leases()
    found = run(plane, dry_run=True)
    assert (found["state"], found["leaving"], list(found["held"].values())) == (
        "dry",
        [],
        [[held.json["id"]]],
    )
    released = plane.send("POST", f"{HOLDS}/{held.json['id']}/release", {"reason": "over"})
    assert released.status == 200 and plane.send("GET", HOLDS).json == {"holds": []}
    found = run(plane)
    assert found["state"] == "done", found
    assert sum(each["rows"] for each in found["leaving"]) >= sum(map(len, before.values()))
    left = plane.sequences()
    assert all(not set(before[log_id]) & set(left.get(log_id, [])) for log_id in before)
    assert plane.send("GET", RETENTION).json["leaving"] == []


def test_what_was_left_half_way_is_mended_though_nothing_lands(
    plane: InProcessPlane,
) -> None:
    plane.activate(CATALOG_AND_POLICY)
    plane.sequences()
    at_work: list[EvidenceTable] = []

    def failing(table: EvidenceTable) -> None:
        at_work.append(table)
        if len(at_work) == 1:
            raise EvidenceUnavailableError("the disk went away")

    writer = plane.writer
    for _ in range(2):
        with contextlib.suppress(EvidenceUnavailableError):
            plane.run(writer._exclusively(failing))
    assert at_work[0] is not at_work[1]


@pytest.mark.parametrize(
    ("path", "body", "said"),
    [
        (RETENTION, {}, "keep_days"),
        (RETENTION, {"keep_days": 0}, "keep_days"),
        (RETENTION, {"keep_days": 40_000}, "keep_days"),
        (RETENTION, {"keep_days": 182}, "six months"),
        (RETENTION, {"keep_days": 182, "allow_shorter": True}, "six months"),
        (RETENTION, {"keep_days": 183, "alow_shorter": True}, "did you mean"),
        (f"{RETENTION}/runs", {"dryrun": True}, "did you mean"),
        (HOLDS, {"agent": "bot"}, "reason"),
        (HOLDS, {"reason": "r"}, "say what is held"),
        (HOLDS, {"reason": "r", "first": "2026-02-30"}, "first"),
        (HOLDS, {"reason": "r", "first": "2026-02-02", "last": "2026-02-01"}, "before"),
        (HOLDS, {"reason": " ", "agent": "bot"}, "blank"),
    ],
)
def test_what_is_not_meant_is_refused(
    plane: InProcessPlane, path: str, body: dict[str, Any], said: str
) -> None:
    answer = plane.send("POST", path, body)
    assert answer.status == 400 and said in str(answer.json), answer


def test_a_hold_of_another_tenant_and_one_that_is_not_there(plane: InProcessPlane) -> None:
    answer = plane.send("POST", HOLDS, {"tenant": "other", "reason": "r"})
    assert (answer.status, answer.code) == (403, "other_tenant")
    answer = plane.send("POST", f"{HOLDS}/hld_1/release", {"reason": "r"})
    assert (answer.status, answer.code) == (404, "unknown_hold")
