"""`catalog check`: what catalogs leave open, and how they drift from their tools."""

from __future__ import annotations

import pytest

from policies.catalog_draft.descriptions import read_descriptions
from policies.error import Source
from policies.lint.catalog import CATALOG_CODES, check_catalogs

WHOLE = "effects: [send], boundary: external, args: {to: {type: email, role: destination}}"
CASES = [
    ("t: {boundary: internal, args: {}}", "open_effects", "warning"),
    ("t: {effects: [write], args: {}}", "open_boundary", "warning"),
    ("t: {effects: [write], boundary: internal}", "open_arguments", "warning"),
    ("t: {effects: [read], boundary: internal, args: {}}", "read_without_returns", "warning"),
    ("t: {effects: [], boundary: internal, args: {a: {type: string}}}", "role_left_out", "warning"),
    ("t: {effects: [], boundary: internal, args: {a: {role: query}}}", "type_left_out", "warning"),
    (
        "t: {effects: [send], boundary: external, args: {a: {type: string, role: content}}}",
        "sender_without_destination",
        "warning",
    ),
    ("t: {effects: [pay], boundary: internal, args: {id: {type: string, role: target}}}", "payer_without_destination",
     "warning"),
    ("t: {effects: [], boundary: internal, args: {}, system: crm}", "undeclared_system", "warning"),
    ("t: {effects: [], boundary: internal, args: {}, data: [pii]}", "undeclared_data", "warning"),
    ("t: {effects: [], boundary: internal, args: {}, evidence: {arguments: {/a: keep}}}", "unlisted_evidence_argument",
     "warning"),
    (
        "t: {effects: [], boundary: internal, evidence: {arguments: {/a: keep}}, args: {a: {type: any, role: secret}}}",
        "secret_kept",
        "warning",
    ),
    (
        "t: {effects: [], boundary: internal, args: {a: {type: any, role: time}}, "
        "evidence: {arguments: {/a: encrypt}}}",
        "encrypt_without_subject",
        "error",
    ),
    ("t: {effects: [steal]}", "unknown_value", "error"),
]  # fmt: skip


def found(tools: str, described: object = None) -> list[tuple[str, str]]:
    source = Source(name="c.yaml", text=f"kind: Catalog\ntools:\n  {tools}\n")
    read = None if described is None else read_descriptions(described)
    return [(one.code, one.level) for one in check_catalogs([source], read)]


@pytest.mark.parametrize(("tools", "code", "level"), CASES)
def test_what_is_left_open_is_a_finding(tools: str, code: str, level: str) -> None:
    assert found(tools) == [(code, level)]


def test_a_whole_entry_has_no_finding() -> None:
    assert found(f"t: {{{WHOLE}}}") == []


@pytest.mark.parametrize(
    ("tools", "described", "findings"),
    [
        (f"t: {{{WHOLE}}}", [{"name": "t", "params": ["to"]}], []),
        (f"t.*: {{{WHOLE}}}", [{"name": "t.a", "params": ["to"]}], []),
        (f"t: {{{WHOLE}}}", [{"name": "s"}], [("missing_tool", "error")]),
        (f"t: {{{WHOLE}}}", [{"name": "t", "params": ["to", "bcc"]}], [("missing_argument", "error")]),
        (f"t: {{{WHOLE}}}", [{"name": "t"}], [("stale_argument", "warning")]),
    ],
)
def test_a_catalog_that_has_drifted_from_its_tools_is_found(
    tools: str, described: object, findings: list[tuple[str, str]]
) -> None:
    assert found(tools, described) == findings


def test_documents_without_a_catalog_are_an_error() -> None:
    policy = Source(name="p.yaml", text="kind: Policy\nname: p\n")
    tools = read_descriptions([{"name": "t"}])
    assert [one.code for one in check_catalogs([policy], tools)] == ["no_catalog"]


def test_what_two_catalogs_define_is_an_error() -> None:
    one, other = (
        Source(name=name, text=f"kind: Catalog\ntools: {{t: {{{WHOLE}}}}}\n") for name in ("a", "b")
    )
    assert [(one.code, one.level) for one in check_catalogs([one, other])] == [("duplicate_entry", "error")]


def test_every_code_is_met_here() -> None:
    met = {code for _, code, _ in CASES} | {
        "missing_tool",
        "missing_argument",
        "stale_argument",
        "no_catalog",
    }
    assert met >= CATALOG_CODES
