"""What the CEL checker cannot see: which arguments the catalog lists, and of which types.

To CEL `args` is a map of anything. Here the checked tree is walked once more with the catalog at hand, so that
a misspelt argument or a comparison of text with a number is an error of the policy, not of a night in June.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

from policies.cel_ast import (
    Ast,
    Call,
    Collection,
    Comprehension,
    Constant,
    Expression,
    Identifier,
    Select,
    field_of,
)
from policies.error import did_you_mean

_NUMBERS = frozenset(("int", "uint", "double"))
_ARGUMENT_KINDS = {
    "string": "string", "iban": "string", "email": "string", "url": "string", "date": "string",
    "datetime": "string", "decimal": "double", "integer": "double", "number": "double", "boolean": "bool",
    "list": "list", "object": "map", "any": "dyn",
}  # fmt: skip
_ORDERING = {"_<_": "<", "_<=_": "<=", "_>_": ">", "_>=_": ">="}
_COMPARISONS = {**_ORDERING, "_==_": "==", "_!=_": "!="}
_ARITHMETIC = {"_+_": "+", "_-_": "-", "_*_": "*", "_/_": "/", "_%_": "%"}
_LOGICAL = frozenset(("_&&_", "_||_", "!_"))
_TEXT_METHODS = frozenset(
    {
        "startsWith", "endsWith", "contains", "matches", "lowerAscii", "upperAscii", "trim", "split", "replace",
        "substring", "charAt", "indexOf", "lastIndexOf",
    }
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Finding:
    """One error; `offset` counts code points in the condition's text."""

    offset: int
    code: str
    message: str
    hint: str = ""


@dataclass(frozen=True, slots=True)
class Arguments:
    """The arguments that the resources a rule can match agree on.

    Args:
        listed: every argument that some of them lists; None when one of them lists none (anything goes).
        types: argument → catalogued type, where all of them agree.
    """

    listed: frozenset[str] | None
    types: Mapping[str, str]


UNLISTED = Arguments(None, {})


def check_condition(ast: Ast, arguments: Arguments, regex_error: Callable[[str], str]) -> list[Finding]:
    """Every mistake that shows without running the condition. Cost: one walk over the tree."""
    findings = check_expression(ast, arguments, regex_error)
    checker = _Checker(ast, arguments, regex_error)
    kind = checker.kind(ast.root, frozenset())
    if kind not in ("bool", "dyn"):
        message = f"a condition must be true or false; this one is of type {kind}"
        findings.append(Finding(0, "ill_typed", message))
    return findings


def check_expression(ast: Ast, arguments: Arguments, regex_error: Callable[[str], str]) -> list[Finding]:
    """Like `check_condition`, for an expression of any type."""
    checker = _Checker(ast, arguments, regex_error)
    return list(checker.walk(ast.root, frozenset()))


