"""CEL conditions: compiled once, evaluated to true, false or *failed*. The one importer of the CEL library.

Numbers: JSON numbers reach CEL as doubles, always. `args.amount > 10000`, `> 10000.0` and `== 3` compare them
as one expects; arithmetic needs a double literal (`args.amount * 2.0`), and the compiler says so.

A fact that is unknown is left out of the activation, so that whatever reads it fails; a failed condition is
possibly and not certainly true.
"""

from __future__ import annotations

import datetime
import functools
import re
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any, TypeAlias

from cel_expr_python import cel
from cel_expr_python.ext import ext_optional, ext_strings

from policies.cel_ast import Ast, read_ast, read_fields
from policies.cel_hints import name_hint, operator_hint
from policies.thresholds import threshold_of

_T = cel.Type
_NAMES = _T.List(_T.STRING)
_JSON_OBJECT = _T.Map(_T.STRING, _T.DYN)

VARIABLES: Mapping[str, Any] = MappingProxyType(
    {
        "subject.id": _T.STRING,
        "subject.type": _T.STRING,
        "subject.labels": _NAMES,
        "subject.roles": _NAMES,
        "subject.groups": _NAMES,
        "subject.owner": _T.STRING,
        "subject.attributes": _JSON_OBJECT,
        "action.name": _T.STRING,
        "resource.id": _T.STRING,
        "resource.type": _T.STRING,
        "resource.system": _T.STRING,
        "resource.effects": _NAMES,
        "resource.data": _NAMES,
        "resource.boundary": _T.STRING,
        "resource.jurisdiction": _T.STRING,
        "resource.properties": _JSON_OBJECT,
        "args": _JSON_OBJECT,
        "context": _JSON_OBJECT,
        "now": _T.TIMESTAMP,
    }
)

_POSITION = re.compile(r"<input>:(\d+):(\d+): ([^\n]*)")
_UNDECLARED = re.compile(r"undeclared reference to '([^']*)'")
_EPOCH = datetime.datetime(1970, 1, 1, tzinfo=datetime.UTC)

Activation: TypeAlias = Any

MOST_FUSED = 16


