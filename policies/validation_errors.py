"""Pydantic's findings in our words: where it stands, what is wrong, what was probably meant."""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Iterator
from typing import Any, get_args, get_origin

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from policies.document_types import (
    DEFINE_NAME,
    DURATION,
    NAME,
    Duration,
    Strict,
    bare,
    stands_alone,
    written_fields,
)
from policies.documents import LATER_KEYS, On, RuleDocument
from policies.error import PolicyError, did_you_mean
from policies.located import Located
from policies.modification.documents import REGION
from policies.pointers import POINTER, did_you_point
from policies.rule_documents import PRINCIPAL, DefineDocument, LimitDocument, OriginDocument

NOT_SUPPORTED_YET = "not_supported_yet"

_DURATION_HINT = "write a whole number and s, m, h or d, such as `24h`"
_NAMES = {
    NAME: "a name has letters, digits, `.`, `_` and `-`, and begins with a letter or digit",
    DEFINE_NAME: "an atom's name has small letters, digits and `_`, and begins with a letter",
    PRINCIPAL: "write `role:NAME`, `group:NAME`, or who it is with the type, such as `user:anna`",
    REGION: "two capital letters, such as `DE`",
}
_PARAMETER = re.compile(r"\$[a-z][a-z0-9_]{0,63}")
_KEYS_SHOWN = 8
# YAML 1.1 read these as booleans, so that they are what people write.
_BOOLEANS = {"yes": "true", "on": "true", "true": "true", "no": "false", "off": "false", "false": "false"}


def explain(
    located: Located[object],
    model: type[Strict],
    refused: ValidationError,
    *,
    told: Collection[tuple[str | int, ...]] = (),
) -> Iterator[PolicyError]:
    """One `PolicyError` for each of pydantic's findings, but for what stands at or below the paths in `told`."""
    for detail in refused.errors(include_url=False):
        path = detail["loc"]
        if not any(path[:length] in told for length in range(len(path) + 1)):
            yield _explain_one(located, model, detail)


def _explain_one(located: Located[object], root: type[Strict], detail: ErrorDetails) -> PolicyError:
    path = detail["loc"]
    found = detail.get("input")
    key = str(path[-1]) if path else ""
    model = _model_at(root, path[:-1])
    context: dict[str, Any] = detail.get("ctx", {})
    match detail["type"]:
        case "extra_forbidden":
            if model is not None and key in LATER_KEYS.get(model, ()):
                return _later(located, path, f"`{key}`")
            known = sorted(written_fields(model)) if model is not None else []
            hint = (
                _inner_hint(model, key)
                or _clause_hint(model, path)
                or did_you_mean(key, known)
                or ("known keys: " + ", ".join(known) if known else "")
            )
            return located.error(path, "unknown_key", f"unknown key `{_shown(key)}`", hint, at_key=True)
        case "missing":
            return located.error(path[:-1], "missing_key", f"missing key `{key}`")
        case "literal_error":
            allowed = _literals(_annotation_at(root, path))
            hint = did_you_mean(_shown(found), allowed) or "one of " + ", ".join(
                f"`{one}`" for one in allowed
            )
            return located.error(path, "unknown_value", f"unknown value `{_shown(found)}`", hint)
        case "string_pattern_mismatch":
            at_key = path[-1:] == ("[key]",)
            if context.get("pattern") == DURATION:
                return located.error(
                    path, "invalid_name", f"`{_shown(found)}` is not a duration", _DURATION_HINT
                )
            pattern = str(context.get("pattern"))
            if pattern == POINTER:
                message = f"`{_shown(found)}` is not a JSON pointer to an argument"
                return located.error(path, "invalid_pointer", message, did_you_point(str(found)))
            hint = _NAMES.get(pattern, "")
            message = f"`{_shown(found)}` does not fit" + ("" if hint else f" `{pattern}`")
            if _PARAMETER.fullmatch(str(found)):
                hint = "declare it, if it is meant as a parameter: `parameters: {…}` beside `rules`"
            return located.error(path, "invalid_name", message, hint, at_key=at_key)
        case "string_type":
            if model is not None and _is_duration(model, key):
                return located.error(
                    path, "wrong_type", f"expected a duration, found {_kind(found)}", _DURATION_HINT
                )
            hint = "quote it" if isinstance(found, bool | int | float) else ""
            if isinstance(found, dict) and len(found) == 1 and path[-2:-1] == ("by",):
                hint = "write `{}:{}`".format(*(_shown(part) for part in next(iter(found.items()))))
            return located.error(path, "wrong_type", f"expected text, found {_kind(found)}", hint)
        case "bool_type":
            meant = _BOOLEANS.get(found.lower()) if isinstance(found, str) else None
            hint = f"write `{meant}`" if meant else ""
            if not meant and stands_alone(model, key):
                hint = f"it says which kind is meant, and names none: write `{key}` alone"
            return located.error(
                path, "wrong_type", f"expected `true` or `false`, found {_kind(found)}", hint
            )
        case "number_type":
            return located.error(path, "wrong_type", f"expected a number, found {_kind(found)}")
        case "model_type" | "dict_type":
            hint = _outer_hint(root, path) or _mapping_hint(root, path)
            return located.error(path, "wrong_type", f"expected a mapping, found {_kind(found)}", hint)
        case "list_type":
            hint = f"write `[{_shown(found)}]`" if isinstance(found, str) else ""
            if isinstance(found, dict):
                hint = "write `[{…}]`, or begin each item with `-`"
            return located.error(path, "wrong_type", f"expected a list, found {_kind(found)}", hint)
        case "too_short" if isinstance(found, list):
            return located.error(path, "invalid", "an empty list: it needs at least one item")
        case "int_type":
            return located.error(path, "wrong_type", f"expected a whole number, found {_kind(found)}")
        case "greater_than_equal" | "less_than_equal":
            bound = f"at least {context['ge']}" if "ge" in context else f"at most {context['le']}"
            return located.error(path, "invalid", f"expected {bound}, found {_kind(found)}")
        case _:
            return located.error(path, "invalid", detail["msg"][:1].lower() + detail["msg"][1:])


