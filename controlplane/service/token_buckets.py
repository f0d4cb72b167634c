"""Token buckets by name: who asks faster than a rate, beyond a burst, waits."""

from __future__ import annotations

_BUCKETS_KEPT = 50_000


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
