"""What a session was opened for: a declared scope, and what its task's words ask for, turn by turn."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from policies.asked.estimate import Asked
from policies.asked.scope import Scope, narrow, restore, widen


@dataclass(frozen=True, slots=True, kw_only=True)
class Basis:
    """By what a session's actions are judged: its scope, or its estimate where it has none.

    Args:
        scope: as declared, and narrowed by those above it; None = none was declared.
        estimate: of all turns; None = nobody said a task.
    """

    scope: Scope | None = None
    estimate: Asked | None = None

    @property
    def decisive(self) -> Scope | Asked | None:
        """What answers."""
        return self.estimate if self.scope is None else self.scope

    def below(self, parent: Basis | None) -> Basis:
        """For a session that `parent` delegated to: what both let through, by the user's words to the parent.

        Raises: InputError: too many scopes came together.
        """
        if parent is None:
            return self
        return Basis(scope=narrow(parent.scope, self.scope), estimate=parent.estimate)

    def after(self, turn: Basis, *, parent: Basis | None = None) -> Basis:
        """With one more turn of the user, which never leads out of the scope that `parent` has now.

        Raises: InputError: turns have named too much.
        """
        estimate = self.estimate
        if turn.estimate is not None:
            estimate = turn.estimate if estimate is None else estimate.union(turn.estimate)
        within = None if parent is None else parent.scope
        return Basis(scope=widen(self.scope, turn.scope, within=within), estimate=estimate)

    def plain(self) -> dict[str, Any]:
        """JSON that `read` takes back."""
        return {
            "scope": None if self.scope is None else self.scope.plain(),
            "estimate": None if self.estimate is None else self.estimate.plain(),
        }

    @classmethod
    def read(cls, plain: dict[str, Any]) -> Basis:
        scope, estimate = plain["scope"], plain["estimate"]
        return cls(
            scope=None if scope is None else restore(scope),
            estimate=None if estimate is None else Asked.restore(estimate),
        )
