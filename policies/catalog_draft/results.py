"""What a tool's results are worth, and which data they hold, by the names of their fields."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from policies.catalog_draft.descriptions import ToolDescription
from policies.catalog_draft.proposal import Proposal
from policies.catalog_draft.vocabulary import Vocabulary, words_of

_FACTS = ("boolean", "bool", "integer", "int", "number", "float")
_NONE: Mapping[str, str] = MappingProxyType({})


def propose_returns(
    tool: ToolDescription, effects: tuple[str, ...] | None, boundary: str | None, vocabulary: Vocabulary
) -> Proposal[Mapping[str, str]]:
    """Trust by JSON pointer; whatever is not named is untrusted, as the default of reads is."""
    if effects is not None and "read" not in effects and not tool.results:
        return Proposal(value=None, because="it is not a read, and its results are not described")
    fields: dict[str, str] = {"default": "untrusted"}
    if boundary == "external":
        return Proposal(
            value=fields, because="what comes from outside is untrusted, whatever its fields are called"
        )
    for one in tool.results or ():
        trust = _trust(words_of(one.name), one.type, vocabulary)
        if trust is not None:
            fields["/" + one.name.replace("~", "~0").replace("/", "~1")] = trust
    told = (
        "ids, times and numbers are the system's own; names are chosen by others" if len(fields) > 1 else ""
    )
    return Proposal(
        value=fields,
        because=told or "reads are untrusted until somebody says otherwise",
        check=len(fields) > 1,
    )


def propose_data(tool: ToolDescription, vocabulary: Vocabulary) -> Proposal[tuple[str, ...]]:
    """Data classes that a word names outright; nothing proves that there are none."""
    found: dict[str, str] = {}
    for name in (tool.name, *(one.name for one in tool.results or ())):
        for word in words_of(name):
            for class_ in vocabulary.data.get(word, ()):
                found.setdefault(class_, f"`{word}` in `{name}`")
    if not found:
        return Proposal(
            value=None, because="no word names a kind of data; left open, which counts as every kind"
        )
    because = "; ".join(f"{class_}: {why}" for class_, why in found.items())
    return Proposal(value=tuple(found), because=because, check=True)


def _trust(words: tuple[str, ...], type_: str, vocabulary: Vocabulary) -> str | None:
    if type_ in _FACTS:
        return "trusted"
    for word in reversed(words):
        known = vocabulary.results.get(word)
        if known is not None:
            return known[0]
    return None
