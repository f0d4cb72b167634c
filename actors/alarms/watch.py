"""What the evidence writer notes while it works, and what of it calls for an alarm. No Ray, no I/O."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import orjson

from actors.alarms.state import DISK_LOW, EVIDENCE_GAP, EVIDENCE_LAG, LANDING_FAILED, Condition
from actors.bounds import DISK_LOW_BYTES, EVIDENCE_LAG_S

if TYPE_CHECKING:
    from actors.alarms.disks import Disk
    from actors.evidence_sources import Offer

MOST_NAMED: Final = 20
"""Logs with a gap that have an alarm each; owners that one alarm names."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Thresholds:
    """When something is an alarm.

    Attributes:
        lag_s: how old evidence may become before it has landed.
        disk_low_bytes: what must be free where the table and the journals lie; 0 = nobody looks.
    """

    lag_s: int = EVIDENCE_LAG_S
    disk_low_bytes: int = DISK_LOW_BYTES


class LandingWatch:
    """Not thread-safe.

    Args:
        owners: names of those that are there from the beginning: a table that hangs as it is opened keeps everybody
            from being asked at all, and is late for them as well.
        limit: how many rows an owner hands out at a time: who hands out as many has more.
        now_us: wall clock, microseconds since the epoch, here and below.
    """

    def __init__(
        self, thresholds: Thresholds, *, owners: Iterable[str] = (), limit: int, now_us: int
    ) -> None:
        self.thresholds = thresholds
        self.failures = 0
        self._limit = limit
        self._began_us = now_us
        self._heard_us = dict.fromkeys(owners, now_us)
        self._oldest_us: dict[str, int] = {}
        self._failing: str | None = None
        self._refused: dict[str, str] = {}
        self._disks: dict[str, Disk] = {}

    def offered(self, offers: Iterable[Offer], *, now_us: int) -> None:
        """Owners have handed out what waits. Cost: a few microseconds each."""
        for offer in offers:
            self._heard_us[offer.name] = now_us
            self._oldest_us.pop(offer.name, None)
            if offer.records:
                self._oldest_us[offer.name] = int(orjson.loads(offer.records[0][1])["event_time"])
            if offer.disk is not None:
                self.measured(offer.disk)

    def landed(self, offers: Iterable[Offer], refused: Mapping[str, str]) -> None:
        """A round succeeded: what was offered is in the table, but for the logs that were refused."""
        self._failing = None
        self._refused = dict(refused)
        for offer in offers:
            if offer.log_id not in refused and len(offer.records) < self._limit:
                self._oldest_us.pop(offer.name, None)

    def failed(self, why: str) -> None:
        """A round failed."""
        self.failures += 1
        self._failing = why

    def measured(self, disk: Disk) -> None:
        self._disks[disk.place] = disk

    def lag_s(self, silent: Iterable[str], *, now_us: int) -> dict[str, float]:
        """How old evidence may be that is not in the table, by owner, seconds: the age of the oldest row that waits, or
        the time since the owner was last heard of, whatever it holds since then.

        Args: silent: owners that do not hand out their evidence, among them any that never did.
        """
        since_us = dict.fromkeys(silent, self._began_us) | self._heard_us
        for name, oldest_us in self._oldest_us.items():
            since_us[name] = min(since_us[name], oldest_us)
        return {name: max(0, now_us - at_us) / 1e6 for name, at_us in since_us.items()}

    def conditions(self, silent: Iterable[str], *, now_us: int) -> dict[Condition, str]:
        """What calls for an alarm now, and in which words; a bounded number."""
        found: dict[Condition, str] = {}
        late = {
            name: lag_s
            for name, lag_s in self.lag_s(silent, now_us=now_us).items()
            if lag_s > self.thresholds.lag_s
        }
        if late:
            found[Condition(EVIDENCE_LAG, "")] = (
                f"the evidence of {_named(late)} has not landed for {max(late.values()):.0f} s"
            )
        for log_id, reason in list(self._refused.items())[:MOST_NAMED]:
            found[Condition(EVIDENCE_GAP, log_id)] = reason
        if self._failing is not None:
            found[Condition(LANDING_FAILED, "")] = self._failing
        for disk in self._disks.values():
            if disk.free_bytes < self.thresholds.disk_low_bytes:
                found[Condition(DISK_LOW, disk.place)] = (
                    f"{disk.free_bytes / 2**30:.1f} GiB of {disk.size_bytes / 2**30:.1f} GiB are free"
                )
        return found

    def status(self, silent: Iterable[str], *, now_us: int) -> dict[str, Any]:
        """For `/v1/status` and `/metrics`."""
        return {
            "landing_failures": self.failures,
            "lag_s": {name: round(lag, 1) for name, lag in self.lag_s(silent, now_us=now_us).items()},
            "disks": {
                disk.place: {"free_bytes": disk.free_bytes, "size_bytes": disk.size_bytes}
                for disk in self._disks.values()
            },
        }


def _named(names: Mapping[str, float]) -> str:
    told = [f"`{name}`" for name in sorted(names, key=lambda name: -names[name])]
    more = f" and {len(told) - MOST_NAMED} more" if len(told) > MOST_NAMED else ""
    return ", ".join(told[:MOST_NAMED]) + more
