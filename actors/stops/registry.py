"""The stops of the fleet, in the control store's journal: set, released by one operator or two, expired. No Ray.

What owners lease are the live ones; each change leaves a row in the evidence log ``control``.
"""

from __future__ import annotations

import heapq
import json
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from typing import Any, Final

from actors import api_keys
from actors.entries import Entries
from actors.ids import agent_key
from actors.journal import Journal, Transaction
from actors.stops.live import STOP, LiveStops, Stop, TargetType
from actors.stops.room import Room, refuse_too_many, room_of
from controlplane.errors import ConflictError, ForbiddenError, NotFoundError, OverloadedError
from evidence.record import EvidenceRow

MAX_LISTED: Final = 1_000
RELEASE_REQUEST_US: Final = 24 * 3_600_000_000
"""How long a request to release waits for a second operator."""
STOPS_KEPT_US: Final = 7 * 24 * 3_600_000_000
"""How long one that is over is still listed; the evidence table has them all."""
MAX_OVER: Final = 20_000
"""Of those, in all tenants."""
AT_ONCE: Final = 50
"""Stops that one sweep ends, and rows that it drops."""

_FORGOTTEN = "stops_forgotten"


class StopRegistry:
    """Not thread-safe. Every change is durable when its method returns.

    Args:
        random_bytes: cryptographically strong randomness.
        second_operator: whether a release takes two keys.
    """

    def __init__(
        self,
        journal: Journal,
        entries: Entries,
        random_bytes: Callable[[int], bytes],
        *,
        second_operator: bool = False,
    ) -> None:
        self._journal = journal
        self._entries = entries
        self._random_bytes = random_bytes
        self._second_operator = second_operator
        self._live = LiveStops()
        self._expiring: list[tuple[int, str]] = []
        over = []
        for identity, entry in entries.all(STOP):
            if entry["over_us"] is None:
                self._watch(Stop.from_json(entry))
            else:
                over.append((int(entry["over_us"]), identity, str(entry["tenant"])))
        self._over = deque(sorted(over))

    # -- what is leased --------------------------------------------------------------------------------------------

    def changes(self, since: int) -> list[tuple[str, str, dict[str, Any] | None]]:
        """(kind, id, value) of what changed after a revision: None = it is over. See `Directory.apply`."""
        # Whose copy is older than what has been forgotten may hold what was: it begins anew.
        if since < self._journal.meta(_FORGOTTEN, 1):
            live: list[tuple[str, str, dict[str, Any] | None]] = [
                (STOP, stop.id, stop.to_json()) for stop in self._live
            ]
            return [(STOP, "", None), *live] if since else live
        return [
            (kind, identity, entry if entry["over_us"] is None else None)
            for kind, identity, entry in self._entries.newer(since, (STOP,))
        ]

    # -- operators -------------------------------------------------------------------------------------------------

    def proposed(
        self,
        *,
        tenant: str,
        target_type: TargetType,
        target_id: str,
        reason: str,
        expires_in_s: int | None,
        by: str,
    ) -> Stop:
        """The stop that `set` would make now. Changes nothing."""
        now_us = self._entries.now_us()
        return Stop(
            id=new_stop_id(self._random_bytes(9)),
            tenant=tenant,
            target_type=target_type,
            target_id=target_id,
            reason=reason,
            by=by,
            created_us=now_us,
            expires_us=None if expires_in_s is None else now_us + expires_in_s * 1_000_000,
        )

    def set(self, **asked: Any) -> dict[str, Any]:
        """Stop something. Args: as `proposed`.

        Returns: the entry, with ``known``: whether there is such an agent, or one of this owner; None where the
            index cannot tell.
        Raises: OverloadedError: too many are live.
        """
        stop = self.proposed(**asked)
        refuse_too_many(self._live, stop, self._entries.now_us())
        return self._put(stop) | {"known": self._known(stop)}

    def release(self, *, identity: str, tenant: str, reason: str, by: str) -> dict[str, Any]:
        """Release a stop, or, where that takes two operators, ask for it or confirm what another has asked for.

        Returns: the entry; ``over_us`` says whether it is over now. One that is over already stays as it is.
        Raises: NotFoundError. ConflictError: the same key has asked for it before. ForbiddenError: the key is younger
            than what it is to confirm.
        """
        entry = self._of(identity, tenant)
        if entry["over_us"] is not None:
            return self._shown(entry)
        now_us = self._entries.now_us()
        asked = self._request(entry, now_us=now_us)
        if self._second_operator and asked is None:
            entry["release_request"] = {"by": by, "reason": reason, "at_us": now_us}
            details = {"stop": identity, "by": by, "reason": reason, "target": _target(entry)}
            with self._change("stop_release_requested", entry, details, now_us) as step:
                self._entries.put(step, STOP, identity, entry)
            return entry
        if self._second_operator and asked is not None:
            self._refuse_same(asked, by)
        entry |= {
            "over_us": now_us,
            "over": "released",
            "released_by": by,
            "release_reason": reason,
            "release_request": asked,
        }
        details = {"stop": identity, "by": by, "reason": reason, "target": _target(entry)}
        if asked is not None:
            details |= {"requested_by": asked["by"], "requested_reason": asked["reason"]}
        with self._change("stop_released", entry, details, now_us) as step:
            self._entries.put(step, STOP, identity, entry)
        self._end(identity, tenant, now_us)
        return entry

    def get(self, *, identity: str, tenant: str) -> dict[str, Any]:
        """Raises: NotFoundError: there was none, or it has been over for a week."""
        return self._shown(self._of(identity, tenant))

    def live(self) -> int:
        """How many there are, of all tenants; some may have run out a moment ago."""
        return len(self._live)

    def listed(self, *, tenant: str, over: bool) -> dict[str, Any]:
        """Live ones, the newest first, at most `MAX_LISTED`, and whether there are more.

        Args: over: list those as well that were over in the last week.
        """
        now_us = self._entries.now_us()
        # One that has run out is over, though no sweep has said so yet.
        live = [stop for stop in self._live if stop.tenant == tenant and (over or stop.live(now_us))]
        live.sort(key=lambda stop: (stop.created_us, stop.id), reverse=True)
        names = [stop.id for stop in live]
        if over:
            names += [identity for _, identity, whose in reversed(self._over) if whose == tenant]
        entries = (self._entries.get(STOP, name) for name in names[:MAX_LISTED])
        shown = [self._shown(entry) for entry in entries if entry is not None]
        return {"stops": shown, "more": len(names) > len(shown)}

    # -- owners ----------------------------------------------------------------------------------------------------

    def take(self, *, stops: Sequence[dict[str, Any]]) -> tuple[int, list[str]]:
        """Take in automatic stops that owners have made and enforce already; each may come again.

        Of one rule and target one is live: a further one makes it last as long as either.

        Returns: the revision at which a directory knows of them, and the ids of those that were taken in; the others
            found no room.
        """
        taken: list[str] = []
        full: set[Room] = set()
        for value in stops:
            stop = Stop.from_json(value)
            if self._entries.get(STOP, stop.id) is None:
                twin = self._twin(stop)
                if twin is not None:
                    self._lengthen(twin, stop)
                else:
                    # Owners offer again what found no room: it is counted once a call, not once a stop.
                    if room_of(stop) in full:
                        continue
                    try:
                        refuse_too_many(self._live, stop, self._entries.now_us())
                    except OverloadedError:
                        full.add(room_of(stop))
                        continue
                    self._put(stop)
            taken.append(stop.id)
        return self._entries.revision, taken

    def sweep(self) -> None:
        """End what has expired, and forget what was over long ago; some at a time."""
        now_us = self._entries.now_us()
        ended = 0
        while ended < AT_ONCE and self._expiring and self._expiring[0][0] <= now_us:
            _, identity = self._expiring[0]
            stop = self._live.get(identity)
            # It may have been released, or lengthened.
            if stop is not None and not stop.live(now_us):
                self._expire(stop, now_us)
                ended += 1
            heapq.heappop(self._expiring)
        self._forget(now_us)

    # -- inside ----------------------------------------------------------------------------------------------------

    def _watch(self, stop: Stop) -> None:
        self._live.learn(stop.id, stop.to_json())
        if stop.expires_us is not None:
            heapq.heappush(self._expiring, (stop.expires_us, stop.id))

    def _end(self, identity: str, tenant: str, now_us: int) -> None:
        self._live.drop(identity)
        self._over.append((now_us, identity, tenant))

    def _expire(self, stop: Stop, now_us: int) -> None:
        entry = self._entries.get(STOP, stop.id)
        assert entry is not None, stop.id
        entry |= {"over_us": now_us, "over": "expired"}
        details = {"stop": stop.id, "target": _target(entry)}
        with self._change("stop_expired", entry, details, now_us) as step:
            self._entries.put(step, STOP, stop.id, entry)
        self._end(stop.id, stop.tenant, now_us)

    def _put(self, stop: Stop) -> dict[str, Any]:
        entry = stop.to_json() | {"over_us": None}
        details: dict[str, Any] = {
            "stop": stop.id,
            "target": _target(entry),
            "reason": stop.reason,
            "by": stop.by,
            "expires_us": stop.expires_us,
        }
        if stop.decision is not None:
            details["decision"] = stop.decision
        with self._change("stop_set", entry, details, self._entries.now_us()) as step:
            self._entries.put(step, STOP, stop.id, entry)
        self._watch(stop)
        return entry

    def _change(
        self, event: str, entry: dict[str, Any], details: dict[str, Any], now_us: int
    ) -> AbstractContextManager[Transaction]:
        """One change of a stop, with a row that is found by what it is about."""
        about: EvidenceRow = {}
        target_type, target_id = entry["target_type"], entry["target_id"]
        if target_type == "agent" and "*" not in target_id:
            about["agent_id"] = target_id
        elif target_type == "workflow":
            about["workflow_id"] = target_id
        return self._entries.change(event, entry["tenant"], details, now_us, about=about)

    def _lengthen(self, twin: Stop, stop: Stop) -> None:
        entry = self._entries.get(STOP, twin.id)
        assert entry is not None, twin.id
        if twin.expires_us is None or (stop.expires_us is not None and stop.expires_us <= twin.expires_us):
            return
        entry["expires_us"] = stop.expires_us
        details = {"stop": twin.id, "target": _target(entry), "expires_us": stop.expires_us, "by": stop.by}
        details["decision"] = stop.decision
        with self._change("stop_set", entry, details, self._entries.now_us()) as step:
            self._entries.put(step, STOP, twin.id, entry)
        self._watch(Stop.from_json(entry))

    def _twin(self, stop: Stop) -> Stop | None:
        now_us = self._entries.now_us()
        same = self._live.named(stop.tenant, stop.target_type, stop.target_id)
        return next((other for other in same if other.by == stop.by and other.live(now_us)), None)

    def _known(self, stop: Stop) -> bool | None:
        if stop.target_type == "owner":
            # Cost: a scan of the index of agents where there is none: 10 ms at 10 000.
            rows = self._journal.read(
                "SELECT 1 FROM entries WHERE kind = 'agent' AND id >= ? AND id < ?"
                " AND json_extract(value, '$.owner') = ? LIMIT 1",
                (
                    agent_key(stop.tenant, "agent", ""),
                    agent_key(stop.tenant, "agent", "\U0010ffff"),
                    stop.target_id,
                ),
            )
            return bool(rows)
        if stop.target_type != "agent" or "*" in stop.target_id:
            return None
        return self._entries.get("agent", agent_key(stop.tenant, "agent", stop.target_id)) is not None

    def _of(self, identity: str, tenant: str) -> dict[str, Any]:
        entry = self._entries.get(STOP, identity)
        if entry is None or entry["tenant"] != tenant:
            raise NotFoundError(f"no stop `{identity[:64]}`", code="unknown_stop")
        return entry

    def _shown(self, entry: dict[str, Any]) -> dict[str, Any]:
        """As it stands now: one that has run out is over before a sweep says so."""
        stop = Stop.from_json(entry)
        now_us = self._entries.now_us()
        if entry["over_us"] is None and not stop.live(now_us):
            return entry | {"over_us": stop.expires_us, "over": "expired"}
        if entry["over_us"] is None and "release_request" in entry:
            # One that nobody can confirm any more is none.
            return entry | {"release_request": self._request(entry, now_us=now_us)}
        return entry

    def _request(self, entry: dict[str, Any], *, now_us: int) -> dict[str, Any] | None:
        """What another operator has asked for and may still be confirmed: its key is as good as ever."""
        asked: dict[str, Any] | None = entry.get("release_request")
        if asked is None or now_us - asked["at_us"] > RELEASE_REQUEST_US:
            return None
        key = self._entries.get("key", asked["by"])
        return None if key is None or api_keys.no_longer_good(key, now_us=now_us) is not None else asked

    def _refuse_same(self, asked: dict[str, Any], by: str) -> None:
        """INVARIANT (two keys): whoever asks for a release does not confirm it, nor with a key made meanwhile."""
        if asked["by"] == by:
            raise ConflictError(
                f"key `{by}` has asked for this release: another operator's key confirms it",
                code="second_operator_needed",
            )
        key = self._entries.get("key", by)
        if key is None or key["created_us"] >= asked["at_us"]:
            raise ForbiddenError(
                f"key `{by}` was made after the release was asked for: an operator who was there before confirms it",
                code="key_too_new",
            )

    def _forget(self, now_us: int) -> None:
        over = self._over
        few = [
            identity
            for place, (over_us, identity, _) in zip(range(AT_ONCE), over, strict=False)
            if over_us < now_us - STOPS_KEPT_US or len(over) - place > MAX_OVER
        ]
        if not few:
            return
        revisions = self._journal.read(
            "SELECT max(revision) FROM entries WHERE kind = ? AND id IN (SELECT value FROM json_each(?))",
            (STOP, json.dumps(few)),
        )
        with self._journal.transaction() as step:
            step.executemany("DELETE FROM entries WHERE kind = ? AND id = ?", [(STOP, one) for one in few])
            step.set_meta(_FORGOTTEN, max(revisions[0][0] or 0, self._journal.meta(_FORGOTTEN, 1)))
        for _ in few:
            over.popleft()


def new_stop_id(random: bytes) -> str:
    """Args: random: 9 bytes."""
    return "stp_" + random[:9].hex()


def _target(entry: dict[str, Any]) -> dict[str, str]:
    """As the API has it."""
    target = {"type": entry["target_type"]}
    return target if entry["target_type"] == "fleet" else target | {"id": entry["target_id"]}
