"""How a catalog says what evidence keeps of arguments: what is read, refused or odd, and what the digest covers."""

from __future__ import annotations

import jsonschema
import pytest

from policies.bundle import Bundle
from policies.compile import compile_sources
from policies.documents import json_schema
from policies.error import PolicyErrors, Source
from policies.keeping import DataSubject, Keeping, Mode, read_subject
from policies.lint.catalog import check_catalogs
from policies.yaml_tree import read_yaml

CATALOG = """
kind: Catalog
tools:
  crm.update:
    effects: [write]
    boundary: internal
    args:
      customer: {{type: string, role: target}}
      email: {{type: email, role: destination}}
      items: {{type: list, role: content}}
      pin: {{type: string, role: secret}}
    evidence: {evidence}
---
kind: Policy
name: p
rules:
  - {{id: all, then: allow}}
"""


MANY = "{" + ", ".join(f"/a{n}: keep" for n in range(65)) + "}"


def text(evidence: str, bundle: str = "") -> str:
    return CATALOG.format(evidence=evidence) + (f"---\nkind: Bundle\nname: b\n{bundle}\n" if bundle else "")


def compiled(evidence: str, bundle: str = "") -> Bundle:
    return compile_sources([("a.yaml", text(evidence, bundle))])


def refused(evidence: str) -> list[tuple[str, str]]:
    with pytest.raises(PolicyErrors) as caught:
        compiled(evidence)
    return [(error.code, error.message) for error in caught.value.errors]


def test_each_pointer_has_its_mode_and_its_subject() -> None:
    bundle = compiled(
        "{subject: 'customer:/customer', arguments: {/customer: digest, /email: encrypt, '/items/*/sku': keep, "
        "/pin: {encrypt: actor}}}"
    )
    facts = bundle.catalog.facts("tool", "crm.update")
    assert facts is not None and facts.keeping is not None
    steps = facts.keeping.root.steps
    customer = DataSubject("customer", steps=("customer",))
    assert steps["customer"].keeping == Keeping(Mode.DIGEST)
    assert steps["email"].keeping == Keeping(Mode.ENCRYPT, customer)
    assert steps["items"].items.steps["sku"].keeping == Keeping(Mode.KEEP)
    assert steps["pin"].keeping == Keeping(Mode.ENCRYPT, DataSubject(""))
    assert facts.keeping.subjects == (customer, DataSubject(""))
    assert bundle.catalog.encrypts


def test_a_catalog_that_says_nothing_encrypts_nothing() -> None:
    bundle = compiled("{arguments: {}}")
    facts = bundle.catalog.facts("tool", "crm.update")
    assert facts is not None and facts.keeping is None and not bundle.catalog.encrypts


@pytest.mark.parametrize(
    ("text", "arguments", "named"),
    [
        ("customer:/id", {"id": "c-1"}, "customer:c-1"),
        ("customer:/id", {"id": 17}, "customer:17"),
        ("customer:/a/b~1c", {"a": {"b/c": "x"}}, "customer:x"),
        ("customer:/id", {}, None),
        ("customer:/id", {"id": ""}, None),
        ("customer:/id", {"id": "x" * 257}, None),
        ("customer:/id", {"id": True}, None),
        ("customer:/id", {"id": 1.5}, None),
        ("customer:/id", {"id": None}, None),
        ("customer:/id", {"id": ["c-1"]}, None),
        ("customer:/a/b", {"a": "x"}, None),
        ("customer:acme", {}, "customer:acme"),
        ("actor", {}, "agent:bot"),
    ],
)
def test_whose_data_it_is(text: str, arguments: dict[str, object], named: str | None) -> None:
    subject = read_subject(text)
    assert subject is not None
    assert subject.named(arguments, "agent:bot") == named  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "text", ["", "customer", "customer:", "/id", "Customer:/id", "customer:/a/*/b", "customer:/"]
)
def test_what_is_no_subject(text: str) -> None:
    assert read_subject(text) is None


