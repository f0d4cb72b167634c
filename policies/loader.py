"""From texts to documents: every error of every document at once, each with its place and a hint."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TypeVar

from pydantic import ValidationError

from policies.document_checks import check_bundle_documents, check_catalog, check_policy, check_story
from policies.documents import (
    KINDS,
    BundleDocument,
    CatalogDocument,
    ControlsDocument,
    PolicyDocument,
)
from policies.empty_values import refuse_empty_values
from policies.error import PolicyError, PolicyErrors, Source, did_you_mean
from policies.located import Located
from policies.parameters import bundle_settings, put_in, refuse_unknown
from policies.story_documents import StoryDocument
from policies.validation_errors import explain
from policies.yaml_tree import Node, read_yaml

MAX_SOURCES = 1_000

__all__ = ["DocumentSet", "PolicyError", "PolicyErrors", "Source", "load_documents"]

D = TypeVar("D")


@dataclass(frozen=True, slots=True, kw_only=True)
class DocumentSet:
    """Documents that are well formed each by itself, in the order they were given."""

    sources: tuple[Source, ...]
    policies: tuple[Located[PolicyDocument], ...] = ()
    catalogs: tuple[Located[CatalogDocument], ...] = ()
    bundle: Located[BundleDocument] | None = None
    controls: tuple[Located[ControlsDocument], ...] = ()
    tests: tuple[Located[StoryDocument], ...] = ()


def load_documents(sources: Sequence[Source]) -> DocumentSet:
    """Read and validate every document of every source.

    Args:
        sources: texts of at most 1 MiB each, at most 1 000 of them; their kinds may be mixed.
    Raises: PolicyErrors: all that is wrong, not only the first.
    Cost: linear in the text; the YAML parser dominates (a policy of 1 000 rules: about 0.4 s).
    """
    errors: list[PolicyError] = []
    if len(sources) > MAX_SOURCES:
        where = sources[MAX_SOURCES].name
        message = f"{len(sources)} sources; at most {MAX_SOURCES}"
        raise PolicyErrors([PolicyError(file=where, line=1, column=1, code="too_many", message=message)])
    read: list[tuple[Source, Node]] = []
    for source in sources:
        try:
            read += [(source, node) for node in read_yaml(source)]
        except PolicyErrors as refused:
            errors.extend(refused.errors)
    settings = bundle_settings(read)
    refuse_unknown(read, settings, errors)
    found: list[Located[object]] = []
    for source, node in read:
        document = _validated(source, put_in(source, node, settings, errors), errors)
        if document is not None:
            found.append(document)
    documents = DocumentSet(
        sources=tuple(sources),
        policies=_of_kind(found, PolicyDocument),
        catalogs=_of_kind(found, CatalogDocument),
        bundle=next(iter(_of_kind(found, BundleDocument)), None),
        controls=_of_kind(found, ControlsDocument),
        tests=_of_kind(found, StoryDocument),
    )
    check_bundle_documents(_of_kind(found, BundleDocument), errors)
    for policy in documents.policies:
        check_policy(policy, errors)
    for catalog in documents.catalogs:
        check_catalog(catalog, errors)
    for story in documents.tests:
        check_story(story, errors)
    if errors:
        raise PolicyErrors(errors)
    return documents


def _validated(source: Source, node: Node, errors: list[PolicyError]) -> Located[object] | None:
    located: Located[object] = Located(document=None, source=source, root=node)
    if not isinstance(node.value, dict):
        errors.append(located.error((), "not_a_document", "a document is a mapping with a `kind`"))
        return None
    kind = node.value.get("kind")
    if kind is None or kind.value is None:
        hint = "one of " + ", ".join(f"`{name}`" for name in KINDS)
        errors.append(located.error((), "missing_kind", "the document has no `kind`", hint))
        return None
    if not isinstance(kind.value, str) or kind.value not in KINDS:
        hint = did_you_mean(str(kind.plain()), KINDS) or "one of " + ", ".join(f"`{name}`" for name in KINDS)
        errors.append(located.error(("kind",), "unknown_kind", f"unknown kind `{kind.plain()}`", hint))
        return None
    model = KINDS[kind.value]
    empty = refuse_empty_values(located, model)
    errors.extend(error for _, error in empty)
    try:
        document = model.model_validate(node.plain())
    except ValidationError as refused:
        errors.extend(explain(located, model, refused, told={path for path, _ in empty}))
        return None
    # A document with an empty value is looked at no further: its other checks would speak of what is not there.
    return None if empty else Located(document=document, source=source, root=node)


def _of_kind(found: Iterable[Located[object]], kind: type[D]) -> tuple[Located[D], ...]:
    return tuple(
        Located(document=located.document, source=located.source, root=located.root)
        for located in found
        if isinstance(located.document, kind)
    )
