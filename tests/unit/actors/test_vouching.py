"""What a home owner says of its agents to whoever decides elsewhere."""

from __future__ import annotations

from pathlib import Path

import pytest
from unit.actors.owners import Bench

from actors.journal import FencedError
from actors.messages import BATCH, STALE_RECORD, VOUCHED, DecisionRequest, Vouch
from actors.vouching import vouch


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    bench = Bench(tmp_path / "host-000.db")
    bench.register("bot", version="1.4")
    return bench


def asked(bench: Bench, *requests: DecisionRequest) -> list[tuple[object, ...]]:
    tag, answers = vouch(bench.owner, bench.bundle.digest, [tuple(request) for request in requests])
    assert tag == BATCH
    found: list[tuple[object, ...]] = answers
    return found


def test_it_vouches_for_the_current_record_and_writes_nothing(bench: Bench) -> None:
    before = len(bench.rows())
    (answer,) = asked(bench, bench.request())
    assert answer == (VOUCHED, *Vouch(bench.version("bot"), "1.4", None, None))
    assert len(bench.rows()) == before


def test_an_old_version_comes_back_with_the_current_record_and_so_does_its_whole_group(bench: Bench) -> None:
    old = bench.version("bot")
    bench.register("bot", labels=("new",))
    bench.register("other")
    stale, alone, together = asked(
        bench,
        bench.request(record_version=old, group=3),
        bench.request("other"),
        bench.request("other", group=3),
    )
    assert stale[:2] == (STALE_RECORD, bench.version("bot")) and '"new"' in str(stale[2])
    assert alone[0] == VOUCHED and together[0] == STALE_RECORD


def test_it_vouches_for_nobody_whom_it_does_not_know(bench: Bench) -> None:
    (answer,) = asked(bench, bench.request("nobody"))
    assert answer == (VOUCHED, *Vouch(0, "", "unknown_agent", None))
    (answer,) = asked(bench, bench.request("nobody", record_version=9))
    assert answer == (STALE_RECORD, 0, None)


def test_it_vouches_for_nobody_while_it_has_lost_the_control_store(bench: Bench) -> None:
    bench.world.pass_s(3)
    (answer,) = asked(bench, bench.request())
    assert Vouch._make(answer[1:]).refusal == "lease_expired"  # type: ignore[arg-type]


def test_an_owner_that_was_superseded_vouches_for_nobody(bench: Bench) -> None:
    old = bench.owner
    bench.reopen()
    with pytest.raises(FencedError):
        vouch(old, None, [])
    assert old.journal.fenced and not old.journal.usable
