"""How much one key, one agent, and all together may ask for at a time and in a second.

Past a limit the answer is 429 and nothing is decided: no row, no binding, next to no work. What was refused is summed
up (`refusals`), so that a mad agent cannot fill the disk and yet does not go unseen.

Each replica counts for itself: with n replicas a limit is n times as high.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from actors.api_keys import Caller
from actors.ids import agent_key
from controlplane.errors import OverloadedError
from controlplane.limits import Limits
from controlplane.service.refusals import Refusals
from controlplane.service.token_buckets import TokenBuckets

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


@dataclass(frozen=True, slots=True, kw_only=True)
class Clock:
    """Rates go by the monotonic clock, which nobody sets; minutes in evidence by the wall clock."""

    monotonic_s: Callable[[], float] = time.monotonic
    wall_us: Callable[[], int] = field(default=lambda: time.time_ns() // 1000)


class RateLimiter:
    """The limits of one replica.

    Attributes:
        refusals: what was refused.
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
        self.refusals = Refusals()

    def enter(self, caller: Caller) -> None:
        """One request of a key, before anything is done for it; whoever was let in calls `leave`.

        Raises: OverloadedError: `rate_limited`, `too_many_in_flight`, or `overloaded`: everybody's together are too
            many; with `retry_after_s`.
        """
        key_id = caller.key_id
        flying = self._in_flight.get(key_id, 0)
        if flying >= MOST_IN_FLIGHT:
            self._note(caller, "in_flight")
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
            self._note(caller, "in_flight")
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
            self._note(caller, "key", count=requests)
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
        self._note(caller, "agent", agent=f"{subject_type}/{subject_id}")
        return _too_fast(f"{subject_type} `{subject_id}`", rate, wait_s)

    def _note(self, caller: Caller, limit: str, *, count: int = 1, agent: str | None = None) -> None:
        self.refusals.note(caller, limit, now_us=self._clock.wall_us(), count=count, agent=agent)


def _too_fast(who: str, rate: float, wait_s: float) -> OverloadedError:
    return OverloadedError(
        f"{who} may ask {rate:g} times a second; slow down",
        code="rate_limited",
        retry_after_s=max(1, math.ceil(wait_s)),
    )
