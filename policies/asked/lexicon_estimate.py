"""The estimate by a lexicon: which words of the task ask for something, and which only mention it.

Words are judged by what stands around them in their clause, so that turns can be estimated one by one. What is not
understood asks for nothing. It is an estimate: it knows how people usually ask, and nothing of what they mean.
"""

from __future__ import annotations

from types import MappingProxyType

from policies.asked.estimate import MAX_TASK_CHARACTERS, Asked
from policies.asked.lexicon_document import LexiconDocument
from policies.asked.word_tables import MAX_GAP, Effects, Forms, WordTables, match
from policies.asked.wording import clauses

_ALTERNATIVES = frozenset(("or", "nor"))


class LexiconEstimator:
    """An `Estimator`. Cost of making one: about 1 ms; make it once and share it."""

    def __init__(self, lexicon: LexiconDocument) -> None:
        self._tables = WordTables(lexicon)

    def estimate(self, task: str) -> Asked:
        """What one turn asks for. Cost: linear in the text, under 1 ms for 2 kB."""
        found: dict[str, str] = {}
        leaves_open = ""
        negated = False
        for clause in clauses(task[:MAX_TASK_CHARACTERS]):
            words = clause.words
            if self._tables.telling.isdisjoint(words):
                negated = negated and not clause.starts and len(words) == 1
                continue
            # `do not send, share or forward it`: the list goes on behind the comma.
            goes_on = words[0] in _ALTERNATIVES or len(words) == 1 or words[1] in _ALTERNATIVES
            leaves_open = leaves_open or self._leaves_open(words)
            negated = self._read(words, negated and not clause.starts and goes_on, found)
        return Asked(MappingProxyType(found), leaves_open)

    def _leaves_open(self, words: tuple[str, ...]) -> str:
        for at, word in enumerate(words):
            if word in self._tables.leaves_open:
                length, _ = match(self._tables.leaves_open, words, at)
                if length:
                    return " ".join(words[at : at + length])
        return ""

    def _read(self, words: tuple[str, ...], negated: bool, found: dict[str, str]) -> bool:
        """Add what one clause asks for to `found`; returns whether it ends negated."""
        tables = self._tables
        at = 0
        while at < len(words):
            word = words[at]
            if word not in tables.telling:
                at += 1
                continue
            length = 0
            if word in tables.no_negations:
                length, _ = match(tables.no_negations, words, at)
            if not length and word in tables.no_requests:
                length, _ = match(tables.no_requests, words, at)
            if length:
                at += length
                continue
            if word in tables.negation_phrases:
                length, _ = match(tables.negation_phrases, words, at)
            if length or word in tables.negations:
                negated = True
                at += length or 1
                continue
            if word in tables.resets:
                negated = False
            if not negated:
                self._ask(words, at, found)
            at += 1
        return negated

    def _ask(self, words: tuple[str, ...], at: int, found: dict[str, str]) -> None:
        tables = self._tables
        forms = tables.forms.get(words[at])
        effects = () if forms is None else self._effects(forms, words, at)
        if effects:
            self._add(effects, words[at], found)
        if words[at] in tables.phrases and not self._is_noun(words, at):
            length, effects = match(tables.phrases, words, at)
            if effects:
                self._add(effects, " ".join(words[at : at + length]), found)

    def _effects(self, forms: Forms, words: tuple[str, ...], at: int) -> Effects:
        before = words[at - 1] if at else ""
        effects: Effects = ()
        if (forms.verb or forms.ambiguous) and not self._is_noun(words, at):
            effects += forms.verb
            if forms.ambiguous and self._is_verb_place(words, at):
                effects += forms.ambiguous
        if before not in self._tables.determiners:
            effects += forms.gerund
            if forms.ambiguous_gerund and (
                before in self._tables.prepositions or self._is_verb_place(words, at)
            ):
                effects += forms.ambiguous_gerund
        if forms.participle and self._is_wanted(words, at):
            effects += forms.participle
        if forms.noun and self._is_object(words, at):
            effects += forms.noun
        return effects

    def _is_noun(self, words: tuple[str, ...], at: int) -> bool:
        """`my order`, `for transfer`."""
        if not at:
            return False
        before = words[at - 1]
        if before in self._tables.pronouns and at > 1 and words[at - 2] in self._tables.helpers:
            return False  # `help her send it`: a pronoun that may be a determiner as well
        return before in self._tables.determiners or before in self._tables.prepositions

    def _is_verb_place(self, words: tuple[str, ...], at: int) -> bool:
        """Where a word that may be a noun as well is a verb."""
        if not at:
            return True
        before = words[at - 1]
        if before in self._tables.pronouns:
            return at > 1 and words[at - 2] in self._tables.helpers
        return before in self._tables.verb_cues or before.endswith("ly")

    def _is_wanted(self, words: tuple[str, ...], at: int) -> bool:
        """`to be paid`, `get it sent`; not `the mail that they sent`."""
        before = words[max(0, at - MAX_GAP) : at]
        return (
            bool(before)
            and before[-1] not in self._tables.subjects
            and not self._tables.participle_cues.isdisjoint(before)
        )

    def _is_object(self, words: tuple[str, ...], at: int) -> bool:
        """`make a small payment`; not `make a list of payments`."""
        for index in range(at - 1, max(-1, at - 2 - MAX_GAP), -1):
            if words[index] in self._tables.light_verbs:
                return not self._is_noun(words, index)
            if words[index] in self._tables.prepositions:
                return False
        return False

    def _add(self, effects: Effects, word: str, found: dict[str, str]) -> None:
        for effect in effects:
            found.setdefault(effect, word)
            for other in self._tables.implied.get(effect, ()):
                found.setdefault(other, word)
