from __future__ import annotations

from typing import get_args

import pytest
from unit.policies.policy_texts import CATALOG, bundle_of

from policies import catalog, documents
from policies.catalog import ArgumentType, Catalog, ResourceFacts

GLOBS = "kind: Catalog\ntools: {'a.**': {system: s1}, 'a.*': {system: s2}, 'a.b*': {system: s3}, a.bc: {system: s4}}\n"


@pytest.mark.parametrize(
    ("tool", "system"),
    [("a.bc", "s4"), ("a.bd", "s3"), ("a.x", "s2"), ("a.x.y", "s1"), ("b", None), ("a.bc.d", "s1")],
)
def test_an_exact_id_wins_then_the_glob_with_the_most_literal_text(tool: str, system: str | None) -> None:
    facts = bundle_of(GLOBS).catalog.facts("tool", tool)
    assert (facts.system if facts else None) == system


def test_left_out_is_unknown_and_an_empty_list_is_known_to_be_none() -> None:
    known = bundle_of(CATALOG).catalog
    assert known.facts("tool", "vague") == ResourceFacts()
    facts = known.facts("tool", "payments.transfer")
    assert facts is not None
    assert (facts.data, facts.effects, facts.actions) == ((), ("pay", "write"), ("call",))
    assert facts.arguments is not None
    assert facts.arguments["to"] == ArgumentType(type="iban", role="destination")
    clock = known.facts("tool", "clock.read")
    assert clock is not None and clock.arguments == {} and clock.data is None


def test_a_result_is_worth_what_its_least_trustworthy_part_is_worth() -> None:
    facts = bundle_of(CATALOG).catalog.facts("tool", "mail.read")
    assert facts is not None
    assert (facts.trust, facts.returns) == ("untrusted", {"default": "trusted", "/body": "untrusted"})


def test_the_types_of_the_documents_and_the_sets_of_the_engine_are_the_same() -> None:
    assert get_args(documents.EffectName) == tuple(catalog.EFFECTS)
    assert get_args(documents.TypeName) == catalog.ARGUMENT_TYPES
    assert get_args(documents.RoleName) == catalog.ARGUMENT_ROLES
    assert get_args(documents.TrustName) == catalog.TRUST
    assert get_args(documents.BoundaryName) == catalog.BOUNDARIES


def test_a_catalog_of_nothing_knows_nothing() -> None:
    assert Catalog({}).facts("tool", "x") is None
