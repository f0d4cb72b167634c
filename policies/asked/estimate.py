"""What an estimate is, whoever makes it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Protocol

MAX_TASK_CHARACTERS = 65_536


@dataclass(frozen=True, slots=True)
class Asked:
    """The effects that a task asks for, as far as its words tell; `read` is always asked.

    Args:
        effects: effect → the word or phrase of the task that says so; what another effect brings along
            has the same word.
        leaves_open: the words by which it leaves what is to be done to some other text; "" where it does not.
    """

    effects: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    leaves_open: str = ""

    @property
    def estimated(self) -> bool:
        return True

    def union(self, later: Asked) -> Asked:
        """With what a later turn asks for; the earlier word stays. Turns only ever add."""
        effects = MappingProxyType({**later.effects, **self.effects})
        return Asked(effects, self.leaves_open or later.leaves_open)

    def plain(self) -> dict[str, object]:
        """JSON that `restore` takes back."""
        return {"effects": dict(self.effects), "leaves_open": self.leaves_open}

    @classmethod
    def restore(cls, plain: Mapping[str, Any]) -> Asked:
        return cls(MappingProxyType(dict(plain["effects"])), str(plain["leaves_open"]))


class Estimator(Protocol):
    """The part that may be replaced: another lexicon, another language, or a model."""

    def estimate(self, task: str) -> Asked:
        """What one turn asks for. Pure: the same text, the same answer.

        Turns are estimated one by one and joined by `Asked.union`, so that no turn changes what another says.

        Args:
            task: the user's words; what lies past 65 536 characters is not read, which can only restrict.
        """
