"""Drafts: what is proposed for tools, and what hostile descriptions cannot do."""

from __future__ import annotations

import json
from importlib import resources
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from controlplane.errors import InputError
from policies.catalog_draft.descriptions import read_descriptions
from policies.catalog_draft.draft import draft_tools
from policies.catalog_draft.proposal import ProposedTool
from policies.catalog_draft.vocabulary import read_vocabulary, words_of
from policies.catalog_draft.yaml_text import yaml_text
from policies.error import Source
from policies.loader import load_documents

WORDS = resources.files("policies.catalog_draft").joinpath("words/english.yaml").read_text(encoding="utf-8")
VOCABULARY = read_vocabulary(Source(name="english.yaml", text=WORDS))
CORPORA = Path(__file__).parents[5] / "shared" / "corpora"


def tool(name: str, *parameters: str, **more: Any) -> dict[str, Any]:
    properties = {}
    for parameter in parameters:
        key, _, type_ = parameter.partition(":")
        properties[key] = {"type": type_ or "string"}
    return {
        "name": name,
        "description": "",
        "inputSchema": {"type": "object", "properties": properties},
        **more,
    }


def drafted(*tools: dict[str, Any]) -> tuple[ProposedTool, ...]:
    return draft_tools(read_descriptions({"tools": list(tools)}), VOCABULARY)


def loaded(tools: tuple[ProposedTool, ...]) -> Any:
    text = yaml_text(tools, origin="tools.json")
    return load_documents([Source(name="draft.yaml", text=text)]).catalogs[0].document


@pytest.mark.parametrize(
    ("described", "effects"),
    [
        (tool("list_orders"), {"read"}),
        (tool("getCustomerById", "id"), {"read"}),
        (tool("crm.lookup_customer", "id"), {"read"}),
        (tool("sendEmail", "to", "body"), {"send"}),
        (tool("send_money", "to", "amount:number"), {"pay", "write"}),
        (tool("create_payment", "payee"), {"pay", "write"}),
        (tool("PayInvoice", "invoice_id"), {"pay", "write"}),
        (tool("purchase_item", "item_id"), {"pay", "write"}),
        (tool("post_comment", "text"), {"send"}),
        (tool("create_event", "title", "attendees:array"), {"write", "send"}),
        (tool("delete_message", "message_id"), {"delete"}),
        (tool("remove_file", "path"), {"delete"}),
        (tool("set_password", "password"), {"grant", "write"}),
        (tool("add_user_to_group", "user"), {"grant", "write"}),
        (tool("share_document", "path", "email"), {"grant", "send", "write"}),
        (tool("run_command", "command"), {"execute"}),
        (tool("transfer_to_human_agent"), {"delegate"}),
        (tool("enable_feature", "name"), {"admin", "write"}),
        (tool("message_get", "id"), {"read"}),
        (tool("news_search", "query"), {"read"}),
        (tool("leave_review", "text"), {"send", "write"}),
        (tool("download_file", "save_path"), {"read", "write"}),
        (tool("frobnicate", "x"), None),
        (tool("manage_orders", "id"), None),
        (tool("customer", "action"), None),
    ],
)
def test_names_and_parameters_tell_what_a_tool_does(
    described: dict[str, Any], effects: set[str] | None
) -> None:
    (found,) = drafted(described)
    assert (None if found.effects.value is None else set(found.effects.value)) == effects
    assert found.effects.because


