"""JSON's own grammar of a number, for numbers that are sent as text."""

from __future__ import annotations

import re

# `float` and `Decimal` read more (`1_0`, ` 1`, `nan`, other scripts' digits): what the tool reads may differ.
# Groups: the whole part without its sign, the fraction with its point, the exponent with its `e`.
NUMBER = re.compile(r"-?(0|[1-9][0-9]*)(\.[0-9]+)?([eE][-+]?[0-9]+)?", re.ASCII)
