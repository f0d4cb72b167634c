"""Pydantic's findings in our words: where it stands, what is wrong, what was probably meant."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from typing import Any, get_args, get_origin

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from policies.document_types import Strict, bare
from policies.documents import LATER_KEYS, LATER_VALUES
from policies.error import PolicyError, did_you_mean
from policies.located import Located

NOT_SUPPORTED_YET = "not_supported_yet"


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
                return _later(located, path, f"`{key}`", at_key=True)
            known = sorted(model.model_fields) if model is not None else []
            hint = did_you_mean(key, known) or ("known keys: " + ", ".join(known) if known else "")
            return located.error(path, "unknown_key", f"unknown key `{_shown(key)}`", hint, at_key=True)
        case "missing":
            return located.error(path[:-1], "missing_key", f"missing key `{key}`")
        case "literal_error":
            if model is not None and isinstance(found, str) and found in LATER_VALUES.get((model, key), ()):
                return _later(located, path, f"`{key}: {found}`")
            allowed = _literals(_annotation_at(root, path))
            hint = did_you_mean(str(found), allowed) or "one of " + ", ".join(f"`{one}`" for one in allowed)
            return located.error(path, "unknown_value", f"unknown value `{_shown(found)}`", hint)
        case "string_pattern_mismatch":
            at_key = path[-1:] == ("[key]",)
            message = f"`{_shown(found)}` does not fit `{context.get('pattern')}`"
            return located.error(path, "invalid_name", message, at_key=at_key)
        case "string_type":
            hint = "quote it" if isinstance(found, bool | int | float) else ""
            return located.error(path, "wrong_type", f"expected text, found {_kind(found)}", hint)
        case "number_type":
            return located.error(path, "wrong_type", f"expected a number, found {_kind(found)}")
        case "model_type" | "dict_type":
            return located.error(path, "wrong_type", f"expected a mapping, found {_kind(found)}")
        case "list_type":
            return located.error(path, "wrong_type", f"expected a list, found {_kind(found)}")
        case _:
            return located.error(path, "invalid", detail["msg"][:1].lower() + detail["msg"][1:])


def _later(
    located: Located[object], path: tuple[str | int, ...], what: str, *, at_key: bool = False
) -> PolicyError:
    message = f"{what} is not enforced by this version, so the document is refused instead of half obeyed"
    return located.error(path, NOT_SUPPORTED_YET, message, at_key=at_key)


def _annotation_at(root: type[Strict], path: tuple[str | int, ...]) -> Any:
    annotation: Any = root
    for step in path:
        annotation = bare(annotation)
        if isinstance(annotation, type) and issubclass(annotation, Strict):
            field = annotation.model_fields.get(str(step))
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
    return [str(value) for value in get_args(annotation)]


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
    text = str(value)
    return text if len(text) <= 80 else text[:77] + "..."
