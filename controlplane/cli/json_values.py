"""JSON given on the command line, or in a file as @FILE."""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import typer

from controlplane.errors import GovernanceError


@dataclass(frozen=True, slots=True)
class JsonObject:
    """A JSON object; a class of its own, so that typer knows how to read it."""

    value: dict[str, Any]

    @classmethod
    def parse(cls, text: str | JsonObject) -> JsonObject:
        """`{…}`, `@FILE`, or `@-` for stdin. Raises: typer.BadParameter."""
        if isinstance(text, JsonObject):
            return text
        from controlplane.wire.json_input import parse

        source = os.fsencode(text)
        if text.startswith("@"):
            try:
                source = sys.stdin.buffer.read() if text == "@-" else Path(text[1:]).read_bytes()
            except OSError as error:
                raise typer.BadParameter(f"cannot read `{text[1:]}`: {error.strerror}") from None
        try:
            # The door's own reader: what it would refuse (a key twice, a number that no double holds) must not
            # reach it as something else.
            return cls(parse(source))
        except GovernanceError as error:
            shown = f"`{text[:60]}`{'…' if len(text) > 60 else ''}"
            raise typer.BadParameter(f"{shown}: {error.message}") from None