class ConditionError(Exception):
    """The text is no condition; `line` and `column` count from 1 inside the text."""

    def __init__(self, message: str, *, line: int = 1, column: int = 1, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.line = line
        self.column = column
        self.hint = hint


class Condition:
    """One compiled condition; not picklable (send the text and compile again).

    Attributes:
        names: which of `VARIABLES` it reads.
        arguments: which fields of `args` it reads; None = all of them.
        threshold: the comparison that it is, if it is nothing but one.
    """

    __slots__ = ("_eval", "_expression", "arguments", "names", "text", "threshold")

    def __init__(self, text: str) -> None:
        """Parse and type-check.

        Raises: ConditionError: not CEL, unknown names, ill-typed, or not a boolean.
        Cost: about 80 µs.
        """
        try:
            expression = _environment().compile(text)
        except RuntimeError as error:
            raise _condition_error(str(error), text) from error
        result = expression.return_type()
        if result not in (_T.BOOL, _T.DYN):
            kind = str(result.name()).lower()
            raise ConditionError(f"a condition must be true or false; this one is of type {kind}")
        self.text = text
        self._expression = expression
        self._eval = expression.eval
        ast = self.ast()
        self.names = ast.names & VARIABLES.keys()
        self.arguments = read_fields(ast, "args")
        self.threshold = threshold_of(ast)

    def ast(self) -> Ast:
        """The checked syntax tree. Cost: one pass; for the compiler, not for the hot path."""
        return read_ast(self._expression.serialize())

    def holds(self, activation: Activation) -> bool | None:
        """True, False, or None when the evaluation failed. Cost: about 1 µs and what the condition does."""
        try:
            value = self._eval(activation).value()
        except (
            Exception
        ):  # an exhausted iteration budget or a lone surrogate raises: a failure like any other
            return None
        # The value of a CEL error is a (truthy) text: only the two booleans count.
        return value if value is True or value is False else None


class KeyExpression:
    """An expression of any type whose value tells one thing from another: a key.

    Attributes:
        names, arguments: as of `Condition`.
    """

    __slots__ = ("_eval", "_expression", "arguments", "names", "text")

    def __init__(self, text: str) -> None:
        """Parse and type-check. Raises: ConditionError. Cost: about 80 µs."""
        try:
            expression = _environment().compile(text)
        except RuntimeError as error:
            raise _condition_error(str(error), text) from error
        self.text = text
        self._expression = expression
        self._eval = expression.eval
        ast = self.ast()
        self.names = ast.names & VARIABLES.keys()
        self.arguments = read_fields(ast, "args")

    def ast(self) -> Ast:
        return read_ast(self._expression.serialize())

    def value(self, activation: Activation) -> str | float | bool | None:
        """The key, or None: null, or the evaluation failed, or nothing that could be a key."""
        try:
            found = self._eval(activation)
            if found.type() == _T.ERROR:
                return None
            value = found.value()
        except Exception:  # as for a condition: a failure
            return None
        return (
            value
            if isinstance(value, str | float | bool)
            else float(value)
            if isinstance(value, int)
            else None
        )


class FusedConditions:
    """Several conditions as one expression: a sum of powers of two, bit i for the i-th."""

    __slots__ = ("_eval",)

    def __init__(self, expression: Any) -> None:
        self._eval = expression.eval

    @classmethod
    def of(cls, conditions: Sequence[Condition]) -> FusedConditions | None:
        """None when CEL does not take them together. At most `MOST_FUSED`. Cost: about 80 µs a condition."""
        assert len(conditions) <= MOST_FUSED
        # Each text is an expression by itself, so it stays one between brackets; the line break ends its last comment.
        terms = [f"(({condition.text}\n) ? {1 << i} : 0)" for i, condition in enumerate(conditions)]
        try:
            return cls(_environment().compile(" + ".join(terms)))
        except RuntimeError:
            return None

    def holds(self, activation: Activation) -> int | None:
        """Bit i says whether the i-th condition holds; None when one of them failed. Cost: 4 µs for ten."""
        try:
            value = self._eval(activation).value()
        except Exception:  # as for one condition: a failure
            return None
        return value if type(value) is int else None


def activation(facts: Mapping[str, object]) -> Activation:
    """What conditions may read; shared by all conditions of one action. Cost: about 2 µs."""
    return _environment().Activation(facts)


def timestamp(now_us: int) -> datetime.datetime:
    """`now` as CEL takes it."""
    return _EPOCH + datetime.timedelta(microseconds=now_us)


def as_doubles(value: object) -> object:
    """JSON with every number as a double. Cost: one pass; a new container for each one that holds values."""
    kind = type(value)
    if kind is int:
        return float(value)  # type: ignore[arg-type]
    if kind is dict:
        return {name: as_doubles(item) for name, item in value.items()}  # type: ignore[attr-defined]
    if kind is list:
        return [as_doubles(item) for item in value]  # type: ignore[attr-defined]
    return value


def regex_error(pattern: str) -> str:
    """Why `matches` would fail on this pattern, or ""."""
    value = _regex_probe().eval(activation({"args": {"pattern": pattern}}))
    if value.type() != _T.ERROR:
        return ""
    return str(value.value()).removeprefix("INVALID_ARGUMENT: ")


@functools.cache
def _environment() -> Any:
    extensions = [ext_optional.ExtOptional(), ext_strings.ExtStrings()]
    return cel.NewEnv(variables=dict(VARIABLES), extensions=extensions)


@functools.cache
def _regex_probe() -> Any:
    return _environment().compile('"".matches(args.pattern)')


def _condition_error(text: str, condition: str) -> ConditionError:
    if "recursion" in text:
        return ConditionError("the condition is nested too deeply (at most 32 levels)")
    found = _POSITION.search(text)
    if found is None:
        return ConditionError(text.splitlines()[0] if text else "not a CEL condition")
    line, column, message = found.groups()
    message = message.removesuffix(" (in container '')")
    undeclared = _UNDECLARED.search(message)
    hint = (
        name_hint(undeclared.group(1), condition, VARIABLES)
        if undeclared
        else operator_hint(message, condition, int(line), int(column))
    )
    if "(double, int)" in message or "(int, double)" in message:
        hint = "write the number with a point: `2.0`"
    message = message[:1].lower() + message[1:300]
    return ConditionError(message, line=int(line), column=int(column), hint=hint)
