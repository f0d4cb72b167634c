"""What agent-safety costs: measured on decisions that the pack looks at and allows."""

from __future__ import annotations

import pytest

from benchmarks import agent_safety


def test_decisions_are_measured_with_and_without_the_pack() -> None:
    found = agent_safety._decisions(rounds=1, batches=len(agent_safety._ACTIONS))

    assert set(found) == {agent_safety.WITHOUT, agent_safety.WITH_PACK}
    assert set(found[agent_safety.WITHOUT]) == {"prepare", "decide", "report"}
    assert set(found[agent_safety.WITH_PACK]) == {"prepare", "decide", "read", "report"}
    assert all(cost > 0 for steps in found.values() for cost in steps.values())


@pytest.mark.parametrize(
    "name",
    [
        "by the task's words",
        "by a scope of effects",
        "by a scope of effects, tools, objects, counts",
    ],
)
def test_what_is_judged_is_asked_for(name: str) -> None:
    answer = agent_safety._judgements()[name]()

    assert getattr(answer, "reply", None) == "yes"
