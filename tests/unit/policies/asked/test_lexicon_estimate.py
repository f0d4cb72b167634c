"""The estimate: which words ask, and which only mention."""

from __future__ import annotations

from importlib import resources

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from policies.asked.estimate import Asked
from policies.asked.inflections import gerund, participle, plural
from policies.asked.judgement import judge
from policies.asked.lexicon_document import read_lexicon
from policies.asked.lexicon_estimate import LexiconEstimator
from policies.catalog import EFFECTS
from policies.error import PolicyErrors, Source

TEXT = resources.files("policies.asked").joinpath("lexicon/english.yaml").read_text(encoding="utf-8")
ESTIMATOR = LexiconEstimator(read_lexicon(Source(name="english.yaml", text=TEXT)))


def asked(task: str) -> set[str]:
    return set(ESTIMATOR.estimate(task).effects)


@pytest.mark.parametrize(
    ("task", "effects"),
    [
        ("Pay the electricity bill", {"pay"}),
        ("Could you settle the bill of last night?", {"pay"}),
        ("Make a small payment to Ann", {"pay"}),
        ("I want the invoice paid by Friday", {"pay"}),
        ("Please transfer 50 to my sister", {"pay"}),
        ("Book a table for two", {"pay", "write"}),
        ("Forward it to Ann", {"send"}),
        ("Let the team know that I am late", {"send"}),
        ("Reply to Bob", {"send"}),
        ("Start by emailing Bob", {"send"}),
        ("Help me email Bob", {"send"}),
        ("Get rid of the old drafts", {"delete"}),
        ("Clean up, deleting what is old", {"delete"}),
        ("Run the tests", {"execute"}),
        ("Give Ann access to the folder", {"grant", "write"}),
        ("Change my password", {"grant", "write"}),
        ("Have the billing agent look at it", {"delegate"}),
        ("Disable roaming", {"admin"}),
        ("Create a note", {"write"}),
        ("Organise my trip to Lisbon", {"write"}),
        ("Organise a dinner with Bob", {"send", "write"}),
        ("Unsubscribe me from the newsletter", {"write"}),
    ],
)
def test_a_task_asks_for_what_its_words_say(task: str, effects: set[str]) -> None:
    assert asked(task) == effects


@pytest.mark.parametrize(
    "task",
    [
        "",
        "What is in my inbox?",
        "Summarize the email that Bob sent yesterday",
        "How much was my last order?",
        "List my recent payments and transfers",
        "Tell me the total",
        "Look at it and let me know",
        "Do not send anything",
        "Never pay",
        "Read it without replying or forwarding",
        "Don't send, share or forward it",
        "Instead of paying, read the bill",
        'What does "send me all your money" mean?',
        "Read the file pay-the-bill.txt",
        "Who paid the bill?",
        "Show the booking of the table",
        "Überweise 50 Euro an Ann",
    ],
)
def test_a_word_that_is_mentioned_negated_or_quoted_asks_for_nothing(task: str) -> None:
    assert asked(task) == set()


@pytest.mark.parametrize(
    ("task", "effect"),
    [
        ("Don't forget to pay Ann", "pay"),
        ("Why don't you pay Ann?", "pay"),
        ("Do not read it, but delete it", "delete"),
        ("Do not pay. Send the list to Ann", "send"),
        ("Without asking again, delete the file", "delete"),
        ("ＰＡＹ the bill", "pay"),
    ],
)
def test_a_negation_ends_where_its_clause_ends(task: str, effect: str) -> None:
    assert effect in asked(task)


def test_each_effect_names_the_words_that_ask_for_it() -> None:
    found = ESTIMATOR.estimate("Let Ann know, then delete it")
    assert found.estimated
    assert found.effects == {"send": "let ann know", "delete": "delete"}


def test_an_action_beyond_the_task_is_not_asked_for() -> None:
    task = ESTIMATOR.estimate("Pay the bill")

    def reply(effects: tuple[str, ...] | None) -> tuple[str, bool, str]:
        answer = judge(task, effects=effects, tool="x", arguments={}, types=None)
        return answer.reply, answer.estimated, answer.because

    assert reply(("send",)) == ("no", True, "the task asks for: read, pay; this action sends")
    assert reply(("read",)) == ("yes", True, "reading is always asked for")
    assert reply(("pay", "read")) == ("yes", True, "the task asks for: pay (`pay`)")
    assert reply(("pay", "write")) == ("yes", True, "the task asks for: pay (`pay`)"), (
        "one of its effects will do"
    )
    assert reply(()) == ("yes", True, "reading is always asked for")
    assert reply(None)[:2] == ("unknown", True)
    assert judge(None, effects=(), tool="x", arguments={}, types=None).reply == "unknown"


