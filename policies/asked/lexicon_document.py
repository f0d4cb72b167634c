"""How a lexicon is written: words by effect, and the small words that tell a request from a mention.

The lexicon that comes with this package is `policies/asked/lexicon/english.yaml`; this module does no I/O:

    text = importlib.resources.files("policies.asked").joinpath("lexicon/english.yaml").read_text("utf-8")
    estimator = LexiconEstimator(read_lexicon(Source(name="english.yaml", text=text)))
"""

from __future__ import annotations

from typing import Annotated, TypeAlias

from pydantic import Field, StringConstraints, ValidationError

from policies.document_types import EffectName, Strict
from policies.error import PolicyError, PolicyErrors, Source
from policies.located import Located
from policies.validation_errors import explain
from policies.yaml_tree import read_yaml

_Word: TypeAlias = Annotated[str, StringConstraints(pattern=r"^[a-z]+('[a-z]+)?$", max_length=64)]
_Phrase: TypeAlias = Annotated[
    str, StringConstraints(pattern=r"^[a-z']+( ([a-z']+|\*))* [a-z']+$", max_length=128)
]
_Words: TypeAlias = Annotated[list[_Word], Field(max_length=1_000)]
_Phrases: TypeAlias = Annotated[list[_Phrase], Field(max_length=1_000)]


class EffectWords(Strict):
    """What asks for one effect."""

    verbs: _Words = Field(default_factory=list, description="ask wherever they stand as a verb")
    ambiguous: _Words = Field(
        default_factory=list, description="nouns as often as verbs: ask only where a verb must stand"
    )
    nouns: _Words = Field(default_factory=list, description="ask after a light verb: `make a payment`")
    phrases: _Phrases = Field(default_factory=list, description="`*` stands for up to four words")


class LexiconDocument(Strict):
    """One language."""

    language: str
    effects: dict[EffectName, EffectWords]
    implies: dict[EffectName, list[EffectName]] = Field(
        default_factory=dict, description="what cannot be done without doing the other"
    )
    participles: dict[_Word, _Word] = Field(default_factory=dict, description="irregular ones: `send: sent`")
    gerunds: dict[_Word, _Word] = Field(default_factory=dict, description="`submit: submitting`")
    light_verbs: _Words = Field(default_factory=list)
    determiners: _Words = Field(default_factory=list, description="make a noun of the word after them")
    prepositions: _Words = Field(default_factory=list, description="so do these; a gerund stays a verb")
    verb_cues: _Words = Field(default_factory=list, description="words after which a verb stands")
    helpers: _Words = Field(
        default_factory=list, description="`help me book`, with one of `pronouns` after it"
    )
    pronouns: _Words = Field(default_factory=list)
    subjects: _Words = Field(default_factory=list, description="`they sent` tells, and does not ask")
    participle_cues: _Words = Field(default_factory=list, description="`be sent`, `want it sent`")
    negations: _Words = Field(default_factory=list)
    negation_phrases: _Phrases = Field(default_factory=list)
    no_negations: _Phrases = Field(default_factory=list, description="`do not forget to` asks")
    resets: _Words = Field(default_factory=list, description="end what a negation reaches: `but`")
    leaves_open: _Phrases = Field(
        default_factory=list, description="`follow the instructions`: what is asked for stands elsewhere"
    )
    no_requests: _Phrases = Field(default_factory=list, description="`tell me` asks for an answer")


def read_lexicon(source: Source) -> LexiconDocument:
    """A lexicon from its YAML text, at most 1 MiB.

    Raises: PolicyErrors: all that is wrong, with places and hints.
    """
    nodes = read_yaml(source)
    located: Located[object] = (
        Located(document=None, source=source, root=nodes[0]) if nodes else _empty(source)
    )
    if len(nodes) > 1:
        raise PolicyErrors([located.error((), "second_document", "a lexicon is one document")])
    try:
        return LexiconDocument.model_validate(nodes[0].plain())
    except ValidationError as refused:
        raise PolicyErrors(list(explain(located, LexiconDocument, refused))) from None


def _empty(source: Source) -> Located[object]:
    message = "the lexicon is empty"
    raise PolicyErrors(
        [PolicyError(file=source.name, line=1, column=1, code="not_a_document", message=message)]
    )
