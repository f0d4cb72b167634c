"""Parameters of a policy: values that whoever uses it may set, put in before anything is validated.

A policy names them with their defaults and writes `$name` where a value goes; a bundle's document sets others. Only a
whole value can be one: nothing is pasted into conditions or formulas. A value that is put in keeps its own place, so
that a mistake in it is told where it was written.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Final

from policies.error import PolicyError, Source, did_you_mean
from policies.located import Located
from policies.packs import packs
from policies.yaml_tree import Node

_CLAUSE_OF: Final = {"escalate": "approve", "modify": "modify", "deny": "stop"}
_USE: Final = re.compile(r"\$([a-z][a-z0-9_]{0,63})")
Values = Mapping[str, Node]


def bundle_settings(documents: Sequence[tuple[Source, Node]]) -> dict[str, Values]:
    """What the bundle's document sets: policy name → parameter → value."""
    found: dict[str, Values] = {}
    for source, root in documents:
        if _text(root, "kind") == "Bundle":
            for policy, values in _mapping(root, "parameters").items():
                if isinstance(values.value, dict):
                    found[policy] = {name: _taken_from(source, one) for name, one in values.value.items()}
    return found


def put_in(source: Source, root: Node, settings: Mapping[str, Values], errors: list[PolicyError]) -> Node:
    """A policy's document with its parameters' values in their places; any other document as it is.

    Args:
        settings: as `bundle_settings` found them.
        errors: takes names that are not parameters, and parameters without a value.
    Cost: one pass over the document.
    """
    declared = _mapping(root, "parameters")
    if _text(root, "kind") != "Policy":
        return root
    located: Located[None] = Located(document=None, source=source, root=root)
    values = {}
    given = settings.get(_text(root, "name"), {})
    for name, parameter in declared.items():
        # A parameter that is no mapping is refused for that, once.
        value = given.get(name) or (
            parameter.value.get("default") if isinstance(parameter.value, dict) else parameter
        )
        if value is None:
            message = f"the parameter `{name}` has no default: it needs a value"
            hint = f"in the bundle's document: `parameters: {{{_text(root, 'name')}: {{{name}: …}}}}`"
            errors.append(
                located.error(("parameters", name), "missing_parameter", message, hint, at_key=True)
            )
        else:
            values[name] = value
    if not declared and not given:
        return root
    assert isinstance(root.value, dict)
    filler = _Filler(located, values, declared, errors)
    parts = {
        key: node if key == "parameters" else filler.filled(node, (key,)) for key, node in root.value.items()
    }
    if "rules" in parts:
        parts["rules"] = _settled(located, root.value["rules"], parts["rules"], errors)
    for name in declared.keys() - filler.used:
        message = f"no value of the policy is `${name}`"
        hint = "only a whole value can be a parameter, unquoted: not a part of a condition or a formula"
        errors.append(located.error(("parameters", name), "unused_parameter", message, hint, at_key=True))
    return replace(root, value=parts)


def refuse_unknown(
    documents: Sequence[tuple[Source, Node]], settings: Mapping[str, Values], errors: list[PolicyError]
) -> None:
    """Settings of parameters that no policy has are mistakes: whatever they were meant for keeps its default."""
    declared: dict[str, set[str]] = {}
    for _, root in documents:
        if _text(root, "kind") == "Policy":
            declared.setdefault(_text(root, "name"), set()).update(_mapping(root, "parameters"))
    for source, root in documents:
        if _text(root, "kind") != "Bundle":
            continue
        located: Located[None] = Located(document=None, source=source, root=root)
        for policy, values in settings.items():
            if policy not in declared:
                message = f"there is no policy `{policy}` here"
                hint = did_you_mean(policy, declared)
                if policy.removeprefix("pack:") in packs():
                    hint = f"it is a pack: name it beside your files, `pack:{policy}`"
                    if policy.startswith("pack:"):
                        hint = f"write `{policy.removeprefix('pack:')}`"
                errors.append(
                    located.error(("parameters", policy), "unknown_policy", message, hint, at_key=True)
                )
                continue
            for name in values:
                if name not in declared[policy]:
                    message = f"the policy `{policy}` has no parameter `{name}`"
                    hint = did_you_mean(name, declared[policy])
                    path = ("parameters", policy, name)
                    errors.append(located.error(path, "unknown_parameter", message, hint, at_key=True))


