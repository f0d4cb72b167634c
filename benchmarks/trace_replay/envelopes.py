"""Which delegation each step of a trace of several agents acts under.

A file names tasks and the nonces of envelopes. Those names are left behind here: what goes on is the number of the step
that made the envelope.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


class Envelopes:
    """The envelopes of one trace, in the order in which they are made.

    Args:
        grant: what the user granted.
    """

    def __init__(self, grant: Mapping[str, Any]) -> None:
        self._depth: int | None = grant.get("max_delegation_depth")
        self._by_nonce: dict[str, int] = {}
        self._by_task: dict[str, int] = {}

    def made(self, number: int, nonce: str | None, task: str | None) -> int | None:
        """A delegation makes an envelope. Returns: the earlier one, if its nonce was used before."""
        earlier = self._by_nonce.get(nonce) if nonce else None
        if earlier is None:
            if nonce:
                self._by_nonce[nonce] = number
            if task:
                self._by_task[task] = number
        return earlier

    def presented(self, nonce: str | None) -> int | None:
        """The envelope that a call presents; None = none, or one that nobody made."""
        return self._by_nonce.get(nonce) if nonce else None

    def of_task(self, task: str | None) -> int | None:
        """The envelope under which a task is done; None = there is none."""
        return self._by_task.get(task) if task else None

    def depth_left(self, level: int | None) -> int | None:
        """How many levels a delegation at this level leaves of what the user granted: what a child is best off with.

        Never less than 0, which is the least that can be asked for: whether that is still too much is not said here.
        """
        if self._depth is None:
            return None
        return max(0, self._depth - (level or 0))
