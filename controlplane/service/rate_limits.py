"""How much one key, and one agent, may ask for: token buckets, and who was refused.

Past a limit the answer is 429 and nothing is decided: no row, no binding, next to no work. What was refused is summed
up by key and minute, so that a mad agent cannot fill the disk and yet does not go unseen.

Each replica counts for itself: with n replicas a limit is n times as high.
"""

from __future__ import annotations

import math
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from actors.api_keys import Caller
from actors.ids import agent_key
from controlplane.errors import OverloadedError
from controlplane.limits import Limits
from controlplane.wire.authzen import rfc3339

KEY_BURST_S = 2.0
AGENT_BURST_S = 10.0
MOST_IN_FLIGHT = 500
"""Requests of one key at a time."""
ALL_IN_FLIGHT = 1_500
"""Requests of all keys at a time: three keys' worth, and below what Ray Serve lets into a replica, so that readiness
and health are answered however full the door is."""
SMALL_BODY_BYTES = 4 << 10
"""Bodies up to this are bounded by their number alone."""
KEY_BODIES_BYTES = 2 << 20
"""Larger ones of one key at a time, or a single one of any size: about half a second's work. What is read of them can
take twenty-five times as much memory."""
ALL_BODIES_BYTES = 32 << 20
_BUCKETS_KEPT = 50_000
_AGENTS_NAMED = 20
_SUMMARIES_KEPT = 10_000
_MINUTE_S = 60