class _Filler:
    def __init__(
        self, located: Located[None], values: Values, declared: Values, errors: list[PolicyError]
    ) -> None:
        self._located = located
        self._values = values
        self._declared = declared
        self._errors = errors
        self.used: set[str] = set()

    def filled(self, node: Node, path: tuple[str | int, ...]) -> Node:
        """The node, or what its parameter stands for, at the place where it is used."""
        if isinstance(node.value, dict):
            return replace(
                node, value={key: self.filled(one, (*path, key)) for key, one in node.value.items()}
            )
        if isinstance(node.value, list):
            items: list[Node] = []
            for index, item in enumerate(node.value):
                value = self.filled(item, (*path, index))
                # A list in the place of an item is its items.
                items += value.value if isinstance(value.value, list) and value is not item else [value]
            return replace(node, value=items)
        found = _USE.fullmatch(node.value) if isinstance(node.value, str) and not node.style else None
        if found is None:
            return node
        name = found[1]
        self.used.add(name)
        if name in self._values:
            value = self._values[name]
            return replace(value, key=node.key)
        if name not in self._declared:
            message = f"`${name}` is not a parameter of this policy"
            hint = did_you_mean(name, self._declared) or "quote it, if it is meant as it is written"
            self._errors.append(self._located.error(path, "unknown_parameter", message, hint))
        return node


def _settled(located: Located[None], written: Node, filled: Node, errors: list[PolicyError]) -> Node:
    """The rules whose `then` is a parameter, as its value leaves them.

    It chooses how a rule restricts: `approve` waits for `escalate`, `modify` for `modify`, `stop` for `deny`, and
    nothing that others set makes a rule grant.
    """
    if not isinstance(written.value, list) or not isinstance(filled.value, list):
        return filled
    was = {(one.line, one.column): _mapping_of(one) for one in written.value}
    rules: list[Node] = []
    for rule in filled.value:
        parts, before = _mapping_of(rule), was.get((rule.line, rule.column), {})
        then = parts.get("then")
        if then is not None and "then" in before and before["then"].value != then.value:
            if then.value == "allow":
                message = (
                    f"a parameter cannot make a rule grant: `then: {before['then'].value}` becomes `allow`"
                )
                place = Located(document=None, source=then.put_from or located.source, root=then)
                errors.append(place.error((), "parameter_grants", message, "one of `escalate`, `deny`"))
            idle = _CLAUSE_OF.keys() - {str(then.value)}
            waiting = {_CLAUSE_OF[effect] for effect in idle}
            rule = replace(rule, value={key: one for key, one in parts.items() if key not in waiting})
        rules.append(rule)
    return replace(filled, value=rules)


def _taken_from(source: Source, node: Node) -> Node:
    value = node.value
    if isinstance(value, list):
        value = [_taken_from(source, one) for one in value]
    elif isinstance(value, dict):
        value = {key: _taken_from(source, one) for key, one in value.items()}
    return replace(node, value=value, put_from=source)


def _mapping(root: Node, key: str) -> dict[str, Node]:
    return _mapping_of(root.value[key]) if isinstance(root.value, dict) and key in root.value else {}


def _mapping_of(node: Node) -> dict[str, Node]:
    return node.value if isinstance(node.value, dict) else {}


def _text(root: Node, key: str) -> str:
    node = root.value.get(key) if isinstance(root.value, dict) else None
    return node.value if node is not None and isinstance(node.value, str) else ""