@pytest.mark.parametrize(
    ("evidence", "code", "part"),
    [
        ("{arguments: {/email: encrypt}}", "encrypt_without_subject", "nothing says whose data"),
        ("{subject: customer, arguments: {}}", "invalid", "not a data subject"),
        ("{arguments: {/email: {encrypt: me}}}", "invalid", "not a data subject"),
        ("{arguments: {/email: hide}}", "unknown_value", "`hide`"),
        ("{arguments: {/email: {hide: x}}}", "invalid", "write `keep`"),
        ("{arguments: {args.email: keep}}", "invalid_pointer", "no JSON pointer"),
        ("{arguments: {'/items[0]': keep}}", "invalid_pointer", "no JSON pointer"),
        ("{arguments: {/items: digest, /items/sku: keep}}", "overlapping_pointers", "stands inside"),
        ("{arguments: {/items/sku: digest, '/items/*/sku': keep}}", "overlapping_pointers", "stands inside"),
        ("{arguments: {'/items/*': digest, /items: keep}}", "overlapping_pointers", "stands inside"),
        (f"{{arguments: {MANY}}}", "invalid", "at most 64"),
        ("{everything: keep}", "unknown_key", "`everything`"),
    ],
)
def test_what_cannot_be_obeyed_is_refused(evidence: str, code: str, part: str) -> None:
    found = refused(evidence)
    assert [one for one in found if one[0] == code and part in one[1]], found


@pytest.mark.parametrize(
    ("evidence", "code", "part"),
    [
        ("{arguments: {/mail: keep}}", "unlisted_evidence_argument", "does not list `mail`"),
        ("{arguments: {/email/host: keep}}", "unlisted_evidence_argument", "has no parts"),
        (
            "{subject: 'customer:/client', arguments: {/email: encrypt}}",
            "unlisted_evidence_argument",
            "is masked",
        ),
        ("{arguments: {/email: {encrypt: 'customer:/client'}}}", "unlisted_evidence_argument", "is masked"),
        ("{arguments: {/pin: keep}}", "secret_kept", "in clear"),
    ],
)
def test_what_is_probably_not_meant_is_told_by_loader_and_check(evidence: str, code: str, part: str) -> None:
    warnings = [(one.code, one.message) for one in compiled(evidence).warnings]
    checked = [
        (one.code, one.message) for one in check_catalogs([Source(name="a.yaml", text=text(evidence))])
    ]
    for found in (warnings, checked):
        assert [one for one in found if one[0] == code and part in one[1]], found


def test_what_evidence_keeps_is_part_of_the_bundles_digest() -> None:
    documents = [
        ("{arguments: {}}", ""),
        ("{arguments: {/email: keep}}", ""),
        ("{arguments: {/email: digest}}", ""),
        ("{subject: actor, arguments: {/email: encrypt}}", ""),
        ("{subject: 'customer:/customer', arguments: {/email: encrypt}}", ""),
        ("{arguments: {/email: keep}}", "evidence: {keep: nothing}"),
        ("{arguments: {/email: keep}}", "evidence: {tenants: {acme: nothing}}"),
    ]
    assert len({compiled(*one).digest for one in documents}) == len(documents)


def test_a_bundle_and_a_tenant_of_it_can_keep_nothing_in_clear() -> None:
    both = compiled("{arguments: {}}", "evidence: {keep: nothing, tenants: {acme: catalogued}}").clear
    assert (both.of("acme"), both.of("other")) == (True, False)
    one = compiled("{arguments: {}}", "evidence: {tenants: {acme: nothing}}").clear
    assert (one.of("acme"), one.of("other")) == (False, True)
    assert compiled("{arguments: {}}").clear.of("acme")


@pytest.mark.parametrize(
    ("evidence", "valid"),
    [
        ("{subject: 'customer:/customer', arguments: {/email: encrypt, /a: {encrypt: actor}}}", True),
        ("{arguments: {/email: hide}}", False),
        ("{arguments: {email: keep}}", False),
        ("{arguments: {/email: {hide: x}}}", False),
    ],
)
def test_the_published_schema_knows_it(evidence: str, valid: bool) -> None:
    (catalog, *_) = read_yaml(Source(name="a.yaml", text=text(evidence)))
    assert jsonschema.Draft202012Validator(json_schema()).is_valid(catalog.plain()) is valid
