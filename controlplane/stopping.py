"""How a deployment's stops are released, and whether what a PEP reports stops an agent.

It stands in DATA/stopping.json, written by `controlplane up`.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path

from controlplane import remembered
from controlplane.errors import GovernanceError


class StoppingError(GovernanceError):
    """The file is not what it has to be; `path` names it."""

    code = "invalid_stopping"


@dataclass(frozen=True, slots=True, kw_only=True)
class Stopping:
    """What an operator has chosen.

    Attributes:
        release_needs_second_operator: whether a release takes two operators' keys: the first asks, another confirms.
        stop_on_mismatch: whether an agent is stopped whose PEP reports that it executed something else than was
            allowed.
    """

    release_needs_second_operator: bool = False
    stop_on_mismatch: bool = True

    def __post_init__(self) -> None:
        for name, value in asdict(self).items():
            if type(value) is not bool:
                raise StoppingError(f"`{name}` must be true or false")

    @classmethod
    def read(cls, path: Path) -> Stopping:
        """What stands in a file; the defaults where there is none. Raises: StoppingError."""
        return remembered.read(cls, path, StoppingError)

    def write(self, path: Path) -> None:
        """Replace the file, whole or not at all."""
        remembered.write(self, path)
