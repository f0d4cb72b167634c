"""The words that a draft goes by, from a data file: `policies/catalog_draft/words/english.yaml`."""

from __future__ import annotations

import functools
import re
from collections.abc import Mapping
from typing import Annotated, Any, Literal, TypeAlias

from pydantic import Field, StringConstraints, ValidationError

from policies.document_types import EffectName, RoleName, Strict
from policies.error import PolicyErrors, Source
from policies.located import Located
from policies.validation_errors import explain
from policies.yaml_tree import read_yaml

_Word: TypeAlias = Annotated[str, StringConstraints(pattern=r"^[a-z0-9]{1,64}$")]
_Words: TypeAlias = frozenset[str]
_List: TypeAlias = Annotated[list[_Word], Field(max_length=1_000)]

_PART = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|[0-9]+")


class VocabularyDocument(Strict):
    """Words by what they say; see the comments in the file."""

    verbs: dict[EffectName, _List]
    objects: dict[EffectName, _List]
    several: _List
    choosing: _List
    access: _List
    creating: _List
    membership: dict[Literal["verbs", "nouns"], _List]
    handlers: _List
    handing: _List
    prepositions: _List
    prose_read: _List
    saving: _List
    places: _List
    programs: _List
    money: _List
    addressees: _List
    external: _List
    roles: dict[RoleName, _List]
    sources: _List
    addresses: _List
    decimals: _List
    types: dict[Literal["iban", "email", "url", "date", "datetime"], _List]
    results: dict[Literal["trusted", "identifiers"], _List]
    data: dict[str, _List]


class Vocabulary:
    """A document made ready for looking words up; made once, read only."""

    def __init__(self, document: VocabularyDocument) -> None:
        self.verbs = _inverted(document.verbs)
        self.objects = _inverted(document.objects)
        self.roles = _inverted(document.roles)
        self.types = _inverted(document.types)
        self.results = _inverted(document.results)
        self.data = _inverted(document.data)
        self.several: _Words = frozenset(document.several)
        self.choosing: _Words = frozenset(document.choosing)
        self.access: _Words = frozenset(document.access)
        self.creating: _Words = frozenset(document.creating)
        self.joining: _Words = frozenset(document.membership.get("verbs", ()))
        self.members: _Words = frozenset(document.membership.get("nouns", ()))
        self.handlers: _Words = frozenset(document.handlers)
        self.handing: _Words = frozenset(document.handing)
        self.prepositions: _Words = frozenset(document.prepositions)
        self.prose_read: _Words = frozenset(document.prose_read)
        self.saving: _Words = frozenset(document.saving)
        self.places: _Words = frozenset(document.places)
        self.programs: _Words = frozenset(document.programs)
        self.decimals: _Words = frozenset(document.decimals)
        self.money: _Words = frozenset(document.money)
        self.addressees: _Words = frozenset(document.addressees)
        self.external: _Words = frozenset(document.external)
        self.sources: _Words = frozenset(document.sources)
        self.addresses: _Words = frozenset(document.addresses)


def read_vocabulary(source: Source) -> Vocabulary:
    """A vocabulary from its YAML text. Raises: PolicyErrors: all that is wrong, with places."""
    nodes = read_yaml(source)
    located: Located[object] = Located(document=None, source=source, root=nodes[0])
    try:
        return Vocabulary(VocabularyDocument.model_validate(nodes[0].plain()))
    except ValidationError as refused:
        raise PolicyErrors(list(explain(located, VocabularyDocument, refused))) from None


@functools.lru_cache(maxsize=10_000)
def words_of(name: str) -> tuple[str, ...]:
    """`send_direct-message`, `SendDirectMessage` and `sendDirectMessages` as their words, singular, lower case."""
    return tuple(singular(part.lower()) for part in _PART.findall(name))


def singular(word: str) -> str:
    """Close enough for looking words up."""
    if len(word) > 4 and word.endswith("ies"):
        return word[:-3] + "y"
    if len(word) > 4 and word.endswith(("sses", "shes", "ches", "xes")):
        return word[:-2]
    if len(word) > 3 and word.endswith("s") and not word.endswith(("ss", "us", "is", "ews")):
        return word[:-1]
    return word


def _inverted(groups: Mapping[Any, list[str]]) -> Mapping[str, tuple[str, ...]]:
    found: dict[str, list[str]] = {}
    for group, words in groups.items():
        for word in words:
            for form in {word, singular(word)}:
                found.setdefault(form, []).append(group)
    return {word: tuple(dict.fromkeys(of)) for word, of in found.items()}