class TokenBuckets:
    """One bucket a name. Whoever finds a token in it may take as many as needed, and the next ones wait for the debt:
    over any t seconds a name gets at most ``rate · t + burst`` and, once, what the last request took beyond.

    Args:
        burst_s: a bucket holds this many seconds' worth of tokens.
        kept: how many buckets are remembered. One that is full again equals none; if more than this many are not, the
            longest unused are forgotten, which gives their names a full one.
    Cost: below a microsecond.
    """

    def __init__(self, *, burst_s: float, kept: int = _BUCKETS_KEPT) -> None:
        self._burst_s = burst_s
        self._kept = kept
        # name → when the bucket will be full again. That one number is all there is to a bucket.
        self._full_at_s: dict[str, float] = {}

    def take(self, name: str, tokens: int, *, rate_per_s: float, now_s: float) -> float:
        """Take tokens. Returns: 0.0, or, with nothing taken, the seconds until there is one.

        Args:
            rate_per_s: at which the bucket fills; 0 or less = no limit.
        """
        if rate_per_s <= 0:
            return 0.0
        burst_s = max(self._burst_s, 1 / rate_per_s)
        full_at_s = max(self._full_at_s.get(name, 0.0), now_s)
        # The bucket holds what has flown in since it was empty, which was `burst_s` before it will be full.
        wait_s = full_at_s + 1 / rate_per_s - now_s - burst_s
        if wait_s > 1e-9:
            return wait_s
        self._full_at_s[name] = full_at_s + tokens / rate_per_s
        if len(self._full_at_s) > self._kept:
            self._forget(now_s)
        return 0.0

    def __len__(self) -> int:
        return len(self._full_at_s)

    def _forget(self, now_s: float) -> None:
        """Keep the fuller half at most: done once in many requests, so that its cost does not count."""
        empty = {name: at for name, at in self._full_at_s.items() if at > now_s}
        if len(empty) > self._kept // 2:
            emptiest = sorted(empty.items(), key=lambda item: item[1])[-(self._kept // 2) :]
            empty = dict(emptiest)
        self._full_at_s = empty


@dataclass(frozen=True, slots=True, kw_only=True)
class Clock:
    """Rates go by the monotonic clock, which nobody sets; minutes in evidence by the wall clock."""

    monotonic_s: Callable[[], float] = time.monotonic
    wall_us: Callable[[], int] = field(default=lambda: time.time_ns() // 1000)


@dataclass(slots=True)
class Refused:
    """What one key was refused within one minute."""

    key_id: str
    tenant: str
    minute_us: int
    id: str = field(default_factory=lambda: uuid.uuid4().hex)
    count: int = 0
    first_us: int = 0
    last_us: int = 0
    limits: set[str] = field(default_factory=set)
    agents: set[str] = field(default_factory=set)

    def to_json(self) -> dict[str, Any]:
        """As `Control.record_refusals` takes it."""
        details = {
            "key": self.key_id,
            "minute": rfc3339(self.minute_us),
            "refused": self.count,
            "first": rfc3339(self.first_us),
            "last": rfc3339(self.last_us),
            "limits": sorted(self.limits),
            "agents": sorted(self.agents),
        }
        return {"id": self.id, "tenant": self.tenant, "details": details}


class RateLimiter:
    """The limits of one replica.

    Args:
        limits: the deployment's; a key may have a rate of its own.
        clock: what time it is; the real one when left out.
    """

    def __init__(self, limits: Limits, clock: Clock | None = None) -> None:
        self._limits = limits
        self._clock = clock or Clock()
        self._keys = TokenBuckets(burst_s=KEY_BURST_S)
        self._agents = TokenBuckets(burst_s=AGENT_BURST_S)
        self._in_flight: dict[str, int] = {}
        self._all_in_flight = 0
        self._held_bytes: dict[str, int] = {}
        self._all_held_bytes = 0
        self._refused: dict[tuple[str, int], Refused] = {}

    def enter(self, caller: Caller) -> None:
        """One request of a key, before anything is done for it; whoever was let in calls `leave`.

        Raises: OverloadedError: `rate_limited`, `too_many_in_flight`, or `overloaded`: everybody's together are too
            many; with `retry_after_s`.
        """
        key_id = caller.key_id
        flying = self._in_flight.get(key_id, 0)
        if flying >= MOST_IN_FLIGHT:
            self._note(caller, "in_flight", None, 1)
            raise OverloadedError(
                f"key `{key_id}` has {flying} requests on their way; wait for answers before sending more",
                code="too_many_in_flight",
                retry_after_s=1,
            )
        if self._all_in_flight >= ALL_IN_FLIGHT:
            raise OverloadedError("too many requests are on their way; try again later", retry_after_s=1)
        self.charge(caller, 1)
        self._in_flight[key_id] = flying + 1
        self._all_in_flight += 1

    def leave(self, caller: Caller) -> None:
        """The request is answered."""
        self._all_in_flight -= 1
        left = self._in_flight[caller.key_id] - 1
        if left:
            self._in_flight[caller.key_id] = left
        else:
            del self._in_flight[caller.key_id]

    def hold(self, caller: Caller, size_bytes: int) -> None:
        """A body that is not small, before any of it is read; whoever may have it calls `let_go`.

        Raises: OverloadedError: `too_many_in_flight`: the key's others are as large as all may be; `overloaded`:
            everybody's are.
        """
        key_id = caller.key_id
        others_bytes = self._held_bytes.get(key_id, 0)
        held_bytes = others_bytes + size_bytes
        if others_bytes and held_bytes > KEY_BODIES_BYTES:
            self._note(caller, "in_flight", None, 1)
            raise OverloadedError(
                f"the bodies of key `{key_id}` that are on their way would have {held_bytes} bytes; "
                "wait for answers before sending more",
                code="too_many_in_flight",
                retry_after_s=1,
            )
        if self._all_held_bytes and self._all_held_bytes + size_bytes > ALL_BODIES_BYTES:
            raise OverloadedError("too many large bodies are on their way; try again later", retry_after_s=1)
        self._held_bytes[key_id] = held_bytes
        self._all_held_bytes += size_bytes

    def let_go(self, caller: Caller, size_bytes: int) -> None:
        """The request with this body is answered."""
        self._all_held_bytes -= size_bytes
        left_bytes = self._held_bytes[caller.key_id] - size_bytes
        if left_bytes:
            self._held_bytes[caller.key_id] = left_bytes
        else:
            del self._held_bytes[caller.key_id]

    def charge(self, caller: Caller, requests: int) -> None:
        """Count requests of a key. Raises: OverloadedError: it has used up its rate."""
        rate = self._limits.key_per_s if caller.rate_per_s is None else caller.rate_per_s
        wait_s = self._keys.take(caller.key_id, requests, rate_per_s=rate, now_s=self._clock.monotonic_s())
        if wait_s:
            self._note(caller, "key", None, requests)
            raise _too_fast(f"key `{caller.key_id}`", rate, wait_s)

    def count(self, caller: Caller, subject_type: str, subject_id: str) -> None:
        """Like `charge_agent`. Raises: OverloadedError: the agent has used up its rate."""
        too_fast = self.charge_agent(caller, subject_type, subject_id)
        if too_fast is not None:
            raise too_fast

    def charge_agent(self, caller: Caller, subject_type: str, subject_id: str) -> OverloadedError | None:
        """Count one decision, session or outcome of an agent. Returns: why it may not have it now, if so."""
        rate = self._limits.agent_per_s
        name = agent_key(caller.tenant, subject_type, subject_id)
        wait_s = self._agents.take(name, 1, rate_per_s=rate, now_s=self._clock.monotonic_s())
        if not wait_s:
            return None
        self._note(caller, "agent", f"{subject_type}/{subject_id}", 1)
        return _too_fast(f"{subject_type} `{subject_id}`", rate, wait_s)

    def summaries(self, *, before_us: int) -> list[Refused]:
        """Take out what was refused in minutes that ended before this moment."""
        minute_us = before_us // (_MINUTE_S * 1_000_000)
        over = [key for key in self._refused if key[1] < minute_us]
        return [self._refused.pop(key) for key in over]

    def put_back(self, summaries: list[Refused]) -> None:
        """What could not be recorded now, to be tried again; as much of it as there is room for."""
        for one in summaries[: max(0, _SUMMARIES_KEPT - len(self._refused))]:
            name = (one.key_id, one.minute_us // (_MINUTE_S * 1_000_000))
            newer = self._refused.get(name)
            if newer is not None:  # the clock was set back, and the minute comes twice
                one.count += newer.count
                one.last_us = max(one.last_us, newer.last_us)
                one.limits |= newer.limits
                one.agents |= newer.agents
            self._refused[name] = one

    def _note(self, caller: Caller, limit: str, agent: str | None, count: int) -> None:
        now_us = self._clock.wall_us()
        minute = now_us // (_MINUTE_S * 1_000_000)
        found = self._refused.get((caller.key_id, minute))
        if found is None:
            if len(self._refused) >= _SUMMARIES_KEPT:
                return  # ten thousand keys at once: the log of the ingress is full of them
            found = self._refused[caller.key_id, minute] = Refused(
                key_id=caller.key_id,
                tenant=caller.tenant,
                minute_us=minute * _MINUTE_S * 1_000_000,
                first_us=now_us,
            )
        found.count += count
        found.last_us = now_us
        found.limits.add(limit)
        if agent is not None and len(found.agents) < _AGENTS_NAMED:
            found.agents.add(agent)


def _too_fast(who: str, rate: float, wait_s: float) -> OverloadedError:
    return OverloadedError(
        f"{who} may ask {rate:g} times a second; slow down",
        code="rate_limited",
        retry_after_s=max(1, math.ceil(wait_s)),
    )
