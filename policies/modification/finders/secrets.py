"""Secrets that show what they are: tokens of well-known forms, private keys, and what follows `password=` and the like.

The forms are those of the issuers' own documents, as scanners of source code know them. Those scanners (detect-secrets,
say) read files line by line under settings of the process, and guess at entropy; neither fits one text on a decision's
way, where a guess that is wrong damages what somebody sends.
"""

from __future__ import annotations

import re
from typing import Final

from policies.modification.effort import Effort

Stretch = tuple[int, int]

# (texts of which one stands in every match, the pattern). All repetitions are bounded, or begin where a word does.
_TOKENS: Final = tuple(
    (hints, re.compile(pattern))
    for hints, pattern in (
        (("AKIA", "ASIA"), r"A(?:KIA|SIA)[A-Z2-7]{16}"),
        (("ghp_", "gho_", "ghu_", "ghs_", "ghr_"), r"gh[pousr]_[A-Za-z0-9]{36,255}"),
        (("github_pat_",), r"github_pat_[A-Za-z0-9_]{22,255}"),
        (("glpat-",), r"glpat-[A-Za-z0-9_-]{20,255}"),
        (("xox",), r"xox[abeoprs]-[A-Za-z0-9-]{10,255}"),
        (("hooks.slack.com",), r"hooks\.slack\.com/(?:services|workflows|triggers)/[A-Za-z0-9/_-]{20,255}"),
        (("_live_", "_test_"), r"[rs]k_(?:live|test)_[A-Za-z0-9]{16,255}"),
        (("whsec_",), r"whsec_[A-Za-z0-9+/=]{24,255}"),
        (("AIza",), r"AIza[A-Za-z0-9_-]{35}"),
        (("GOCSPX-",), r"GOCSPX-[A-Za-z0-9_-]{28}"),
        (("sk-",), r"(?<![A-Za-z0-9])sk-[A-Za-z0-9_-]{20,255}"),
        (("hf_",), r"hf_[A-Za-z0-9]{30,255}"),
        (("npm_",), r"npm_[A-Za-z0-9]{36}"),
        (("pypi-",), r"pypi-[A-Za-z0-9_-]{16,512}"),
        (("SG.",), r"SG\.[A-Za-z0-9_-]{16,64}\.[A-Za-z0-9_-]{16,64}"),
        (("_v1_",), r"do[opr]_v1_[a-f0-9]{64}"),
        (("cp_",), r"(?<![A-Za-z0-9_])cp_[A-Za-z0-9_-]{20,255}"),
        (("AccountKey=",), r"AccountKey=[A-Za-z0-9+/]{40,128}={0,2}"),
        (
            ("eyJ",),
            r"(?<![A-Za-z0-9_-])eyJ[A-Za-z0-9_-]{5,8192}\.[A-Za-z0-9_-]{5,8192}(?:\.[A-Za-z0-9_-]{0,8192})?",
        ),
        (
            ("PRIVATE KEY",),
            r"-----BEGIN [A-Z0-9 ]{0,40}PRIVATE KEY(?: BLOCK)?-----"
            r"(?:[^-]|-(?!----END ))*(?:-----END [A-Z0-9 ]{0,40}PRIVATE KEY(?: BLOCK)?-----)?",
        ),
    )
)
_REDACTED: Final = r"(?!\[(?:card number|iban|email|phone|secret)\])"
_NAME: Final = (
    r"(?:pass(?:word|wd|phrase|code)|pwd|secret|token|credentials?|(?:api|access|private|account)[_-]?key)"
    r"(?:[_-]?(?:key|id|value|token))?"
)
_PAIR: Final = re.compile(
    rf"""{_NAME}["']?\s{{0,3}}(?:=>|:=|[:=])\s{{0,3}}(?:"{_REDACTED}([^"\n]{{1,512}})"|'{_REDACTED}([^'\n]{{1,512}})'"""
    rf"""|(?!["'])(?:(?:bearer|basic)\s+)?+{_REDACTED}([^\s"',;&<>]{{4,512}}))""",
    re.IGNORECASE,
)
_SCHEME: Final = re.compile(
    rf"\b(?:bearer|basic)\s{{1,3}}{_REDACTED}([A-Za-z0-9._~+/=-]{{16,4096}})", re.IGNORECASE
)
_IN_URL: Final = re.compile(rf"://[^\s/@:\[\]]{{0,64}}:{_REDACTED}([^\s/@]{{1,128}})@")
_NAMES: Final = re.compile(_NAME + r"\Z", re.IGNORECASE)


def find(text: str, effort: Effort) -> list[Stretch]:
    """Cost: 30 µs for a kilobyte of prose."""
    found: list[Stretch] = []
    for hints, pattern in _TOKENS:
        if any(hint in text for hint in hints):
            found += [one.span() for one in pattern.finditer(text)]
    if ":" in text or "=" in text:
        found += [one.span(one.lastindex or 0) for one in _PAIR.finditer(text)]
        if "://" in text:
            found += [one.span(1) for one in _IN_URL.finditer(text)]
    found += [one.span(1) for one in _SCHEME.finditer(text)]
    effort.spend(len(found))
    return found


def is_name(name: str) -> bool:
    """Whether a member of an object with this name holds a secret, whatever it looks like."""
    return _NAMES.search(name) is not None
