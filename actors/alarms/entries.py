"""The control store's side of alarms: which are on, and one row of evidence when each begins and when it ends."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from actors import evidence_rows
from actors.alarms.state import CODES, MOST_ON
from actors.entries import Entries
from actors.journal import Journal
from controlplane.errors import InputError
from evidence.record import EvidenceRow

_SAYS_CHARACTERS: Final = 500
_KIND: Final = "alarm"
_TENANT: Final = "default"


class AlarmEntries:
    """Not thread-safe. Args: refuse_backlog: see `Control.refuse_backlog`."""

    def __init__(self, journal: Journal, entries: Entries, refuse_backlog: Callable[[], None]) -> None:
        self._journal = journal
        self._entries = entries
        self._refuse_backlog = refuse_backlog

    def alarms_on(self) -> list[dict[str, Any]]:
        """Those that are on, as `note_alarms` was told of them."""
        return [entry for _, entry in self._entries.all(_KIND)]

    def note_alarms(self, *, on: list[dict[str, Any]]) -> int:
        """Which alarms are on now. Told twice, it counts once.

        Args:
            on: all of them: ``code``, ``about``, ``says``, ``since_us`` (microseconds since the epoch).
        Returns: how many began or ended, with a row of evidence (`finding`) each.
        Raises: InputError: too many, or no alarm. UnavailableError: too much evidence waits to land; whoever asked
            asks again.
        """
        if len(on) > MOST_ON:
            raise InputError(f"{len(on)} alarms are on; the control store keeps account of {MOST_ON}")
        told = {_identity(alarm): alarm for alarm in on}
        known = {_identity(alarm): alarm for alarm in self.alarms_on()}
        begun, ended = told.keys() - known.keys(), known.keys() - told.keys()
        if not begun and not ended:
            return 0
        self._refuse_backlog()
        now_us = self._entries.now_us()
        with self._journal.transaction() as step:
            for identity in sorted(begun):
                alarm = told[identity] | {"says": str(told[identity]["says"])[:_SAYS_CHARACTERS]}
                self._entries.put(step, _KIND, identity, alarm)
                step.append(self._row(alarm, "began", now_us))
            for identity in sorted(ended):
                step.execute("DELETE FROM entries WHERE kind = ? AND id = ?", (_KIND, identity))
                step.append(self._row(known[identity], "ended", now_us))
            step.set_meta("event_time_us", now_us)
        return len(begun) + len(ended)

    def _row(self, alarm: dict[str, Any], state: str, now_us: int) -> EvidenceRow:
        details = {name: alarm[name] for name in ("about", "says", "since_us")} | {"alarm": state}
        row = evidence_rows.event(
            event_id=self._entries.event_id(now_us),
            event_type="finding",
            time_us=now_us,
            tenant=_TENANT,
            details=details,
        )
        row["reason_code"] = alarm["code"]
        return row


def _identity(alarm: dict[str, Any]) -> str:
    if alarm["code"] not in CODES:
        raise InputError(f"there is no alarm `{str(alarm['code'])[:64]}`")
    return f"{alarm['code']}/{alarm['about']}"