def _outer_hint(root: type[Strict], path: tuple[str | int, ...]) -> str:
    """For a name in a mapping of names that is a key beside that mapping: it was indented too far."""
    if len(path) < 2:
        return ""
    around = _model_at(root, path[:-2])
    if around is None or path[-1] not in around.model_fields:
        return ""
    return f"to be a key beside `{path[-2]}`, `{path[-1]}` begins in the same column"


def _inner_hint(model: type[Strict] | None, key: str) -> str:
    """For a key of a mapping that is itself a key of `model`: it was indented too little."""
    for name, field in model.model_fields.items() if model is not None else ():
        inner = bare(field.annotation)
        if isinstance(inner, type) and issubclass(inner, Strict) and key in inner.model_fields:
            return f"`{key}` is a key of `{name}`: write `{name}: {{{key}: …}}`, or indent it further"
    return ""


def _clause_hint(model: type[Strict] | None, path: tuple[str | int, ...]) -> str:
    """For a clause of a rule that was written inside of another, or where no rule is."""
    key = str(path[-1])
    if key not in RuleDocument.model_fields or model is None:
        return ""
    if issubclass(model, DefineDocument):
        return f"`{key}` is a clause of a rule, beside its `past`: an atom has `on` and `when` alone"
    if issubclass(model, On | OriginDocument | LimitDocument):
        return f"`{key}` is a key of the rule: write it beside `{path[-2]}`, not in it"
    return ""


def _mapping_hint(root: type[Strict], path: tuple[str | int, ...]) -> str:
    if path[-1:] == ("by",) and _model_at(root, path[:-1]) is RuleDocument:
        return "give each atom its key: `by: {name: args.…}`"
    wanted = _model_at(root, path)
    if wanted is On:
        return "write `on: {tool: …}`"
    if wanted is None or len(wanted.model_fields) > _KEYS_SHOWN:
        return ""
    return "its keys are " + ", ".join(f"`{name}`" for name in written_fields(wanted))


def _is_duration(model: type[Strict], key: str) -> bool:
    field = written_fields(model).get(key)
    return field is not None and Duration in get_args(field.annotation)


def _later(located: Located[object], path: tuple[str | int, ...], what: str) -> PolicyError:
    message = f"{what} is not enforced by this version, so the document is refused instead of half obeyed"
    return located.error(path, NOT_SUPPORTED_YET, message, at_key=True)


def _annotation_at(root: type[Strict], path: tuple[str | int, ...]) -> Any:
    annotation: Any = root
    for step in path:
        annotation = bare(annotation)
        if isinstance(annotation, type) and issubclass(annotation, Strict):
            field = written_fields(annotation).get(str(step))
            if field is None:
                return None
            annotation = field.annotation
        elif get_origin(annotation) in (list, dict):
            annotation = get_args(annotation)[-1]
        else:
            return None
    return bare(annotation)


def _model_at(root: type[Strict], path: tuple[str | int, ...]) -> type[Strict] | None:
    annotation = _annotation_at(root, path)
    return annotation if isinstance(annotation, type) and issubclass(annotation, Strict) else None


def _literals(annotation: Any) -> list[str]:
    return [_shown(value) for value in get_args(annotation)]


def _kind(value: object) -> str:
    match value:
        case None:
            return "nothing"
        case bool():
            return f"`{str(value).lower()}`"
        case int() | float():
            return f"the number `{value}`"
        case str():
            return f"the text `{_shown(value)}`"
        case list():
            return "a list"
        case _:
            return "a mapping"


def _shown(value: object) -> str:
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 80 else text[:77] + "..."