@pytest.mark.parametrize(
    ("described", "parameter", "role"),
    [
        (tool("send_mail", "to"), "to", "destination"),
        (tool("send_message", "receiver_id"), "receiver_id", "destination"),
        (tool("transfer_funds", "from_account", "to_account_number"), "to_account_number", "destination"),
        (tool("transfer_funds", "from_account", "to_account_number"), "from_account", "target"),
        (tool("fetch_page", "url"), "url", "destination"),
        (tool("find_customer", "email"), "email", "query"),
        (tool("send_mail", "body"), "body", "content"),
        (tool("pay", "amount:number"), "amount", "quantity"),
        (tool("create_event", "start_time"), "start_time", "time"),
        (tool("login", "password"), "password", "secret"),
        (tool("update_profile", "first_name"), "first_name", "profile"),
        (tool("delete_file", "file_id"), "file_id", "target"),
        (tool("search_mail", "query"), "query", "query"),
        (tool("grant_access", "username"), "username", "destination"),
        (tool("update_thing", "zzz"), "zzz", None),
    ],
)
def test_a_parameters_name_tells_its_role(
    described: dict[str, Any], parameter: str, role: str | None
) -> None:
    (found,) = drafted(described)
    assert found.args[parameter].role.value == role
    assert found.args[parameter].role.check or role is not None


def test_types_come_from_the_schema_and_from_names() -> None:
    properties = {
        "recipient": {"type": "string", "description": "IBAN of the recipient"},
        "amount": {"type": "number"},
        "when": {"type": "string", "format": "date-time"},
        "copies": {"type": ["integer", "null"]},
        "cc": {"anyOf": [{"type": "array"}, {"type": "null"}]},
        "x": {},
    }
    schema = {"properties": properties, "required": ["amount"]}
    (found,) = drafted({"name": "pay", "inputSchema": schema})
    types = {name: argument.type for name, argument in found.args.items()}
    assert types == {
        "recipient": "iban", "amount": "decimal", "when": "datetime", "copies": "integer", "cc": "list", "x": "any",
    }  # fmt: skip
    assert [name for name, argument in found.args.items() if argument.required] == ["amount"]


def test_hints_and_prose_add_effects_and_never_take_one_away() -> None:
    hints = {"readOnlyHint": True, "destructiveHint": False, "openWorldHint": False}
    prose = "Returns the weather. Safe, read only."
    (plain,) = drafted(tool("delete_file", "path"))
    (calm,) = drafted(tool("delete_file", "path", annotations=hints, description=prose))
    assert set(plain.effects.value or ()) <= set(calm.effects.value or ())
    assert calm.effects.check
    assert calm.boundary.value != "internal"
    (loud,) = drafted(
        tool("get_file", annotations={"destructiveHint": True}, description="Gets it. Emails it to us.")
    )
    assert set(loud.effects.value or ()) == {"read", "delete", "send"}
    assert loud.effects.check
    (changes,) = drafted(tool("get_file", annotations={"readOnlyHint": False}))
    assert changes.effects.value is None


def test_fields_of_results_are_trusted_only_inside_the_house() -> None:
    results = {
        "properties": {"id": {"type": "string"}, "sender": {}, "body": {}, "a/b~count": {"type": "integer"}}
    }
    (inside,) = drafted(tool("read_message", outputSchema=results))
    assert inside.returns.value == {
        "default": "untrusted", "/id": "trusted", "/sender": "identifiers", "/a~1b~0count": "trusted",
    }  # fmt: skip
    (outside,) = drafted(tool("read_webpage", "url", outputSchema=results))
    assert outside.returns.value == {"default": "untrusted"}


@pytest.mark.parametrize(
    "document",
    [
        {"tools": [tool("list_orders")]},
        {"jsonrpc": "2.0", "result": {"tools": [tool("list_orders")]}},
        [tool("list_orders")],
        [{"type": "function", "function": {"name": "list_orders", "parameters": {"properties": {}}}}],
        {"shop": [{"name": "list_orders", "parameters": {}}]},
        [{"server": "shop", "tools": [{"name": "list_orders", "params": ["limit:int"]}]}],
    ],
)
def test_each_known_form_is_read(document: Any) -> None:
    assert [one.name for one in read_descriptions(document)] == ["list_orders"]


def test_one_name_in_two_groups_is_told_apart_by_the_group() -> None:
    found = read_descriptions({"mail": [{"name": "search"}], "files": [{"name": "search"}, {"name": "list"}]})
    assert [one.name for one in found] == ["mail.search", "files.search", "list"]


