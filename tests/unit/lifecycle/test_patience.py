"""What the supervisor does about what it sees, and when."""

from __future__ import annotations

import itertools

import pytest

from controlplane.lifecycle.patience import LONGEST_PATIENCE_S, PATIENCE_S, STARTER_RUNS, Patience, Step
from controlplane.lifecycle.readiness import Answer, Readiness

WELL = Answer(
    readiness=Readiness.READY, body={"hosts": {"host-000": "ready", "host-001": "ready"}, "evidence": "ready"}
)
DENYING = Answer(
    readiness=Readiness.READY, body={"hosts": {"host-000": "ready", "host-001": "journal_unavailable"}}
)
LOST = Answer(readiness=Readiness.READY, body={"hosts": {"host-000": "ready", "host-001": "node_lost"}})
SILENT_HOST = Answer(
    readiness=Readiness.READY, body={"hosts": {"host-000": "ready", "host-001": "owner_timeout"}}
)
SILENT_WRITER = Answer(
    readiness=Readiness.READY, body={"hosts": {"host-000": "ready"}, "evidence": "owner_timeout"}
)
GONE = Answer(readiness=Readiness.SILENT, reason="no answer")


def steps(answer: Answer, *, seconds: int) -> list[tuple[int, Step]]:
    """What is done, second by second, about an answer that stays the same."""
    patience = Patience(0.0)
    done = []
    for now_s in range(seconds):
        step = patience.step(answer, now_s)
        if step is not Step.WAIT:
            done.append((now_s, step))
            patience.tried(now_s)
    return done


def test_nothing_is_done_while_all_is_well() -> None:
    assert steps(WELL, seconds=1000) == []


def test_a_host_that_only_its_journal_or_its_lost_node_keeps_from_deciding_is_left_alone() -> None:
    assert steps(DENYING, seconds=1000) == steps(LOST, seconds=1000) == []


@pytest.mark.parametrize("answer", [SILENT_HOST, SILENT_WRITER])
def test_a_silent_host_or_evidence_writer_never_costs_the_others_their_cluster(answer: Answer) -> None:
    done = steps(answer, seconds=10_000)
    assert {step for _, step in done} == {Step.START_SERVICE}
    pauses = [later - sooner for (sooner, _), (later, _) in itertools.pairwise(done)]
    assert done[0][0] == PATIENCE_S + 1
    assert pauses == sorted(pauses) and pauses[-1] <= LONGEST_PATIENCE_S + 1


def test_a_service_that_is_gone_is_started_again_twice_and_then_the_cluster_is() -> None:
    done = steps(GONE, seconds=200)
    assert [step for _, step in done][: STARTER_RUNS + 1] == [
        *[Step.START_SERVICE] * STARTER_RUNS,
        Step.START_CLUSTER,
    ]


def test_a_moment_of_silence_is_forgiven() -> None:
    patience = Patience(0.0)
    for now_s in range(1000):
        answer = WELL if now_s % 15 == 0 else GONE
        assert patience.step(answer, now_s) is Step.WAIT


def test_attempts_for_a_silent_host_do_not_count_against_the_service() -> None:
    patience = Patience(0.0)
    for now_s in range(500):
        if patience.step(SILENT_HOST, now_s) is not Step.WAIT:
            patience.tried(now_s)
    patience.tried(500.0)
    assert patience.step(GONE, 500.0 + PATIENCE_S + 1) is Step.START_SERVICE
