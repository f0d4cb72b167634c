"""How many actions were permitted for each count of a scope. The owner keeps the value; nothing here remembers.

Keep one for each workflow, not for each session: handing work on must not start the count again. Sessions of one
workflow that declare the same key share its tally, which can only restrict.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

from policies.asked.patterns import tool_matches
from policies.asked.scope import Scope, is_effect


@dataclass(frozen=True, slots=True)
class Tallies:
    """Permitted actions by key of `Scope.counts`; keys never counted are left out."""

    counts: Mapping[str, int] = field(default_factory=lambda: MappingProxyType({}))

    def of(self, key: str) -> int:
        return self.counts.get(key, 0)

    def after(
        self, scope: Scope | None, *, effects: Collection[str] | None, tool: str, times: int = 1
    ) -> Tallies:
        """With one more permitted action; `times=-1` takes one back that a witness reports as not executed.

        Args:
            effects: what the catalog says of the tool; None = unknown, which counts for every effect.
        Cost: O(counts of the scope).
        """
        if scope is None or not scope.counts:
            return self
        counts = dict(self.counts)
        for key in counted(scope, effects=effects, tool=tool):
            counts[key] = max(0, counts.get(key, 0) + times)
        return Tallies(MappingProxyType(counts))

    def plain(self) -> dict[str, int]:
        """JSON that the constructor takes back."""
        return dict(self.counts)


def counted(scope: Scope, *, effects: Collection[str] | None, tool: str) -> list[str]:
    """The keys of `scope.counts` that an action counts for, possibly or certainly."""
    return [
        key
        for key in scope.counts
        if ((effects is None or key in effects) if is_effect(key) else tool_matches(key, tool))
    ]
