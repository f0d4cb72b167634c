"""What a rule does, and what a verdict says."""

from __future__ import annotations

from enum import StrEnum


class Effect(StrEnum):
    """The four effects; in a verdict DENY wins over ESCALATE over MODIFY over ALLOW."""

    ALLOW = "allow"
    MODIFY = "modify"
    ESCALATE = "escalate"
    DENY = "deny"
