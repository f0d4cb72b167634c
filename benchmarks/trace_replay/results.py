"""What a call returned, as a gateway would report it: JSON where it is JSON, and whether the file holds all of it."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from math import isfinite
from typing import Any

from benchmarks.trace_replay.trace import Result
from policies.action import Json

_CUT = re.compile(r"\.\.\.\[cut [0-9]+ chars\]\.\.\.")
_SAME_LENGTH = 3
_MAX_DIGITS = 15
_MAX_INTEGER = 2**53 - 1


def unmarked_limit(steps: Sequence[Mapping[str, Any]]) -> int | None:
    """The length at which a file that does not say how long its results were has cut them; None = it has not.

    Several different results that are all exactly as long as the longest did not come to be so by chance.
    """
    texts = {
        step["result_excerpt"]
        for step in steps
        if isinstance(step.get("result_excerpt"), str) and step.get("result_chars") is None
    }
    longest = max(map(len, texts), default=0)
    return longest if sum(len(text) == longest for text in texts) >= _SAME_LENGTH else None


def result_of(step: Mapping[str, Any], limit: int | None) -> Result:
    """Read the result of one step.

    Args:
        limit: from `unmarked_limit`.
    """
    text, failed = step.get("result_excerpt"), bool(step.get("error"))
    if not isinstance(text, str):
        return Result(value=exact(text), complete=text is not None, failed=failed)
    length = step.get("result_chars")
    if _CUT.search(text) or (len(text) != length if isinstance(length, int) else len(text) == limit):
        return Result(value=text, complete=False, failed=failed)
    return Result(value=_structured(text), complete=True, failed=failed)


def _structured(text: str) -> Json:
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return text
    return exact(value) if isinstance(value, dict | list) else text


def exact(value: Any) -> Json:
    """The same JSON, with numbers that the service would refuse for their digits sent as text, as it advises."""
    if isinstance(value, dict):
        return {str(name): exact(one) for name, one in value.items()}
    if isinstance(value, list):
        return [exact(one) for one in value]
    if isinstance(value, float) and (not isfinite(value) or _digits(value) > _MAX_DIGITS):
        return repr(value)
    if isinstance(value, int) and abs(value) > _MAX_INTEGER:
        return str(value)
    return value  # type: ignore[no-any-return]


def _digits(value: float) -> int:
    mantissa = repr(abs(value)).partition("e")[0]
    return len(mantissa.replace(".", "").strip("0"))