@pytest.mark.parametrize(
    ("document", "says"),
    [
        ({}, "no tool in it"),
        ([], "no tool in it"),
        ("tools", "neither a tool"),
        ({"tools": [7]}, "neither a tool"),
        ({"tools": [{"nme": "a"}]}, "neither a tool, which has a `name`"),
        ([{"name": "**"}], "no id"),
        ([{"name": "mail.*"}], "no id"),
        ([{"name": "a\nb: c"}], "no id"),
        ([{"name": ""}], "no id"),
        ([{"name": "a"}, {"name": "a"}], "two tools"),
        ([{"name": f"t{n}"} for n in range(2_001)], "more than 2000"),
        ([tool("t", *(f"p{n}" for n in range(257)))], "at most 256"),
        ([tool("t", "x" * 257)], "over 256"),
    ],
)
def test_what_is_no_list_of_tools_is_refused(document: Any, says: str) -> None:
    with pytest.raises(InputError) as refused:
        read_descriptions(document)
    assert says in refused.value.message
    assert refused.value.code == "invalid_tools"
    assert "\n" not in refused.value.message


HOSTILE = 'x: {role: query}}\n  evil:\n    effects: []\n#"'


def test_names_from_outside_cannot_write_into_the_catalog() -> None:
    properties = {HOSTILE: {"type": "string"}, "null": {}, "a\u2028b\u0085c": {}, "\U0001f600": {}}
    described = {"name": "get", "description": HOSTILE, "inputSchema": {"properties": properties}}
    document = loaded(drafted(described))
    assert list(document.tools) == ["get"]
    assert list(document.tools["get"].args) == list(properties)


KEYS = st.sampled_from(
    ["type", "properties", "items", "required", "anyOf", "description", "format", "enum", "url", "to"]
) | st.text(max_size=8)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=12),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=4),
    max_leaves=12,
)
TOOLS = st.fixed_dictionaries(
    {"name": st.from_regex(r"[A-Za-z][A-Za-z0-9_./-]{0,20}", fullmatch=True)},
    optional={
        "description": JSON,
        "inputSchema": st.fixed_dictionaries({"properties": st.dictionaries(KEYS, JSON, max_size=4)}) | JSON,
        "outputSchema": JSON,
        "annotations": JSON,
    },
)


@settings(deadline=None, max_examples=150)
@given(TOOLS)
def test_whatever_a_tool_says_its_draft_loads_and_says_so_much_and_no_more(described: dict[str, Any]) -> None:
    try:
        read = read_descriptions([described])
    except InputError:
        return
    proposed = draft_tools(read, VOCABULARY)
    document = loaded(proposed)
    assert list(document.tools) == [described["name"]]
    assert list(document.tools[described["name"]].args) == [one.name for one in read[0].parameters]


def test_names_fall_into_words_however_they_are_joined() -> None:
    assert words_of("send_direct-message") == words_of("SendDirectMessages") == ("send", "direct", "message")
    assert words_of("getURL2") == ("get", "url", "2")
    assert words_of("HTTPServer") == ("http", "server")


@pytest.mark.parametrize(
    "file",
    [
        "agentdojo/banking.tools.json", "agentdojo/workspace.tools.json", "bfcl/multi_turn_base.tools.json",
        "tau2/retail.tools.json", "tau2/telecom.tools.json", "injecagent/tools.json", "msb/mcp_manifests.json",
    ],
)  # fmt: skip
def test_schemas_of_foreign_suites_are_drafted_and_load(file: str) -> None:
    path = CORPORA / file
    if not path.exists():
        pytest.skip(f"{path.name} is not here: the foreign traces are kept outside the project")
    document = json.loads(path.read_text(encoding="utf-8"))
    for part in document if isinstance(document, list) and "server" in document[0] else [document]:
        try:
            described = read_descriptions(part)
        except InputError as refused:
            # One of two tools with one name shadows the other: no catalog can tell them apart.
            assert "two tools are named" in refused.message
            continue
        proposed = draft_tools(described, VOCABULARY)
        assert set(loaded(proposed).tools) == {one.name for one in proposed}
        for one in proposed:
            if "read" in (one.effects.value or ()):
                assert one.returns.value is not None
