"""How much a deployment lets one key and one agent ask for, how much evidence may wait to land, and outcomes to come.

It stands in DATA/limits.json, written by `controlplane up`.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from actors.bounds import EVIDENCE_BACKLOG, OUTCOME_TIMEOUT_S
from controlplane import remembered
from controlplane.errors import GovernanceError

MAX_RATE_PER_S = 1_000_000
MAX_EVIDENCE_BACKLOG = 1_000_000_000
MAX_OUTCOME_TIMEOUT_S = 20 * 3_600  # owners remember a decision for a day


class LimitsError(GovernanceError):
    """The limits are not what they have to be; `path` names the file if it is the file's fault."""

    code = "invalid_limits"


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """Rates are requests a second; 0 = no limit. Generous by default: they stop what has gone mad, not what works hard.

    Attributes:
        key_per_s: of a key that has no rate of its own; an `evaluations` call counts for each of its items.
        agent_per_s: decisions, sessions and outcomes of one agent, whichever keys ask for it.
        evidence_backlog: evidence rows that may wait in one owner's journal; at that many it decides nothing.
        outcome_timeout_s: how long the outcome of a permitted action may take before that is a finding; 0 = for ever.
    """

    key_per_s: int = 10_000
    agent_per_s: int = 1_000
    evidence_backlog: int = EVIDENCE_BACKLOG
    outcome_timeout_s: int = OUTCOME_TIMEOUT_S

    def __post_init__(self) -> None:
        for name in ("key_per_s", "agent_per_s"):
            rate = getattr(self, name)
            if type(rate) is not int or not 0 <= rate <= MAX_RATE_PER_S:
                raise LimitsError(f"`{name}` must be a whole number from 0 (no limit) to {MAX_RATE_PER_S}")
        backlog = self.evidence_backlog
        if type(backlog) is not int or not 1 <= backlog <= MAX_EVIDENCE_BACKLOG:
            raise LimitsError(f"`evidence_backlog` must be a whole number from 1 to {MAX_EVIDENCE_BACKLOG}")
        timeout = self.outcome_timeout_s
        if type(timeout) is not int or not 0 <= timeout <= MAX_OUTCOME_TIMEOUT_S:
            raise LimitsError(
                f"`outcome_timeout_s` must be a whole number from 0 (for ever) to {MAX_OUTCOME_TIMEOUT_S}"
            )

    @classmethod
    def read(cls, path: Path) -> Limits:
        """The limits in a file; the defaults where there is none. Raises: LimitsError."""
        return remembered.read(cls, path, LimitsError)

    def write(self, path: Path) -> None:
        """Replace the file, whole or not at all."""
        remembered.write(self, path)
