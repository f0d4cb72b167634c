"""What an owner's workflows know of their values, across restarts."""

from __future__ import annotations

import random
from pathlib import Path

import pytest
from unit.policies.origin.workflow import HASHER

from actors import origin_journal
from actors.agent_journal import open_agent_journal
from actors.origins import WorkflowOrigins
from policies.origin import Fact, told_by_result, told_by_task, units_of
from policies.origin.happened import Acted, AskedFor, Happened, Returned

KEY = b"k" * 32
WORDS = [
    "ann@bank.example",
    "GB29NWBK60161331926819",
    "Mallory Evergreen",
    "hello there",
    "user_42",
    "https://x.example/y",
]


def anything(dice: random.Random, number: int) -> Happened:
    said = dice.sample(WORDS, 2)
    match dice.randrange(4):
        case 0:
            return AskedFor(told_by_task(f"please use {said[0]}", HASHER))
        case 1:
            note = "x" * 70_000 if dice.random() < 0.05 else said[0]
            return Acted(units_of({"to": said[1], "note": note}, None, HASHER), number, dice.random() < 0.3)
        case _:
            many = [f"n{number}{place}@x.example" for place in range(400)] if dice.random() < 0.1 else []
            told = told_by_result(
                {"a": said[0], "b": said[1], "c": many},
                {"default": "untrusted", "/a": "trusted"},
                default="untrusted",
                hasher=HASHER,
                complete=dice.random() < 0.95,
            )
            return Returned(told, number, dice.choice(list(Fact)), dice.random() < 0.8)


def test_an_owner_that_restarts_at_any_time_knows_what_one_that_does_not_restart_knows(
    tmp_path: Path,
) -> None:
    dice = random.Random(7)
    for round_ in range(6):
        journal = open_agent_journal(tmp_path / f"{round_}.db", new_log_id="log")
        stays = WorkflowOrigins(open_agent_journal(tmp_path / f"{round_}-stays.db", new_log_id="log"), KEY)
        restarts = WorkflowOrigins(journal, KEY)
        for number in range(1, 80):
            happened = [anything(dice, number * 10 + place) for place in range(dice.randint(1, 3))]
            for origins in (stays, restarts):
                for each in happened:
                    origins.tell("wfl_1", each, since_us=0)
                with origins._journal.transaction() as step:
                    origins.save(step, now_us=number)
            if dice.random() < 0.5:
                restarts = WorkflowOrigins(journal, KEY)
            one, other = (each.of("wfl_1", since_us=0)._state for each in (stays, restarts))
            assert (one.flags, one.sources, one.awaited) == (other.flags, other.sources, other.awaited)
            for kind in ("names", "words", "pairs"):
                assert getattr(one, kind).of == getattr(other, kind).of
        journal.close()
        stays._journal.close()


def test_whatever_happens_first_leaves_a_state_so_that_it_is_forgotten_some_day(tmp_path: Path) -> None:
    journal = open_agent_journal(tmp_path / "host.db", new_log_id="log")
    origins = WorkflowOrigins(journal, KEY)
    for number in (1, 2):
        origins.tell("wfl_1", Acted(units_of({"to": "ann"}, None, HASHER), number, True), since_us=0)
    with journal.transaction() as step:
        origins.save(step, now_us=5)
    assert origin_journal.over(journal, before_us=6, limit=9) == [("wfl_1",)]
    journal.close()


def test_workflows_that_know_much_rest_sooner(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("actors.origins.DIGESTS_AWAKE", 2_000)
    journal = open_agent_journal(tmp_path / "host.db", new_log_id="log")
    origins = WorkflowOrigins(journal, KEY)
    text = " ".join(f"user_{number}" for number in range(400))
    told = told_by_result(text, {}, default="untrusted", hasher=HASHER, complete=True)
    for number in range(20):
        origins.tell(f"wfl_{number}", Returned(told, number, Fact.TRUSTED, True), since_us=0)
        with journal.transaction() as step:
            origins.save(step, now_us=number)
        origins.rest_surplus()
        assert sum(entry.origins.digests for entry in origins._awake.values()) == origins._digests <= 2_000
    assert 0 < len(origins._awake) < 20
    journal.close()
