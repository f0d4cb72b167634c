"""The operators' channels in the control store: where approvers are told. No Ray."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Any

from actors import evidence_rows
from actors.entries import Entries
from actors.ids import agent_key
from actors.journal import Journal
from actors.notifications.channels import MOST_CHANNELS, shown
from controlplane.errors import ConflictError, NotFoundError

_KIND = "channel"
_REPORTS_REMEMBERED = 10_000


class ChannelEntries:
    """Channels among the control store's entries. They are leased by nobody: their secrets go to the notifier alone.

    Args: refuse_backlog: see `Control.refuse_backlog`.
    """

    def __init__(self, journal: Journal, entries: Entries, refuse_backlog: Callable[[], None]) -> None:
        self._journal = journal
        self._entries = entries
        self._refuse_backlog = refuse_backlog
        self._reported: deque[str] = deque(maxlen=_REPORTS_REMEMBERED)

    def set_channel(self, *, tenant: str, given: dict[str, Any], by: str) -> dict[str, Any]:
        """Create or replace a channel as a whole, its secret included: none moves to another address by itself.

        Args:
            given: as `controlplane.service.management.channel_bodies` has checked it.
        Returns: the channel as anybody may see it.
        Raises: ConflictError: there are as many as may be.
        """
        key = agent_key(tenant, _KIND, given["id"])
        known = self._entries.all(_KIND)
        if len(known) >= MOST_CHANNELS and key not in dict(known):
            raise ConflictError(
                f"there are {MOST_CHANNELS} channels already; remove one first", code="too_many_channels"
            )
        now_us = self._entries.now_us()
        entry = {"tenant": tenant, **given, "set_us": now_us}
        details = {"channel": given["id"], "by": by} | {
            name: value
            for name, value in shown(given).items()
            if name != "id" and value not in (None, "", [])
        }
        with self._entries.change("channel_set", tenant, details, now_us) as step:
            self._entries.put(step, _KIND, key, entry)
        return shown(entry)

    def remove_channel(self, *, tenant: str, identity: str, by: str) -> dict[str, Any]:
        """Forget a channel with its secret. Raises: NotFoundError."""
        key = agent_key(tenant, _KIND, identity)
        entry = self._entries.get(_KIND, key)
        if entry is None:
            raise NotFoundError(f"no channel `{identity[:64]}`", code="unknown_channel")
        details = {"channel": identity, "by": by}
        with self._entries.change("channel_removed", tenant, details, self._entries.now_us()) as step:
            step.execute("DELETE FROM entries WHERE kind = ? AND id = ?", (_KIND, key))
        return shown(entry)

    def channels(self, *, tenant: str) -> list[dict[str, Any]]:
        """A tenant's, in the order of their ids, as anybody may see them."""
        return [shown(entry) for _, entry in self._entries.all(_KIND) if entry["tenant"] == tenant]

    def channels_with_secrets(self) -> list[dict[str, Any]]:
        """All there are, for the notifier."""
        return [entry for _, entry in self._entries.all(_KIND)]

    def record_undelivered(self, *, reports: list[dict[str, Any]]) -> int:
        """One evidence row for each notice that a channel was not told.

        Args:
            reports: what to say of each: ``id`` (the notifier's, so that one that is sent twice counts once),
                ``tenant``, ``approval``, ``agent`` and ``details``.
        Returns: how many were new.
        Raises: UnavailableError: too much evidence waits to land; the notifier keeps them.
        """
        self._refuse_backlog()
        fresh = [one for one in reports if one["id"] not in self._reported]
        if not fresh:
            return 0
        now_us = self._entries.now_us()
        with self._journal.transaction() as step:
            for one in fresh:
                row = evidence_rows.event(
                    event_id=self._entries.event_id(now_us),
                    event_type="notification_failed",
                    time_us=now_us,
                    tenant=one["tenant"],
                    details=one["details"],
                )
                row["approval_id"], row["agent_id"] = one["approval"], one["agent"]
                step.append(row)
            step.set_meta("event_time_us", now_us)
        self._reported.extend(one["id"] for one in fresh)
        return len(fresh)