class _Checker:
    def __init__(self, ast: Ast, arguments: Arguments, regex_error: Callable[[str], str]) -> None:
        self._ast = ast
        self._arguments = arguments
        self._regex_error = regex_error

    def walk(self, node: Expression, bound: frozenset[str]) -> Iterator[Finding]:
        match node:
            case Select():
                yield from self._check_argument(node, bound)
                kind = self.kind(node.operand, bound)
                if kind in ("string", "bool", *_NUMBERS):
                    yield self._finding(node, f"`.{node.field}` of a value of type {kind}")
                yield from self.walk(node.operand, bound)
            case Call():
                yield from self._check_argument(node, bound)
                yield from self._check_call(node, bound)
                for part in (node.target, *node.arguments):
                    if part is not None:
                        yield from self.walk(part, bound)
            case Collection():
                for element in node.elements:
                    yield from self.walk(element, bound)
            case Comprehension():
                yield from self.walk(node.range, bound)
                for part in node.rest:
                    yield from self.walk(part, bound | node.bound)
            case Constant() | Identifier():
                return

    def kind(self, node: Expression, bound: frozenset[str]) -> str:
        name = _argument_name(node, bound)
        if name is not None and not (isinstance(node, Select) and node.test_only):
            optional = isinstance(node, Call) and node.function != "_[_]"
            return "dyn" if optional else _ARGUMENT_KINDS[self._arguments.types.get(name, "any")]
        if isinstance(node, Constant):
            return node.kind
        if isinstance(node, Call) and node.function in _ARITHMETIC and len(node.arguments) == 2:
            kinds = {self.kind(part, bound) for part in node.arguments}
            if "double" in kinds:
                return "double"
        if isinstance(node, Call) and node.function == "_?_:_" and len(node.arguments) == 3:
            kinds = {self.kind(part, bound) for part in node.arguments[1:]}
            return kinds.pop() if len(kinds) == 1 else "dyn"
        return self._ast.types.get(node.id, "dyn")

    def _check_argument(self, node: Expression, bound: frozenset[str]) -> Iterator[Finding]:
        name, listed = _argument_name(node, bound), self._arguments.listed
        if name is None or listed is None or name in listed:
            return
        hint = did_you_mean(name, listed)
        if not hint:
            names = ", ".join(f"`{one}`" for one in sorted(listed))
            hint = f"listed: {names}" if names else "no matching resource takes arguments"
        offset = self._ast.offsets.get(node.id, 0)
        yield Finding(offset, "unknown_argument", f"unknown argument `{name}`", hint)

    def _check_call(self, node: Call, bound: frozenset[str]) -> Iterator[Finding]:
        kinds = [self.kind(part, bound) for part in node.arguments]
        if node.function in _COMPARISONS and len(kinds) == 2:
            yield from self._check_comparison(node, kinds[0], kinds[1])
        elif node.function in _ARITHMETIC and len(kinds) == 2:
            yield from self._check_arithmetic(node, kinds[0], kinds[1])
        elif node.function == "@in" and isinstance(node.arguments[1], Collection):
            members = node.arguments[1]
            for element in members.elements if members.is_list else ():
                kind = self.kind(element, bound)
                if _differ(kinds[0], kind):
                    yield self._finding(element, f"a value of type {kinds[0]} is never in a list of {kind}")
        elif node.function in _LOGICAL or node.function == "_?_:_":
            for part, kind in zip(node.arguments, kinds, strict=True):
                if kind not in ("bool", "dyn"):
                    yield self._finding(part, f"expected true or false, found a value of type {kind}")
                if node.function == "_?_:_":
                    break
        elif node.function == "size" and (kinds or node.target is not None):
            kind = kinds[0] if kinds else self.kind(node.target or node, bound)
            if kind in ("bool", *_NUMBERS):
                yield self._finding(node, f"a value of type {kind} has no size")
        elif node.function in _TEXT_METHODS and node.target is not None:
            kind = self.kind(node.target, bound)
            if kind not in ("string", "dyn", "list"):
                yield self._finding(node, f"`{node.function}` needs text, found a value of type {kind}")
            yield from self._check_regex(node)

    def _check_comparison(self, node: Call, left: str, right: str) -> Iterator[Finding]:
        if node.function not in _ORDERING and "null" in (left, right):
            return
        if _differ(left, right):
            sign = _COMPARISONS[node.function]
            yield self._finding(node, f"`{sign}` between a value of type {left} and one of type {right}")

    def _check_arithmetic(self, node: Call, left: str, right: str) -> Iterator[Finding]:
        sign = _ARITHMETIC[node.function]
        mixed = {left, right} & {"int", "uint"} and {left, right} & {"double", "dyn"}
        if mixed and any(
            self._is_json(part, kind) for part, kind in zip(node.arguments, (left, right), strict=True)
        ):
            hint = "convert it: `int(…)`" if sign == "%" else "write the number with a point: `2.0`"
            yield self._finding(node, f"`{sign}` between a JSON number (a double) and an integer", hint)
        elif _differ(left, right) and "timestamp" not in (left, right) and "duration" not in (left, right):
            yield self._finding(node, f"`{sign}` between a value of type {left} and one of type {right}")

    def _is_json(self, node: Expression, kind: str) -> bool:
        """Whether a number in this place can only be a JSON number."""
        if kind == "double":
            return True
        indexed = isinstance(node, Call) and node.function == "_[_]"
        return kind == "dyn" and (indexed or isinstance(node, Select | Identifier))

    def _check_regex(self, node: Call) -> Iterator[Finding]:
        if node.function != "matches" or not node.arguments:
            return
        pattern = node.arguments[0]
        if isinstance(pattern, Constant) and pattern.kind == "string":
            problem = self._regex_error(pattern.text)
            if problem:
                yield self._finding(pattern, problem.lower())

    def _finding(self, node: Expression, message: str, hint: str = "") -> Finding:
        return Finding(self._ast.offsets.get(node.id, 0), "ill_typed", message, hint)


def _argument_name(node: Expression, bound: frozenset[str]) -> str | None:
    return None if "args" in bound else field_of(node, "args")


def _differ(left: str, right: str) -> bool:
    if "dyn" in (left, right):
        return False
    return left != right and not (left in _NUMBERS and right in _NUMBERS)
