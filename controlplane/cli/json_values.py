"""JSON given on the command line, or in a file as @FILE."""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import typer


@dataclass(frozen=True, slots=True)
class JsonObject:
    """A JSON object; a class of its own, so that typer knows how to read it."""

    value: dict[str, Any]

    @classmethod
    def parse(cls, text: str | JsonObject) -> JsonObject:
        """`{…}`, `@FILE`, or `@-` for stdin. Raises: typer.BadParameter."""
        if isinstance(text, JsonObject):
            return text
        source = text
        if text.startswith("@"):
            try:
                source = sys.stdin.read() if text == "@-" else Path(text[1:]).read_text(encoding="utf-8")
            except (OSError, UnicodeDecodeError) as error:
                raise typer.BadParameter(f"cannot read `{text[1:]}`: {error}") from None
        try:
            value = json.loads(source)
        except (ValueError, RecursionError) as error:
            raise typer.BadParameter(f"`{source[:60]}` is no json: {error}") from None
        if not isinstance(value, dict):
            raise typer.BadParameter(f"`{source[:60]}` is json, but no object: write {{…}}")
        return cls(value)
