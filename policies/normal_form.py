"""The documents in a form in which two bundles are equal exactly when they decide and report alike.

Independent of files, order, comments and layout; tests are no part of it. Atoms are numbered in this order, so
that an equal digest means equal bits. What stands at its default is left out: a key that a later version adds does
not change the digests of documents that do not use it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

import rfc8785

from policies.bundle import Atom
from policies.catalog_build import entries_of
from policies.document_types import Strict
from policies.documents import BundleDocument, DefineDocument, On, RuleDocument
from policies.modification.documents import operations_of
from policies.modification.operations import to_json

if TYPE_CHECKING:
    from policies.loader import DocumentSet

ENGINE_VERSION = "1"  # raised when the same documents would decide otherwise


def atom_of(on: On | None, when: str | None) -> Atom:
    """One (on, when) pair; lists are sets, and the space around a condition says nothing."""
    keys = () if on is None else sorted(on.model_dump(exclude_none=True).items())
    return Atom(
        on=tuple((key, tuple(sorted(set(patterns)))) for key, patterns in keys),
        when=None if when is None else when.strip(),
    )


def digest_of(documents: DocumentSet) -> str:
    """ "sha256:" and 64 hex digits over the RFC 8785 form. Cost: linear in the documents."""
    return "sha256:" + hashlib.sha256(rfc8785.dumps(normal_form(documents))).hexdigest()


def normal_form(documents: DocumentSet) -> dict[str, Any]:
    """What the documents say, as plain JSON. Cost: linear in the documents."""
    policies: dict[str, dict[str, object]] = {}
    for located in documents.policies:
        policy = policies.setdefault(located.document.name, {"descriptions": [], "define": {}, "rules": {}})
        _append(policy["descriptions"], located.document.description)
        _put(policy["define"], {name: clauses_of(one) for name, one in located.document.define.items()})
        _put(policy["rules"], {rule.id: clauses_of(rule) for rule in located.document.rules})
    for name, authors in authors_of(documents).items():
        if authors:
            policies[name]["authors"] = authors
    bundle = documents.bundle
    normal: dict[str, Any] = {
        "engine": ENGINE_VERSION,
        "bundle": _settings(bundle.document) if bundle is not None else None,
        "policies": policies,
        "catalog": _catalog(documents),
        "controls": {one.document.name: _dumped(one.document) for one in documents.controls},
    }
    _sort_descriptions(policies.values())
    return normal


def authors_of(documents: DocumentSet) -> dict[str, list[str]]:
    """Who wrote each policy, by its name: its documents together."""
    found: dict[str, set[str]] = {}
    for located in documents.policies:
        found.setdefault(located.document.name, set()).update(located.document.authors)
    return {name: sorted(authors) for name, authors in found.items()}


def _settings(bundle: BundleDocument) -> dict[str, object]:
    """Parameters stand where they went."""
    return {key: value for key, value in _dumped(bundle).items() if key != "parameters"}


def _catalog(documents: DocumentSet) -> dict[str, object]:
    resources: dict[str, dict[str, object]] = {}
    systems: dict[str, object] = {}
    data: dict[str, object] = {}
    for located in documents.catalogs:
        for resource_type, id_, entry, _ in entries_of(located.document):
            dumped = _dumped(entry)
            for key in ("effects", "data", "actions"):
                if key in dumped:
                    dumped[key] = sorted(set(dumped[key]))
            resources.setdefault(resource_type, {})[id_] = dumped
        systems.update({name: _dumped(one) for name, one in located.document.systems.items()})
        data.update({name: _dumped(one) for name, one in located.document.data.items()})
    descriptions = sorted(one.document.description for one in documents.catalogs if one.document.description)
    return {"resources": resources, "systems": systems, "data": data, "descriptions": descriptions}


def clauses_of(document: RuleDocument | DefineDocument) -> dict[str, object]:
    """A rule or a define; two that are one atom are written alike."""
    atom = atom_of(document.on, document.when)
    clauses = {key: value for key, value in _dumped(document).items() if key not in ("id", "on", "when")}
    if isinstance(document, RuleDocument) and document.modify is not None:
        clauses["modify"] = to_json(operations_of(document.modify))
    if "asked" in clauses:
        clauses["asked"] = sorted(set(clauses["asked"]))
    if "origin" in clauses:
        clauses["origin"] = {key: sorted(set(names)) for key, names in clauses["origin"].items()}
    if atom.on:
        clauses["on"] = {key: list(patterns) for key, patterns in atom.on}
    if atom.when is not None:
        clauses["when"] = atom.when
    return clauses


def _dumped(document: Strict) -> dict[str, Any]:
    return document.model_dump(exclude_defaults=True, by_alias=True)


def _append(target: object, text: str) -> None:
    assert isinstance(target, list)
    if text:
        target.append(text)


def _put(target: object, values: Mapping[str, object]) -> None:
    assert isinstance(target, dict)
    target.update(values)


def _sort_descriptions(policies: Iterable[dict[str, object]]) -> None:
    for policy in policies:
        descriptions = policy["descriptions"]
        assert isinstance(descriptions, list)
        descriptions.sort()