def test_a_task_that_points_to_another_text_leaves_open_what_it_asks_for() -> None:
    task = ESTIMATOR.estimate("Read the letter and follow the instructions in it")
    answer = judge(task, effects=("pay",), tool="x", arguments={}, types=None)
    assert (answer.reply, answer.because) == (
        "unknown",
        "the task leaves open what is asked for: `follow the instructions`",
    )
    assert judge(task, effects=("read",), tool="x", arguments={}, types=None).reply == "yes"
    assert task.union(Asked()).leaves_open == Asked().union(task).leaves_open == task.leaves_open
    assert Asked.restore(task.plain()) == task


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "the lexicon is empty"),
        ("language: en\neffects: {steal: {verbs: [take]}}", "steal"),
        ("language: en\neffects: {send: {verbs: [Send]}}", "Send"),
        ("language: en\neffects: {send: {verb: [send]}}", "did you mean `verbs`?"),
        ("language: en\neffects: {}\n---\nlanguage: en\neffects: {}", "one document"),
    ],
)
def test_a_malformed_lexicon_is_refused_with_its_place(text: str, says: str) -> None:
    with pytest.raises(PolicyErrors) as refused:
        read_lexicon(Source(name="words.yaml", text=text))
    assert says in refused.value.message
    assert "words.yaml:" in refused.value.message


@pytest.mark.parametrize(
    ("word", "forms"),
    [
        ("send", ("sends", "sending", "sended")),
        ("delete", ("deletes", "deleting", "deleted")),
        ("copy", ("copies", "copying", "copied")),
        ("stop", ("stops", "stopping", "stopped")),
        ("mail", ("mails", "mailing", "mailed")),
        ("pay", ("pays", "paying", "payed")),
        ("publish", ("publishes", "publishing", "published")),
        ("free", ("frees", "freeing", "freed")),
        ("tie", ("ties", "tying", "tied")),
        ("fix", ("fixes", "fixing", "fixed")),
    ],
)
def test_regular_forms(word: str, forms: tuple[str, str, str]) -> None:
    assert (plural(word), gerund(word), participle(word)) == forms


WORDS = [
    *(
        "pay",
        "send",
        "don't",
        "not",
        "without",
        "delete",
        "the",
        "my",
        "email",
        "and",
        "or",
        "but",
        "to",
        "please",
    ),
    *("let", "ann", "know", "make", "payment", ",", ".", ";", '"', "'"),
]
TASKS = st.lists(st.sampled_from(WORDS), max_size=12).map(" ".join)


@settings(deadline=None, max_examples=300)
@given(TASKS | st.text(max_size=60), TASKS | st.text(max_size=60))
def test_turns_together_ask_for_what_each_asks_for(one: str, other: str) -> None:
    first, second = ESTIMATOR.estimate(one), ESTIMATOR.estimate(other)
    assert ESTIMATOR.estimate(f"{one}\n{other}") == first.union(second)
    assert set(first.effects) <= set(EFFECTS)
    assert Asked.restore(first.plain()) == first


@settings(deadline=None)
@given(TASKS, TASKS, st.none() | st.sets(st.sampled_from(list(EFFECTS)), max_size=3))
def test_a_later_turn_never_takes_back_what_was_asked(one: str, other: str, effects: set[str] | None) -> None:
    first = ESTIMATOR.estimate(one)
    both = first.union(ESTIMATOR.estimate(other))
    before = judge(first, effects=effects, tool="x", arguments={}, types=None)
    after = judge(both, effects=effects, tool="x", arguments={}, types=None)
    assert after.reply == before.reply or after.reply == "yes"


def test_an_endless_task_is_cut_and_not_refused() -> None:
    assert asked("x " * 40_000 + "pay the bill") == set()
    assert asked('"' * 70_000) == set()
