"""Rings: an alarm that begins or ends stands in the log at once, and in evidence as soon as the control store takes it.

The evidence of a table that takes nothing waits in the control store's journal, and lands when it can.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from typing import Any, Final

from actors.alarms.state import Alarm, Alarms, Condition
from actors.alarms.watch import LandingWatch
from actors.placement import CONTROL_STORE
from controlplane.errors import GovernanceError

log = logging.getLogger(__name__)

CALL_TIMEOUT_S: Final = 10.0


class Bell:
    """Args: call: how an actor is asked; see `actors.handles.ask`."""

    def __init__(self, watch: LandingWatch, call: Callable[..., Any]) -> None:
        self._watch = watch
        self._call = call
        self._alarms = Alarms()
        self._told: frozenset[Condition] | None = None
        self._waiting = False

    async def round(self, silent: Iterable[str], *, now_s: float, now_us: int) -> None:
        """Look what is the case, and say what has changed."""
        found = self._watch.conditions(silent, now_us=now_us)
        changes = self._alarms.observe(found, now_s=now_s, now_us=now_us)
        for alarm in changes.begun:
            log.error("alarm `%s`%s begins: %s", alarm.code, _about(alarm), alarm.says)
        for alarm in changes.ended:
            lasted_s = (now_us - alarm.since_us) / 1e6
            log.warning("alarm `%s`%s ends after %.0f s", alarm.code, _about(alarm), lasted_s)
        if self._told is None:
            await self._learn(now_s)
        await self._tell()

    def on(self) -> list[dict[str, Any]]:
        """Those that are on, the oldest first: `code`, `about`, `says`, `since_us`."""
        return [_as_json(alarm) for alarm in self._alarms.on()]

    async def _learn(self, now_s: float) -> None:
        """What an earlier process had begun is neither begun anew nor left on for good."""
        try:
            known = await self._call(CONTROL_STORE, "call", "alarms_on", {}, timeout_s=CALL_TIMEOUT_S)
        except GovernanceError:
            return
        alarms = [Alarm(**alarm) for alarm in known]
        self._alarms.restore(alarms, now_s=now_s)
        self._told = frozenset(alarm.condition for alarm in alarms)

    async def _tell(self) -> None:
        """Have the control store put into evidence what has changed since it was told last."""
        on = frozenset(alarm.condition for alarm in self._alarms.on())
        if self._told is None or self._told == on:
            return
        try:
            await self._call(
                CONTROL_STORE, "call", "note_alarms", {"on": self.on()}, timeout_s=CALL_TIMEOUT_S
            )
        except GovernanceError as error:
            if not self._waiting:
                log.warning(
                    "the control store does not take what alarms there are; it is tried again: %s", error
                )
            self._waiting = True
            return
        self._told, self._waiting = on, False


def _about(alarm: Alarm) -> str:
    return f" ({alarm.about})" if alarm.about else ""


def _as_json(alarm: Alarm) -> dict[str, Any]:
    return {"code": alarm.code, "about": alarm.about, "says": alarm.says, "since_us": alarm.since_us}
