"""The published JSON Schema takes what the loader takes."""

from __future__ import annotations

from pathlib import Path

import jsonschema
import pytest

from policies.documents import json_schema
from policies.error import Source
from policies.yaml_tree import read_yaml

ROOT = Path(__file__).parents[3]
FILES = [
    Path(__file__).with_name("design_bundle.yaml"),
    *(ROOT / "examples" / "banking" / "policies").glob("*.yaml"),
]
VALIDATOR = jsonschema.Draft202012Validator(json_schema())


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.name)
def test_documents_that_load_are_valid(file: Path) -> None:
    for node in read_yaml(Source(name=file.name, text=file.read_text())):
        VALIDATOR.validate(node.plain())


RULE = {"id": "x", "then": "deny"}


@pytest.mark.parametrize(
    ("rule", "valid"),
    [
        ({"past": "once[24h] a", "scope": "agent", "by": {"a": "args.to"}, "witness": "gateway"}, True),
        ({"past": "a", "permitted_is_done": True}, True),
        ({"past": ["a"]}, False),
        ({"scope": "tenant"}, False),
        (
            {
                "limit": {
                    "sum": "args.amount",
                    "per": "24h",
                    "scope": "agent",
                    "key": "args.to",
                    "above": "50.5",
                }
            },
            True,
        ),
        ({"limit": {"count": "denials", "above": 3}}, True),
        ({"limit": {"count": "denials"}}, False),
        ({"limit": {"count": "sessions", "above": 3}}, False),
        ({"then": "escalate", "approve": {"by": "role:treasury", "quorum": 2, "expires": "30m"}}, True),
        ({"then": "escalate", "approve": {"by": []}}, False),
        ({"mode": "monitor"}, True),
        ({"mode": "watch"}, False),
    ],
)
def test_keys_about_the_past_are_known_and_checked(rule: dict[str, object], valid: bool) -> None:
    document = {"kind": "Policy", "name": "p", "rules": [{**RULE, **rule}]}
    assert VALIDATOR.is_valid(document) is valid
