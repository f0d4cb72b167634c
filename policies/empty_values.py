"""Keys without a value: refused, since what was meant to narrow a rule would widen it when it counts as left out.

`on: {tool: }` names no tool; read as if the key were not there, it would match every tool.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, get_args, get_origin

from policies.document_types import Strict, bare, stands_alone, written_fields
from policies.error import PolicyError
from policies.located import Located
from policies.yaml_tree import Node

EMPTY_VALUE = "empty_value"

Path = tuple[str | int, ...]


def refuse_empty_values(located: Located[object], model: type[Strict]) -> list[tuple[Path, PolicyError]]:
    """Every null of a document, with its path; JSON that a story sends or gets back may hold nulls.

    Cost: one walk over the document.
    """
    return [(path, _refusal(located, path)) for path in _nulls(located.root, model, ())]


def _refusal(located: Located[object], path: Path) -> PolicyError:
    if path and isinstance(path[-1], str):
        message, hint = f"`{path[-1]}` has no value", "give a value or leave the key out"
        # An empty value has no place of its own: the parser puts it behind the key, or on the next line.
        return located.error(path, EMPTY_VALUE, message, hint, at_key=True)
    return located.error(
        path, EMPTY_VALUE, "an item of the list has no value", "give a value or leave it out"
    )


def _nulls(node: Node, annotation: Any, path: Path) -> Iterator[Path]:
    """`annotation`: the type that stands at this place; None where the document has no such key."""
    annotation = bare(annotation)
    if annotation is Any:
        return
    if node.value is None:
        yield path
    elif isinstance(node.value, list):
        for index, item in enumerate(node.value):
            yield from _nulls(item, _item_of(annotation), (*path, index))
    elif isinstance(node.value, dict):
        for name, child in node.value.items():
            if child.value is None and _is_unknown(annotation, name):
                continue  # told as an unknown key: a value would not make it a known one
            if child.value is not None or not stands_alone(annotation, name):
                yield from _nulls(child, _child_of(annotation, name), (*path, name))


def _is_unknown(annotation: Any, name: str) -> bool:
    return (
        isinstance(annotation, type)
        and issubclass(annotation, Strict)
        and name not in written_fields(annotation)
    )


def _item_of(annotation: Any) -> Any:
    return get_args(annotation)[0] if get_origin(annotation) is list else None


def _child_of(annotation: Any, name: str) -> Any:
    if isinstance(annotation, type) and issubclass(annotation, Strict):
        field = annotation.model_fields.get(name)
        return None if field is None else field.annotation
    return get_args(annotation)[1] if get_origin(annotation) is dict else None
