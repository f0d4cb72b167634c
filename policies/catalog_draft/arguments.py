"""What each parameter is for (its role) and what its values look like (its type), by name, type and tool."""

from __future__ import annotations

import re

from policies.catalog_draft.descriptions import Field
from policies.catalog_draft.proposal import Proposal, ProposedArgument
from policies.catalog_draft.vocabulary import Vocabulary, words_of

_TYPES = {
    "integer": "integer", "int": "integer", "number": "number", "float": "number", "double": "number",
    "boolean": "boolean", "bool": "boolean", "array": "list", "list": "list", "tuple": "list", "set": "list",
    "object": "object", "dict": "object", "string": "string", "str": "string",
}  # fmt: skip
_FORMATS = {
    "email": "email",
    "idn-email": "email",
    "uri": "url",
    "url": "url",
    "date": "date",
    "date-time": "datetime",
}
_OPTIONAL = re.compile(r"^(?:typing\.)?optional\[(.+)\]$|^(.+?)\s*\|\s*none$")
_NUMBERS = frozenset(("integer", "number", "decimal"))
_REACHES = frozenset(("send", "pay", "grant", "delegate"))
# Words of prose that say what a text is: `IBAN of the recipient`.
_PROSE = re.compile(r"[A-Za-z]+")


def propose_argument(
    parameter: Field, effects: tuple[str, ...] | None, boundary: str | None, vocabulary: Vocabulary
) -> ProposedArgument:
    """Type and role of one parameter."""
    words = words_of(parameter.name)
    type_ = _type(parameter, words, vocabulary)
    return ProposedArgument(
        type=type_,
        role=_role(parameter, words, type_, effects, boundary, vocabulary),
        required=parameter.required,
    )


def _type(parameter: Field, words: tuple[str, ...], vocabulary: Vocabulary) -> str:
    written = parameter.type
    optional = _OPTIONAL.match(written)
    if optional is not None:
        written = optional[1] or optional[2]
    plain = _TYPES.get(written.split("[")[0], "any")
    if plain == "number" and words and words[-1] in vocabulary.decimals:
        return "decimal"
    if plain != "string":
        return plain
    if parameter.format in _FORMATS:
        return _FORMATS[parameter.format]
    for word in words[-1:]:
        if word in vocabulary.types:
            return vocabulary.types[word][0]
    prose = {word.lower() for word in _PROSE.findall(parameter.description)}
    return "iban" if "iban" in prose and prose.isdisjoint(("name", "text", "subject")) else "string"


def _role(
    parameter: Field,
    words: tuple[str, ...],
    type_: str,
    effects: tuple[str, ...] | None,
    boundary: str | None,
    vocabulary: Vocabulary,
) -> Proposal[str]:
    name, reads = parameter.name, effects == ("read",)
    reaches = effects is None or not _REACHES.isdisjoint(effects)
    for word in (*words, "".join(words[-2:])):
        if "secret" in vocabulary.roles.get(word, ()) and type_ not in _NUMBERS | {"boolean"}:
            return Proposal(value="secret", because=f"`{word}` in its name")
    if type_ == "boolean":
        return Proposal(value="query", because="it is a switch", check=not reads)
    comes_from = next((word for word in words if word in vocabulary.sources), None)
    if comes_from is not None and type_ not in _NUMBERS:
        return Proposal(value="query" if reads else "target", because=f"`{comes_from}`: where it comes from")
    if type_ in ("url", "email", "iban") and not reads:
        return Proposal(value="destination", because=f"it is an {type_}" if type_ != "url" else "it is a URL")
    word, role = _by_words(words, type_, vocabulary)
    if not reads and role in (None, "target", "profile", "quantity") and type_ not in _NUMBERS:
        # `receiver_id`, `to_account_number`: who it is for counts more than what it is.
        for one in words:
            if "destination" in vocabulary.roles.get(one, ()) and (reaches or one == words[0] == "to"):
                return Proposal(value="destination", because=f"`{one}` in its name")
    if not reads and role == "query" and type_ in _NUMBERS:
        return Proposal(value="quantity", because="it is a number that is written")
    if role == "destination":
        # A URL that is fetched carries what is written into it; an address that is looked up goes nowhere.
        if reads and type_ != "url" and (boundary != "external" or type_ in ("email", "iban")):
            return Proposal(value="query", because=f"`{word}` in its name, and it only reads")
        return Proposal(value="destination", because=f"`{word}` in its name")
    if reaches and role in (None, "target", "profile"):
        addressed = next((one for one in reversed(words) if one in vocabulary.addresses), None)
        if addressed is not None and type_ not in _NUMBERS and words[-1] not in ("date", "time"):
            return Proposal(
                value="destination", because=f"`{addressed}` of a tool that reaches others", check=True
            )
    if reads and role == "content":
        return Proposal(value="query", because="it only reads")
    if role is not None:
        return Proposal(value=role, because=f"`{word}` in its name")
    if type_ in _NUMBERS:
        return Proposal(value="quantity", because="it is a number")
    if parameter.choices:
        return Proposal(value="query", because="one of a fixed list", check=not reads)
    if reads:
        return Proposal(value="query", because="no word tells, and the tool only reads", check=True)
    return Proposal(value=None, because=f"no word of `{name}` tells; checked as a destination", check=True)


def _by_words(words: tuple[str, ...], type_: str, vocabulary: Vocabulary) -> tuple[str, str | None]:
    """The last word that tells; an addressee anywhere (`recipient_id`) tells more."""
    for word in words:
        if word in vocabulary.addressees:
            return word, "destination"
    compounds = ["".join(words[-2:])] if len(words) > 1 else []  # `first_name` is a `firstname`
    for word in (*compounds, *reversed(words)):
        roles = vocabulary.roles.get(word, ())
        if type_ in _NUMBERS:
            numeric = [role for role in roles if role in ("quantity", "time", "query")]
            if numeric or "target" in roles:
                return word, (numeric or ["target"])[0]
            continue
        fitting = [role for role in roles if role != "quantity"]
        if fitting:
            return word, fitting[0]
    return "", None
