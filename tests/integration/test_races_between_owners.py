"""Races between two owners over real HTTP, with a host killed in between. `make races` runs thousands."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from integration.plane import Running
from integration.races.racing import MOST_PAYS, Races, activate, examined, restore, summary

pytestmark = pytest.mark.ray


@pytest.fixture
def racing(running: Running) -> Iterator[Running]:
    before = activate(running)
    yield running
    restore(running, before)


def test_no_race_is_lost_whoever_dies(racing: Running) -> None:
    races = Races(racing, workflows=120, kill_every_s=3.0, seed=1)
    races.run(print)
    table = races.found()
    print(*summary(races.raced, table), sep="\n")
    assert races.raced.kills >= 1
    assert table.reads > 50 and table.sends > 10
    assert 0 < table.away < table.pays == races.raced.payers * MOST_PAYS


@pytest.mark.parametrize(
    ("tools", "lost"),
    [
        (["race.send", "race.read"], False),
        (["race.read", "race.send"], True),
        (["race.send", "race.read", "race.read", "race.send"], True),
        (["race.pay"] * MOST_PAYS, False),
        (["race.pay"] * (MOST_PAYS + 1), True),
    ],
)
def test_a_lost_race_would_be_seen(tools: list[str], lost: bool) -> None:
    rows = [
        {"workflow_id": "w", "agent_id": "a", "resource_id": tool, "log_id": "l", "seq": number}
        for number, tool in enumerate(tools)
    ]
    if not lost:
        examined(rows)
        return
    with pytest.raises(AssertionError):
        examined(rows)
