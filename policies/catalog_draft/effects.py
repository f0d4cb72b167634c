"""What a tool does and whom it reaches, as far as its name, its parameters and its own description tell.

The name counts most, then parameters, which are what is called, and prose last: whoever writes a tool can write
anything there, so prose and hints may add effects and never take one away.
"""

from __future__ import annotations

import re

from policies.catalog import EFFECTS
from policies.catalog_draft.descriptions import ToolDescription
from policies.catalog_draft.proposal import Proposal
from policies.catalog_draft.vocabulary import Vocabulary, singular, words_of

MAX_SENTENCES = 40

_SENTENCE = re.compile(r"[.\n;]\s*")
_FIRST = re.compile(r"\W*([A-Za-z]+)(?![A-Za-z]*\s*[:=(])\s*([a-z]*)")
_NO_VERB_BEFORE = frozenset(
    ("is", "are", "of", "for", "in", "can", "must", "will", "should", "may", "to", "id", "name")
)
_BRING_WRITE = frozenset(("pay", "grant", "admin"))
_CHANGING = frozenset(EFFECTS) - {"read"}


class _Evidence:
    """Effects with the first reason for each."""

    def __init__(self) -> None:
        self.because: dict[str, str] = {}
        self.unsure: list[str] = []

    def add(self, effect: str, because: str, *, check: bool = False) -> None:
        if effect not in self.because:
            self.because[effect] = because
            if check:
                self.unsure.append(effect)

    @property
    def changes(self) -> bool:
        return not _CHANGING.isdisjoint(self.because)


def propose_effects(tool: ToolDescription, vocabulary: Vocabulary) -> Proposal[tuple[str, ...]]:
    """The effects of one tool; left open where nothing tells."""
    found = _Evidence()
    own = words_of(_last_part(tool.name))
    if own and own[0] in vocabulary.several:
        return Proposal(value=None, because=f"`{own[0]}` in its name: it may do several things", check=True)
    _from_name(tool, vocabulary, found)
    _from_prose(tool, vocabulary, found)
    _from_parameters(tool, vocabulary, found)
    hints = tool.hints
    if hints.get("destructiveHint"):
        found.add("delete", "its own hint says that it destroys", check=True)
    if hints.get("readOnlyHint") is False and found.because and not found.changes:
        return Proposal(
            value=None, because="it looks like a read, but its own hint says that it changes", check=True
        )
    chooses = next(
        (one.name for one in tool.parameters if not vocabulary.choosing.isdisjoint(words_of(one.name))), ""
    )
    if chooses and not found.changes:
        return Proposal(value=None, because=f"`{chooses}` chooses what it does", check=True)
    if not found.because:
        return Proposal(value=None, because="no word tells what it does", check=True)
    if hints.get("readOnlyHint") and found.changes:
        found.unsure.append("its hint `readOnlyHint`, which says otherwise")
    for effect in _BRING_WRITE & found.because.keys():
        found.add("write", f"whoever {effect}s changes records")
    effects = tuple(effect for effect in EFFECTS if effect in found.because)
    reasons = "; ".join(f"{effect}: {found.because[effect]}" for effect in effects)
    unsure = f"; unsure of {', '.join(found.unsure)}" if found.unsure else ""
    return Proposal(value=effects, because=reasons + unsure, check=bool(found.unsure))


def propose_boundary(
    tool: ToolDescription, effects: tuple[str, ...] | None, vocabulary: Vocabulary
) -> Proposal[str]:
    """`external`, or left open: nothing in a description proves that a tool stays inside."""
    if tool.hints.get("openWorldHint"):
        return Proposal(value="external", because="its own hint says that it reaches an open world")
    for effect in ("send", "pay"):
        if effect in (effects or ()):
            return Proposal(value="external", because=f"a tool that can {effect} reaches others")
    names = [tool.group, tool.name, *(one.name for one in tool.parameters)]
    for name in names:
        for word in words_of(name):
            if word in vocabulary.external:
                return Proposal(value="external", because=f"`{word}` in `{name}`")
    return Proposal(
        value=None, because="nothing tells whether it stays inside; open counts as external", check=True
    )


