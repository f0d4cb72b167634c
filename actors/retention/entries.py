"""How long evidence is kept, and the legal holds, in the control store. No Ray.

Each change leaves a row in the evidence log ``control``. The evidence writer asks for the `terms` before it looks what
is due, and again, by `begin_retirement`, at the moment at which rows leave.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from actors.entries import Entries
from actors.journal import Journal, Transaction
from controlplane.errors import ConflictError, ForbiddenError, InputError, NotFoundError
from evidence.retention import SIX_MONTHS_DAYS

MAX_HOLDS: Final = 1_000
"""Of all tenants; each is compared with the rows of every date that is due."""
LOGS_NAMED: Final = 200
"""Logs of which one event says how many rows left; the note in the commit has all."""

_HOLD: Final = "hold"
_RETENTION: Final = "retention"
_POLICY: Final = "policy"
_UNDER_WAY: Final = "under_way"
_TERMS: Final = "retention_terms"


class RetentionEntries:
    """Not thread-safe. Every change is durable when its method returns. Nobody leases these entries.

    Args: random_bytes: cryptographically strong randomness.
    """

    def __init__(self, journal: Journal, entries: Entries, random_bytes: Callable[[int], bytes]) -> None:
        self._journal = journal
        self._entries = entries
        self._random_bytes = random_bytes

    # -- operators -------------------------------------------------------------------------------------------------

    def set_retention(
        self, *, tenant: str, keep_days: int | None, allow_shorter: bool, reason: str, by: str
    ) -> dict[str, Any]:
        """How long evidence is kept, of all tenants. Args: keep_days: None = for ever.

        Raises: InputError: less than six months, and nobody said that this is meant, and why.
        """
        shorter = keep_days is not None and keep_days < SIX_MONTHS_DAYS
        if shorter and not (allow_shorter and reason.strip()):
            raise InputError(
                f"{keep_days} days are less than six months ({SIX_MONTHS_DAYS} days), which the EU AI Act asks of the "
                "logs of high-risk systems (articles 19(1), 26(6)); if it is meant, say `allow_shorter` and a `reason`",
                code="retention_too_short",
                expected=SIX_MONTHS_DAYS,
                found=keep_days,
            )
        known = self._entries.get(_RETENTION, _POLICY)
        now_us = self._entries.now_us()
        entry = {"keep_days": keep_days, "reason": reason, "by": by, "set_us": now_us}
        details = {
            "keep_days": keep_days,
            "replaces": None if known is None else known["keep_days"],
            "by": by,
        } | ({"reason": reason} if reason else {})
        with self._entries.change("retention_set", tenant, details, now_us) as step:
            self._entries.put(step, _RETENTION, _POLICY, entry)
            self._other_terms(step)
        return self.retention()

    def retention(self) -> dict[str, Any]:
        """``keep_days`` (None = for ever), who set it, when and why; and the dates that are leaving right now."""
        nobody = {"keep_days": None, "reason": "", "by": None, "set_us": None}
        return (self._entries.get(_RETENTION, _POLICY) or nobody) | {"leaving": self._leaving()}

    def set_hold(self, *, tenant: str, given: dict[str, Any], by: str) -> dict[str, Any]:
        """Keep every date that has a row which the hold matches, of the caller's tenant, until it is released.

        Args: given: ``agent``, ``session``, ``workflow``, ``tenant``, ``first`` and ``last`` (ISO dates), each or None,
            and ``reason``.
        Returns: the hold; with ``too_late``: dates that it covers and that were leaving when it came.
        Raises: ForbiddenError: another tenant's. ConflictError: there are as many as may be.
        """
        whole = given["tenant"]
        if whole not in (None, tenant):
            raise ForbiddenError(
                f"tenant `{whole[:64]}` is not this key's: a hold is for one's own", code="other_tenant"
            )
        if len(self._entries.all(_HOLD)) >= MAX_HOLDS:
            raise ConflictError(
                f"there are {MAX_HOLDS} holds already; release one first", code="too_many_holds"
            )
        now_us = self._entries.now_us()
        identity = "hld_" + self._random_bytes(9).hex()
        entry = {"id": identity, **given, "tenant": tenant, "by": by, "set_us": now_us}
        # Not in the columns of the row, or each hold would hold the date on which it was set.
        details = {"hold": identity, "by": by} | {k: v for k, v in given.items() if v is not None}
        with self._entries.change("hold_set", tenant, details, now_us) as step:
            self._entries.put(step, _HOLD, identity, entry)
            self._other_terms(step)
        first, last = given["first"] or "", given["last"] or "9999-12-31"
        return entry | {"too_late": [each for each in self._leaving() if first <= each <= last]}

    def release_hold(self, *, tenant: str, identity: str, reason: str, by: str) -> dict[str, Any]:
        """End a hold: what it kept leaves with the next run, if nothing else keeps it. Raises: NotFoundError."""
        entry = self._entries.get(_HOLD, identity)
        if entry is None or entry["tenant"] != tenant:
            raise NotFoundError(f"no hold `{identity[:64]}`", code="unknown_hold")
        details = {"hold": identity, "reason": reason, "by": by}
        with self._entries.change("hold_released", tenant, details, self._entries.now_us()) as step:
            step.execute("DELETE FROM entries WHERE kind = ? AND id = ?", (_HOLD, identity))
            self._other_terms(step)
        return entry

    def holds(self, *, tenant: str) -> list[dict[str, Any]]:
        """A tenant's, oldest first."""
        found = [entry for _, entry in self._entries.all(_HOLD) if entry["tenant"] == tenant]
        return sorted(found, key=lambda entry: (entry["set_us"], entry["id"]))

    # -- the evidence writer ---------------------------------------------------------------------------------------

    def retention_terms(self) -> dict[str, Any]:
        """``keep_days``, every tenant's ``holds``, their ``number``, and what is ``under_way``: see below."""
        return {
            "keep_days": self.retention()["keep_days"],
            "holds": [entry for _, entry in self._entries.all(_HOLD)],
            "number": int(self._journal.meta(_TERMS, 0)),
            "under_way": self._entries.get(_RETENTION, _UNDER_WAY),
        }

    def begin_retirement(self, *, tenant: str, number: int, about: dict[str, Any]) -> None:
        """Say that rows leave now; from here on a hold comes too late for them.

        Args:
            number: of the terms by which they were chosen.
            about: ``by``, ``partitions``, ``rows``, ``logs`` (rows of each log), ``note`` (digest), and ``version`` of
                the table.
        Raises: ConflictError: the terms are others by now, or it is not known what became of those before.
        """
        # INVARIANT (held): no row leaves that a hold matches which was set before this moment.
        if number != self._journal.meta(_TERMS, 0):
            raise ConflictError(
                "holds or the time to keep have changed meanwhile; it is tried again", code="terms_changed"
            )
        if self._entries.get(_RETENTION, _UNDER_WAY) is not None:
            raise ConflictError("other dates are leaving right now", code="retention_under_way")
        with self._event(tenant, "begun", about) as step:
            self._entries.put(step, _RETENTION, _UNDER_WAY, {"tenant": tenant, **about})

    def end_retirement(self, *, note: str, version: int | None) -> None:
        """Say what became of the rows that were leaving. Idempotent.

        Args: note: digest; version: of the commit that removed them; None: they are still there.
        """
        about = self._entries.get(_RETENTION, _UNDER_WAY)
        if about is None or about["note"] != note:
            return
        tenant = about.pop("tenant")
        state = "abandoned" if version is None else "done"
        with self._event(tenant, state, about | {"version": version}) as step:
            step.execute("DELETE FROM entries WHERE kind = ? AND id = ?", (_RETENTION, _UNDER_WAY))

    # -- inside ----------------------------------------------------------------------------------------------------

    def _event(self, tenant: str, state: str, about: dict[str, Any]) -> Any:
        logs = about["logs"]
        named = dict(sorted(logs.items())[:LOGS_NAMED])
        details = about | {"state": state, "logs": named, "more_logs": len(logs) - len(named)}
        return self._entries.change("retention", tenant, details, self._entries.now_us())

    def _other_terms(self, step: Transaction) -> None:
        step.set_meta(_TERMS, int(self._journal.meta(_TERMS, 0)) + 1)

    def _leaving(self) -> list[str]:
        under_way = self._entries.get(_RETENTION, _UNDER_WAY)
        return [] if under_way is None else list(under_way["partitions"])
