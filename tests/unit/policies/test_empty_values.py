"""A key without a value is an error, since counting it as left out would widen what it was written to narrow."""

from __future__ import annotations

import jsonschema
import pytest
from unit.policies.policy_texts import bundle_of, errors_of, policy

from policies.documents import json_schema
from policies.error import Source
from policies.yaml_tree import read_yaml

KEY_HINT = "give a value or leave the key out"


def catalog(entry: str) -> str:
    return f"kind: Catalog\ntools:\n  x: {entry}\n"


def story(step: str, head: str = "") -> str:
    cases = f"cases:\n  - name: c\n    steps:\n      - {step}\n"
    return f"kind: Test\nname: t\n{head}sessions: {{s: {{agent: bot}}}}\n{cases}"


@pytest.mark.parametrize(
    ("text", "key", "place"),
    [
        (policy("{id: a, on: {tool: }, then: deny}"), "tool", (4, 18)),
        (policy("{id: a, on: {tool: null}, then: deny}"), "tool", (4, 18)),
        (policy("{id: a, on: {agent: ~, tool: x}, then: deny}"), "agent", (4, 18)),
        (policy("id: a\n    on:\n    then: allow"), "on", (5, 5)),
        (policy("id: a\n    on:\n      tool:\n    then: allow"), "tool", (6, 7)),
        (policy("id: a\n    when:\n    then: allow"), "when", (5, 5)),
        (policy("{id: a, when: Null, then: allow}"), "when", (4, 13)),
        (policy("{id: a, then: }"), "then", (4, 13)),
        (policy("{id: , then: deny}"), "id", (4, 6)),
        (policy("{id: a, then: deny, because: }"), "because", (4, 25)),
        (policy("{id: a, then: deny, controls: }"), "controls", (4, 25)),
        ("kind: Policy\nname: p\nrules:\n", "rules", (3, 1)),
        ("kind: Policy\nname:\n", "name", (2, 1)),
        (policy(head="description:\n"), "description", (3, 1)),
        (policy(head="define:\n"), "define", (3, 1)),
        (policy(head="define: {x: }\n"), "x", (3, 10)),
        (policy(head="define: {x: {on: , when: 'true'}}\n"), "on", (3, 14)),
        (policy(head="define: {x: {on: {tool: }, when: 'true'}}\n"), "tool", (3, 19)),
        ("kind: Catalog\ntools:\n", "tools", (2, 1)),
        ("kind: Catalog\nresources: {todo: }\n", "todo", (2, 13)),
        ("kind: Catalog\nsystems: {crm: }\n", "crm", (2, 11)),
        ("kind: Catalog\nsystems: {crm: {jurisdiction: }}\n", "jurisdiction", (2, 17)),
        ("kind: Catalog\ndata: {pii: }\n", "pii", (2, 8)),
        (catalog(""), "x", (3, 3)),
        *((catalog(f"{{{key}: }}"), key, (3, 7))
          for key in ("system", "effects", "data", "boundary", "actions", "args", "returns", "description")),
        (catalog("{args: {to: }}"), "to", (3, 14)),
        (catalog("{args: {to: {type: }}}"), "type", (3, 19)),
        (catalog("{args: {to: {role: null}}}"), "role", (3, 19)),
        (catalog("{args: {to: {required: }}}"), "required", (3, 19)),
        (catalog("{returns: {default: }}"), "default", (3, 17)),
        ("kind: Bundle\nname: b\ndefault:\n", "default", (3, 1)),
        ("kind: Bundle\nname: b\nuncatalogued: ~\n", "uncatalogued", (3, 1)),
        ("kind: Controls\nname: c\ncontrols:\n", "controls", (3, 1)),
        ("kind: Controls\nname: c\ncontrols: {c/1: {title: }}\n", "title", (3, 18)),
        (story("{session: s, tool: x, expect: }"), "expect", (7, 31)),
        (story("{session: s, tool: x, args: , expect: deny}"), "args", (7, 31)),
        (story("{session: s, tool: x, at: , expect: deny}"), "at", (7, 31)),
        (story("{session: s, tool: x, expect: deny}", "agents: {bot: }\n"), "bot", (3, 10)),
    ],
)  # fmt: skip
def test_a_key_without_a_value_is_an_error_at_the_key(text: str, key: str, place: tuple[int, int]) -> None:
    (error,) = errors_of(text)
    assert (error.code, error.message, error.hint) == ("empty_value", f"`{key}` has no value", KEY_HINT)
    assert (error.line, error.column) == place
    validator = jsonschema.Draft202012Validator(json_schema())
    (node,) = read_yaml(Source(name="f", text=text))
    assert not validator.is_valid(node.plain())


@pytest.mark.parametrize(
    ("text", "place"),
    [
        (policy("{id: a, on: {tool: [x, null]}, then: deny}"), (4, 28)),
        (policy("{id: a, on: {tool: [~]}, then: deny}"), (4, 25)),
        (policy("{id: a, then: deny, controls: [c/1, ~]}"), (4, 41)),
        (catalog("{effects: [read, null]}"), (3, 23)),
        (catalog("{data: [~]}"), (3, 14)),
        (catalog("{actions: [~]}"), (3, 17)),
        ("kind: Policy\nname: p\nrules: [null]\n", (3, 9)),
    ],
)
def test_an_item_without_a_value_is_an_error_at_its_place(text: str, place: tuple[int, int]) -> None:
    (error,) = errors_of(text)
    assert (error.code, error.message) == ("empty_value", "an item of the list has no value")
    assert (error.line, error.column) == place


@pytest.mark.parametrize("when", ["''", '" "', '"\\n"'])
def test_a_condition_of_nothing_is_an_error(when: str) -> None:
    assert len(errors_of(policy(f"{{id: a, then: allow, when: {when}}}"))) == 1


def test_every_empty_value_of_a_document_is_told_with_its_other_errors() -> None:
    text = policy("{id: a, on: {tool: , agnt: x}, then: deny}", "{id: b, when: , then: allow}")
    assert [error.code for error in errors_of(text)] == ["empty_value", "unknown_key", "empty_value"]


def test_the_json_that_a_story_sends_or_gets_back_may_hold_nulls() -> None:
    sent = "args: {a: null, b: [null]}, properties: {c: ~}, context: {d: ~}"
    step = f"{{session: s, tool: x, {sent}, result: null, expect: deny}}"
    head = "agents: {bot: {attributes: {level: null}}}\n"
    assert bundle_of(story(step, head)).rules == ()


def test_an_empty_document_between_two_others_is_still_nothing() -> None:
    assert bundle_of(f"---\n---\n{policy('{id: a, then: deny}')}---\n# the end\n").name == "p"