def _from_name(tool: ToolDescription, vocabulary: Vocabulary, found: _Evidence) -> None:
    words = words_of(_last_part(tool.name))
    verb = words[0] if words and words[0] in vocabulary.verbs else None
    if verb is None and _prose_verb(tool.description, vocabulary) is None:
        # `crm_get_customer`: the first word is whose tool it is; a noun that is a verb elsewhere is worth a look.
        verb = next((word for word in words if word in vocabulary.verbs), None)
    elif verb is None:
        verb = next((w for w in words[:-1] if w in vocabulary.verbs and w not in vocabulary.objects), None)
    if verb is None:
        return
    if verb in vocabulary.objects and words[1:2] and words[1] in vocabulary.verbs and verb == words[0]:
        # `message_get`: the noun that a group of tools is about; `post_comment` is both.
        for effect in vocabulary.verbs[verb] if vocabulary.verbs[words[1]] != ("read",) else ():
            found.add(effect, f"`{verb}` in its name")
        verb = words[1]
    at = words.index(verb)
    rest = words[at + 1 :]
    if verb in vocabulary.handing and not vocabulary.handlers.isdisjoint(rest):
        found.add(
            "delegate", f"`{verb}` to `{next(w for w in rest if w in vocabulary.handlers)}` in its name"
        )
        return
    effects = vocabulary.verbs[verb]
    objects = _objects(rest, vocabulary)
    money = next((word for word in rest if word in vocabulary.money), None)
    if "send" in effects and money is not None:
        found.add("pay", f"`{verb}` with `{money}` in its name")
        return
    for effect in effects:
        found.add(effect, f"`{verb}` in its name", check=at > 0)
    if not found.changes:
        return
    if verb in vocabulary.joining and not vocabulary.members.isdisjoint(rest[:2]):
        found.add("grant", f"`{verb}` with who belongs to it")
    for word in objects:
        for effect in vocabulary.objects.get(word, ()):
            if effect == "send" and verb not in vocabulary.creating:
                continue  # to delete, label or move a message sends none
            if effect == "execute" and verb not in vocabulary.creating:
                continue
            found.add(effect, f"`{verb}` with `{word}` in its name")


def _last_part(name: str) -> str:
    return re.split(r"[./:]", name)[-1]


def _objects(words: tuple[str, ...], vocabulary: Vocabulary) -> tuple[str, ...]:
    for index, word in enumerate(words):
        if word in vocabulary.prepositions:
            return words[:index]
    return words


def _from_prose(tool: ToolDescription, vocabulary: Vocabulary, found: _Evidence) -> None:
    first = _prose_verb(tool.description, vocabulary)
    if first is not None and not found.because:
        for effect in ("read",) if first in vocabulary.prose_read else vocabulary.verbs[first]:
            found.add(effect, f"its description starts with `{first}`", check=effect != "read")
    for sentence in _SENTENCE.split(tool.description)[:MAX_SENTENCES]:
        opening = _FIRST.match(sentence)
        if opening is None or opening[2] in _NO_VERB_BEFORE:
            continue
        word = opening[1].lower()
        verb = singular(word)
        if verb == word or verb in vocabulary.prose_read or verb in words_of(tool.name):
            continue  # only `sends`, `deletes`: an imperative may be said to whoever reads
        for effect in vocabulary.verbs.get(verb, ()):
            found.add(effect, f"its description says `{word}`", check=True)


def _prose_verb(description: str, vocabulary: Vocabulary) -> str | None:
    opening = _FIRST.match(description)
    verb = singular(opening[1].lower()) if opening else ""
    return verb if verb in vocabulary.verbs or verb in vocabulary.prose_read else None


def _from_parameters(tool: ToolDescription, vocabulary: Vocabulary, found: _Evidence) -> None:
    names = {one.name: words_of(one.name) for one in tool.parameters}
    for name, words in names.items():
        if words and words[-1] in vocabulary.programs and one_text(tool, name):
            found.add("execute", f"`{name}` may be run", check=True)
        if not vocabulary.saving.isdisjoint(words) and not vocabulary.places.isdisjoint(words):
            found.add("write", f"`{name}` says where to put it", check=True)
    if not found.changes:
        return
    for name, words in names.items():
        told = next((word for word in words if word in vocabulary.access), None)
        if told is not None and "secret" not in {r for w in words for r in vocabulary.roles.get(w, ())}:
            found.add("grant", f"`{name}` says who may do what", check=True)
    if "delete" not in found.because or len(found.because) > 1:
        for name, words in names.items():
            if not vocabulary.addressees.isdisjoint(words) and "pay" not in found.because:
                found.add("send", f"`{name}` names people who hear of it")
    amounts = [name for name, words in names.items() if words and words[-1] == "amount"]
    payees = [
        name
        for name, words in names.items()
        if any("destination" in vocabulary.roles.get(w, ()) for w in words)
    ]
    if amounts and payees:
        found.add("pay", f"`{amounts[0]}` goes to `{payees[0]}`", check=True)


def one_text(tool: ToolDescription, name: str) -> bool:
    return any(one.name == name and one.type in ("", "string", "str") for one in tool.parameters)
