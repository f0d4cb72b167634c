"""The lexicons that come with the package; the one place that reads them."""

from __future__ import annotations

from functools import cache
from importlib.resources import files

from policies.asked.lexicon_document import read_lexicon
from policies.asked.lexicon_estimate import LexiconEstimator
from policies.error import Source


@cache
def english() -> LexiconEstimator:
    """Cost: some 20 ms, once a process."""
    name = "lexicon/english.yaml"
    text = files("policies.asked").joinpath(name).read_text("utf-8")
    return LexiconEstimator(read_lexicon(Source(name=name, text=text)))
