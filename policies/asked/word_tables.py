"""A lexicon made ready for looking words up."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TypeAlias

from policies.asked.inflections import gerund, participle, plural
from policies.asked.lexicon_document import LexiconDocument

Words: TypeAlias = tuple[str, ...]
Effects: TypeAlias = tuple[str, ...]

GAP = "*"
MAX_GAP = 4


@dataclass(frozen=True, slots=True)
class Forms:
    """What one written form may be; each part names the effects that it asks for."""

    verb: Effects = ()
    ambiguous: Effects = ()
    gerund: Effects = ()
    ambiguous_gerund: Effects = ()
    participle: Effects = ()
    noun: Effects = ()


class WordTables:
    """Forms by word, and phrases by their first word. Made once for a lexicon; read only."""

    def __init__(self, lexicon: LexiconDocument) -> None:
        found: dict[str, dict[str, list[str]]] = {}

        def ask(form: str, part: str, effect: str) -> None:
            effects = found.setdefault(form, {}).setdefault(part, [])
            if effect not in effects:
                effects.append(effect)

        phrases: dict[Words, list[str]] = {}
        for effect, words in lexicon.effects.items():
            for part, verbs in (("verb", words.verbs), ("ambiguous", words.ambiguous)):
                for verb in verbs:
                    ask(verb, part, effect)
                    ending = "gerund" if part == "verb" else "ambiguous_gerund"
                    ask(lexicon.gerunds.get(verb) or gerund(verb), ending, effect)
                    ask(lexicon.participles.get(verb) or participle(verb), "participle", effect)
            for noun in words.nouns:
                ask(noun, "noun", effect)
                ask(plural(noun), "noun", effect)
            for phrase in words.phrases:
                first, *rest = phrase.split()
                for form in (first, lexicon.gerunds.get(first) or gerund(first)):
                    phrases.setdefault((form, *rest), []).append(effect)
        self.forms: Mapping[str, Forms] = {
            form: Forms(**{part: tuple(effects) for part, effects in parts.items()})
            for form, parts in found.items()
        }
        self.phrases = _by_first({words: tuple(effects) for words, effects in phrases.items()})
        self.leaves_open = _by_first(_split(lexicon.leaves_open))
        self.no_requests = _by_first(_split(lexicon.no_requests))
        self.negation_phrases = _by_first(_split(lexicon.negation_phrases))
        self.no_negations = _by_first(_split(lexicon.no_negations))
        self.implied: Mapping[str, tuple[str, ...]] = {
            effect: tuple(others) for effect, others in lexicon.implies.items()
        }
        self.light_verbs = frozenset(
            form for verb in lexicon.light_verbs for form in (verb, lexicon.gerunds.get(verb) or gerund(verb))
        )
        self.determiners = frozenset(lexicon.determiners)
        self.prepositions = frozenset(lexicon.prepositions)
        self.verb_cues = frozenset(lexicon.verb_cues)
        self.helpers = frozenset(lexicon.helpers)
        self.pronouns = frozenset(lexicon.pronouns)
        self.subjects = frozenset(lexicon.subjects)
        self.participle_cues = frozenset(lexicon.participle_cues)
        self.negations = frozenset(lexicon.negations)
        self.resets = frozenset(lexicon.resets)
        # Most words of a task are none of these: one look tells.
        self.telling = self.negations.union(
            self.resets,
            self.forms,
            self.phrases,
            self.leaves_open,
            self.no_requests,
            self.negation_phrases,
            self.no_negations,
        )


Phrases: TypeAlias = Mapping[str, tuple[tuple[Words, Effects], ...]]


def match(phrases: Phrases, words: Words, at: int) -> tuple[int, Effects]:
    """How many words from `at` on a phrase covers, and what all matching ones ask for; (0, ()) for none.

    Cost: O(phrases with this first word); a gap looks at no more than four words.
    """
    length = 0
    effects: Effects = ()
    for phrase, asks in phrases.get(words[at], ()):
        end = _end(phrase, 1, words, at + 1)
        if end is not None:
            length = max(length, end - at)
            effects += tuple(effect for effect in asks if effect not in effects)
    return length, effects


def _end(phrase: Words, part: int, words: Words, at: int) -> int | None:
    for index in range(part, len(phrase)):
        if phrase[index] == GAP:
            ends = (_end(phrase, index + 1, words, at + gap) for gap in range(MAX_GAP + 1))
            return next((end for end in ends if end is not None), None)
        if at >= len(words) or words[at] != phrase[index]:
            return None
        at += 1
    return at


def _split(phrases: Iterable[str]) -> dict[Words, Effects]:
    return {tuple(phrase.split()): () for phrase in phrases}


def _by_first(phrases: Mapping[Words, Effects]) -> Phrases:
    firsts: dict[str, list[tuple[Words, Effects]]] = {}
    for words, effects in phrases.items():
        firsts.setdefault(words[0], []).append((words, effects))
    return {first: tuple(found) for first, found in firsts.items()}
