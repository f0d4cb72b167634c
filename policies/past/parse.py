"""From text to a formula, with exact places of errors.

Unary operators bind tightest, then `since`, `and`, `or`, `implies` (to the right); what could be read in two ways
(`a since b since c`) has to be written with brackets.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import NamedTuple

from policies.duration import duration_us
from policies.past.formula import (
    And,
    Atom,
    Done,
    Formula,
    Historically,
    Implies,
    Never,
    Not,
    Once,
    Or,
    Previous,
    Since,
    Span,
)

MAX_DEPTH = 32
MAX_NODES = 256
KEYWORDS = frozenset(
    ("not", "and", "or", "implies", "previous", "once", "historically", "since", "never", "done")
)

_TOKEN = re.compile(r"\s*(?:(?P<word>[A-Za-z_][A-Za-z0-9_]*)|(?P<window>\[[^\]\n]*\]?)|(?P<sign>[()]))")
_WINDOW = re.compile(r"\[\s*([0-9]{1,6}[smhd])\s*\]")
_WINDOW_PLACE = "a window stands right behind `once`, `historically`, `never` or `since`"
_TAKE_WINDOWS = ("once", "historically", "never", "since")
_WINDOWED: Mapping[str, Callable[[Formula, int | None, Span], Formula]] = MappingProxyType(
    {"once": Once, "historically": Historically, "never": Never}
)


class FormulaError(Exception):
    """The text is no formula; `offset` counts characters from 0."""

    def __init__(self, message: str, offset: int, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.offset = offset
        self.hint = hint


class _Token(NamedTuple):
    kind: str  # word | window | sign | end
    text: str
    start: int
    end: int


def parse(text: str) -> Formula:
    """Read one formula.

    Raises: FormulaError: what was found where something else was expected; nested deeper than `MAX_DEPTH` or of more
        than `MAX_NODES` parts.
    Cost: linear in the text.
    """
    parser = _Parser(_tokens(text))
    formula = parser.implication()
    parser.expect_end()
    return formula


def _tokens(text: str) -> list[_Token]:
    tokens: list[_Token] = []
    at = 0
    end = len(text.rstrip())
    while at < end:
        found = _TOKEN.match(text, at)
        if found is None:
            start = at + len(text[at:]) - len(text[at:].lstrip())
            raise FormulaError(f"unexpected `{text[start]}`", start, _sign_hint(text, start))
        kind = str(found.lastgroup)
        tokens.append(_Token(kind, found.group(kind), found.start(kind), found.end(kind)))
        at = found.end()
    tokens.append(_Token("end", "the end", end, end))
    return tokens


def _sign_hint(text: str, at: int) -> str:
    for signs, word in (("&&", "and"), ("||", "or"), ("!", "not"), ("->", "implies"), ("=>", "implies")):
        if text.startswith(signs, at):
            return f"write `{word}`"
    if text[at] in "-.":
        return "the name of a `define` has small letters, digits and `_`"
    if text[at] in ",;":
        return "between two formulas stands a word, such as `and`"
    if text[at].isdecimal():
        return "a window stands in square brackets right behind its word, such as `once[24h]`"
    return "a formula is made of names, brackets, windows such as `[24h]` and words such as `once`"


class _Parser:
    def __init__(self, tokens: list[_Token]) -> None:
        self._tokens = tokens
        self._at = 0
        self._depth = 0
        self._nodes = 0

    def implication(self) -> Formula:
        left = self._disjunction()
        if not self._take("implies"):
            return left
        with_right = self._deeper(self.implication)
        return self._made(Implies(left, with_right, (left.at[0], with_right.at[1])))

    def expect_end(self) -> None:
        token = self._next
        if token.kind == "end":
            return
        if token.text == ")":
            raise FormulaError("`)` closes nothing", token.start)
        hint = ""
        if token.kind == "word":
            hint = _word_hint(token.text, ("and", "or", "implies", "since"))
        elif token.kind == "window":
            before = self._tokens[self._at - 1].text
            hint = f"write `{before.lower()}`" if before.lower() in _TAKE_WINDOWS else _WINDOW_PLACE
        elif token.text == "(":
            hint = "only `done(name)` takes a name in brackets; between two formulas stands a word"
        raise FormulaError(
            f"expected `and`, `or`, `implies`, `since` or the end, found `{token.text}`", token.start, hint
        )

    def _disjunction(self) -> Formula:
        formula = self._conjunction()
        while self._take("or"):
            right = self._conjunction()
            formula = self._made(Or(formula, right, (formula.at[0], right.at[1])))
        return formula

    def _conjunction(self) -> Formula:
        formula = self._since()
        while self._take("and"):
            right = self._since()
            formula = self._made(And(formula, right, (formula.at[0], right.at[1])))
        return formula

    def _since(self) -> Formula:
        left = self._unary()
        if not self._take("since"):
            return left
        window = self._window()
        right = self._unary()
        if self._next.text == "since":
            message = "`a since b since c` can be read in two ways"
            raise FormulaError(message, self._next.start, "put brackets around one of them")
        return self._made(Since(left, right, window, (left.at[0], right.at[1])))

    def _unary(self) -> Formula:
        token = self._next
        if token.kind != "word":
            return self._primary()
        match token.text:
            case "not":
                self._at += 1
                inner = self._deeper(self._unary)
                return self._made(Not(inner, (token.start, inner.at[1])))
            case "previous":
                self._at += 1
                inner = self._deeper(self._unary)
                return self._made(Previous(inner, (token.start, inner.at[1])))
            case "once" | "historically" | "never":
                self._at += 1
                window = self._window()
                inner = self._deeper(self._unary)
                return self._made(_WINDOWED[token.text](inner, window, (token.start, inner.at[1])))
            case _:
                return self._primary()

    def _primary(self) -> Formula:
        token = self._next
        if token.text == "(":
            self._at += 1
            inner = self._deeper(self.implication)
            closing = self._next
            if closing.text != ")":
                raise FormulaError(
                    f"expected `)`, found {_shown(closing)}", closing.start, "the bracket is not closed"
                )
            self._at += 1
            return inner
        if token.kind == "word" and token.text == "done":
            return self._done(token)
        if token.kind == "word" and token.text not in KEYWORDS:
            self._at += 1
            return self._made(Atom(token.text, (token.start, token.end)))
        hint = ""
        if token.kind == "window":
            hint = _WINDOW_PLACE
        raise FormulaError(f"expected a name or `(`, found {_shown(token)}", token.start, hint)

    def _done(self, token: _Token) -> Formula:
        self._at += 1
        opening, name, closing = (self._tokens[min(self._at + i, len(self._tokens) - 1)] for i in range(3))
        if opening.text != "(":
            raise FormulaError(f"expected `(`, found {_shown(opening)}", opening.start, "write `done(name)`")
        if name.kind != "word" or name.text in KEYWORDS:
            message = f"expected the name of a `define`, found {_shown(name)}"
            raise FormulaError(message, name.start, "`done` takes one name, not a formula")
        if closing.text != ")":
            message = f"expected `)`, found {_shown(closing)}"
            raise FormulaError(message, closing.start, "`done` takes one name, not a formula")
        self._at += 3
        return self._made(Done(name.text, (token.start, closing.end)))

    def _window(self) -> int | None:
        token = self._next
        if token.kind != "window":
            return None
        found = _WINDOW.fullmatch(token.text)
        if found is None:
            message = f"`{token.text[:40]}` is not a window"
            raise FormulaError(message, token.start, "write a whole number and s, m, h or d, such as `[24h]`")
        self._at += 1
        return duration_us(found.group(1))

    @property
    def _next(self) -> _Token:
        return self._tokens[self._at]

    def _take(self, word: str) -> bool:
        token = self._next
        if token.kind == "word" and token.text == word:
            self._at += 1
            return True
        return False

    def _deeper(self, read: Callable[[], Formula]) -> Formula:
        self._depth += 1
        if self._depth > MAX_DEPTH:
            raise FormulaError(f"nested too deeply (at most {MAX_DEPTH} levels)", self._next.start)
        try:
            return read()
        finally:
            self._depth -= 1

    def _made(self, formula: Formula) -> Formula:
        self._nodes += 1
        if self._nodes > MAX_NODES:
            raise FormulaError(f"more than {MAX_NODES} parts", formula.at[0], "split the rule")
        return formula


def _shown(token: _Token) -> str:
    return token.text if token.kind == "end" else f"`{token.text}`"


def _word_hint(word: str, known: tuple[str, ...]) -> str:
    close = difflib.get_close_matches(word.lower(), known, n=1)
    return f"did you mean `{close[0]}`?" if close else ""
