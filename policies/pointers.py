"""JSON pointers as documents write them, and what was meant where something else was written."""

from __future__ import annotations

import re
from typing import Final

POINTER: Final = r"^(/[^/\x00]{1,256}){1,16}$"

_PATH: Final = re.compile(r"\$?\.?(args\.)?")
_INDEX: Final = re.compile(r"\[(?:\d+|\*)?\]")


def did_you_point(text: str) -> str:
    """A hint for a path of another language: `args.to`, `$.items[0].id`, `items[].id`; lists are reached into without
    saying so."""
    steps = _INDEX.sub("", _PATH.sub("", text, count=1)).replace(".", "/").split("/")
    meant = "".join(f"/{step}" for step in steps if step)
    return (
        f"did you mean `{meant}`?"
        if meant and re.fullmatch(POINTER, meant)
        else "write `/name`, or `/name/inner`"
    )


def is_pointer(text: str) -> bool:
    """Whether a text is a pointer that can reach something: indices in brackets are another language's."""
    return re.fullmatch(POINTER, text) is not None and _INDEX.search(text) is None
