"""/metrics: the fleet in numbers, in Prometheus' text format 0.0.4.

Ray's own metrics agent is off (docs/operations.md): it costs CPU that decisions need. These are the numbers that
`/v1/status` has anyway, so that what is alarmed on is what an operator is shown.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

from controlplane.service.fleet import Fleet
from controlplane.service.management.status import look_at
from controlplane.service.routing import READING, Call, Reply, Route

CONTENT_TYPE: Final = b"text/plain; version=0.0.4; charset=utf-8"

Sample = tuple[dict[str, str], float]


class MetricsDoor:
    """For a scraper with an operator's or an auditor's key. Cost: one call to each owner."""

    def __init__(self, fleet: Fleet) -> None:
        self._fleet = fleet

    def routes(self) -> list[Route]:
        return [Route(method="GET", path="/metrics", roles=READING, door=self.metrics)]

    async def metrics(self, _: Call) -> Reply:
        return Reply(body=exposition(await look_at(self._fleet)).encode(), content_type=CONTENT_TYPE)


def exposition(status: dict[str, Any]) -> str:
    """What `/v1/status` says, as metrics. What a part does not say is left out, never 0. Pure."""
    owners = [status["control_store"], *status["hosts"]]
    landing = status["evidence"]
    parts = [*owners, landing, status["notifier"]]
    disks = landing.get("disks", {})
    return "".join(
        [
            _family(
                "controlplane_ready",
                "gauge",
                "1: this part of the control plane answers and works.",
                (({"part": part["name"]}, float(bool(part.get("ready")))) for part in parts),
            ),
            _family(
                "controlplane_evidence_pending_rows",
                "gauge",
                "Evidence rows in the owner's journal that have not landed.",
                _of(owners, "pending_rows"),
            ),
            _family(
                "controlplane_evidence_backlog_rows",
                "gauge",
                "So many may wait: with as many, the owner decides nothing more.",
                _of(owners, "evidence_backlog"),
            ),
            _family(
                "controlplane_evidence_lag_seconds",
                "gauge",
                "How old evidence of this owner may be that is not in the table.",
                (({"owner": name}, lag_s) for name, lag_s in landing.get("lag_s", {}).items()),
            ),
            _family(
                "controlplane_evidence_landed_rows_total",
                "counter",
                "Rows landed since the evidence writer started.",
                _one(landing, "landed_rows"),
            ),
            _family(
                "controlplane_evidence_landing_failures_total",
                "counter",
                "Landing rounds that failed since the evidence writer started.",
                _one(landing, "landing_failures"),
            ),
            _family(
                "controlplane_evidence_last_landing_timestamp_seconds",
                "gauge",
                "When rows landed last, Unix time; 0: not since the evidence writer started.",
                _one(landing, "last_landing_us", 1e-6),
            ),
            _family(
                "controlplane_disk_free_bytes",
                "gauge",
                "Room on the file system, for whoever is not root.",
                (({"place": place}, disk["free_bytes"]) for place, disk in disks.items()),
            ),
            _family(
                "controlplane_disk_size_bytes",
                "gauge",
                "Size of the file system.",
                (({"place": place}, disk["size_bytes"]) for place, disk in disks.items()),
            ),
            _family(
                "controlplane_alarm",
                "gauge",
                "1: this alarm is on; the others are absent.",
                (
                    ({"code": alarm["code"], "about": alarm["about"]}, 1.0)
                    for alarm in landing.get("alarms", ())
                ),
            ),
            _family(
                "controlplane_stops", "gauge", "Stops that are live.", _one(status["control_store"], "stops")
            ),
        ]
    )


def _of(parts: Iterable[dict[str, Any]], name: str) -> Iterable[Sample]:
    return (({"owner": part["name"]}, part[name]) for part in parts if name in part)


def _one(part: dict[str, Any], name: str, unit: float = 1.0) -> Iterable[Sample]:
    return [({}, part[name] * unit)] if name in part else []


def _family(name: str, kind: str, text: str, samples: Iterable[Sample]) -> str:
    lines = [f"# HELP {name} {text}\n# TYPE {name} {kind}\n"]
    for labels, value in samples:
        told = ",".join(f'{label}="{_escaped(text)}"' for label, text in labels.items())
        lines.append(f"{name}{{{told}}} {value:.16g}\n" if told else f"{name} {value:.16g}\n")
    return "".join(lines)


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
