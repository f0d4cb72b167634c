"""Where a value of an action comes from: the user's task, a trusted result, a stranger's text, or nowhere.

Replicas turn texts into digests of tokens (`told_by_task`, `told_by_result`, `units_of`); the owner of a workflow keeps
the digests and judges by them (`Origins`). Neither keeps a text. Pure: keys are passed in.
"""

from policies.origin.arguments import Unit, spoken, units_of
from policies.origin.facts import Fact, worst
from policies.origin.hashing import TokenHasher
from policies.origin.known import Judged, Origins
from policies.origin.results import Told, told_by_result, told_by_task

__all__ = [
    "Fact",
    "Judged",
    "Origins",
    "TokenHasher",
    "Told",
    "Unit",
    "spoken",
    "told_by_result",
    "told_by_task",
    "units_of",
    "worst",
]
