"""A replica's or a host's leased copy of what the control store owns: keys, principals, owners, stops, the active
bundle.

The copy is refreshed every half second with what changed since. It may be trusted for `LEASE_S` after the request
that fetched it was *sent*; past that, whoever holds it denies, so that a revoked key or a stop is missed by nobody.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from actors.stops.live import STOP, LiveStops

LEASE_S = 2.0
REFRESH_S = 0.5


@dataclass(frozen=True, slots=True)
class Activation:
    """Which bundle is active. `number` counts activations, so that a late message cannot undo a newer one.

    Attributes:
        lenient: whether conditions of new rules count as untrue of what happened before them.
    """

    digest: str | None
    number: int
    lenient: bool = False

    def to_tuple(self) -> tuple[str | None, int, bool]:
        """As it travels."""
        return self.digest, self.number, self.lenient


class Directory:
    """Entries by kind and id, with the revision of the newest and the moment until which they may be trusted.

    Attributes:
        activation: the newest that was heard of.
        activation_known_s: monotonic clock when it was first heard of.
        stops: the live ones.
    """

    def __init__(self) -> None:
        self.revision = 0
        self.activation = Activation(None, 0)
        self.activation_known_s = float("-inf")
        self.stops = LiveStops()
        self._entries: dict[str, dict[str, dict[str, Any]]] = {}
        self._trusted_until_s = float("-inf")

    def apply(
        self,
        revision: int,
        activation: tuple[str | None, int, bool] | tuple[str | None, int],
        changes: list[Any],
        *,
        sent_s: float,
    ) -> None:
        """Take in a lease.

        Args:
            revision: the newest revision among what the control store holds.
            activation: see `Activation`.
            changes: (kind, id, value) of every entry that changed since our revision; of a stop that is over the value
                is None, and one without an id says that all that are live follow.
            sent_s: monotonic clock when the lease was asked for (not when it came: it may have been long on the way).
        """
        # A lease that was overtaken on the way brings what is no longer true.
        if revision >= self.revision:
            for kind, identity, value in changes:
                if kind != STOP:
                    self._entries.setdefault(kind, {})[identity] = value
                elif identity:
                    self.stops.learn(identity, value)
                else:
                    self.stops.clear()
            self.revision = revision
        if activation[1] > self.activation.number:
            self.activation = Activation(*activation)
            self.activation_known_s = sent_s
        self._trusted_until_s = max(self._trusted_until_s, sent_s + LEASE_S)

    def fresh(self, *, now_s: float) -> bool:
        """Whether the lease still holds. `now_s`: monotonic clock."""
        # INVARIANT (lease): counted from when it was asked for; whoever holds a copy that is older denies.
        return now_s <= self._trusted_until_s

    def get(self, kind: str, identity: str) -> dict[str, Any] | None:
        return self._entries.get(kind, {}).get(identity)

    def all(self, kind: str) -> dict[str, dict[str, Any]]:
        return self._entries.get(kind, {})
