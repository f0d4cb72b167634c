"""Where did this value come from? Texts become digests in a replica; a workflow's owner keeps them and is asked."""

from policies.origin.facts import Fact, worst
from policies.origin.hashing import TokenHasher
from policies.origin.origins import GarbledOrigins, Judged, Origins
from policies.origin.telling import told_by_result, told_by_task
from policies.origin.told import Told
from policies.origin.units import Unit, units_of

__all__ = (
    "Fact",
    "GarbledOrigins",
    "Judged",
    "Origins",
    "TokenHasher",
    "Told",
    "Unit",
    "told_by_result",
    "told_by_task",
    "units_of",
    "worst",
)  # fmt: skip
