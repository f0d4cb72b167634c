"""What is wrong with a policy, and where: file, line, column, and what was probably meant."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from controlplane.errors import InputError


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """One file's text; `name` is its path as the user gave it."""

    name: str
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class PolicyError:
    """One finding (an error or a warning); `line` and `column` count from 1."""

    file: str
    line: int
    column: int
    code: str
    message: str
    hint: str = ""

    def __str__(self) -> str:
        hint = f"; {self.hint}" if self.hint else ""
        return f"{self.file}:{self.line}:{self.column}: {self.message}{hint}"


class PolicyErrors(InputError):
    """The documents do not make a bundle; `errors` says why, in the order of file and line."""

    code = "invalid_bundle"

    def __init__(self, errors: Sequence[PolicyError]) -> None:
        # A parameter's value is found wrong at each of its uses, and stands in one place.
        ordered = tuple(
            sorted(dict.fromkeys(errors), key=lambda error: (error.file, error.line, error.column))
        )
        super().__init__("\n".join(map(str, ordered)), errors=ordered)

    @property
    def errors(self) -> tuple[PolicyError, ...]:
        found = self.fields["errors"]
        assert isinstance(found, tuple)
        return found


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """A hint that names the closest of `known`, or "" when nothing is close.

    Cost: difflib over `known`; only on the way to an error.
    """
    close = difflib.get_close_matches(word, list(known), n=1, cutoff=0.6)
    return f"did you mean `{close[0]}`?" if close else ""
