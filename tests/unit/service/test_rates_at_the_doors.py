"""Every door at which an agent asks for something counts it, whichever key asks; what is over the rate leaves no
decision behind."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from unit.service.in_process_plane import (
    CATALOG_AND_POLICY,
    WORKFLOWS,
    Answer,
    InProcessPlane,
    in_process_plane,
    question,
)

from controlplane.limits import Limits
from controlplane.service.rate_limits import AGENT_BURST_S, KEY_BURST_S, Clock

AGENT_REQUESTS = int(AGENT_BURST_S)
"""What an agent may ask for while the clock stands still, at one a second."""
KEY_RATE = 5
KEY_REQUESTS = int(KEY_RATE * KEY_BURST_S)

Ask = Callable[[str], Answer]
"""One request at a door, with a key."""
Door = Callable[[InProcessPlane, str, str], Ask]
"""Makes, with a key, what an agent's requests at a door need."""


def evaluation(plane: InProcessPlane, agent: str, key: str) -> Ask:
    return lambda key: plane.ask(agent, key=key)


def session(plane: InProcessPlane, agent: str, key: str) -> Ask:
    return lambda key: plane.send("POST", "/v1/sessions", {"agent": agent}, key=key)


def task(plane: InProcessPlane, agent: str, key: str) -> Ask:
    path = f"/v1/sessions/{opened(plane, agent, key)}/task"
    return lambda key: plane.send("POST", path, {"task": "and the water"}, key=key)


def end(plane: InProcessPlane, agent: str, key: str) -> Ask:
    path = f"/v1/sessions/{opened(plane, agent, key)}/end"
    return lambda key: plane.send("POST", path, key=key)


def delegation(plane: InProcessPlane, agent: str, key: str) -> Ask:
    body = {"session": opened(plane, agent, key), "to": "helper"}
    return lambda key: plane.send("POST", "/v1/delegations", body, key=key)


def outcome(plane: InProcessPlane, agent: str, key: str) -> Ask:
    decided = plane.ask(agent, key=key)
    path = f"/v1/decisions/{decided.json['context']['id']}/outcome"
    return lambda key: plane.send("POST", path, {"status": "succeeded"}, key=key)


def opened(plane: InProcessPlane, agent: str, key: str) -> str:
    answer = plane.send("POST", "/v1/sessions", {"agent": agent}, key=key)
    assert answer.status == 201, answer
    return str(answer.json["session"])


# What each door needs beforehand is itself a request of the agent's; and how many decisions an agent has in the end.
DOORS: dict[Door, tuple[int, int]] = {
    evaluation: (0, AGENT_REQUESTS),
    session: (0, 0),
    task: (1, 0),
    end: (1, 0),
    delegation: (1, 0),
    outcome: (1, 1),
}


@pytest.fixture(scope="module")
def plane(tmp_path_factory: pytest.TempPathFactory) -> Iterator[InProcessPlane]:
    folder: Path = tmp_path_factory.mktemp("plane")
    with in_process_plane(folder, limits=Limits(key_per_s=0, agent_per_s=1)) as plane:
        plane.application._limiter._clock = Clock(monotonic_s=lambda: 1000.0)
        plane.activate(CATALOG_AND_POLICY)
        plane.register("helper")
        yield plane


def a_key(plane: InProcessPlane, **more: int) -> str:
    return plane.make_key(role="gateway", agents=["*"], grants=WORKFLOWS, **more)[1]


def too_fast(answer: Answer) -> None:
    assert (answer.status, answer.code) == (429, "rate_limited"), answer
    assert int(answer.headers["retry-after"]) >= 1


def rows_of(plane: InProcessPlane, *agents: str) -> int:
    return sum(row["agent_id"] in agents for row in plane.decision_rows())


@pytest.mark.parametrize("door", DOORS, ids=lambda door: door.__name__)
def test_each_door_takes_from_the_agents_one_rate_whichever_key_asks(
    plane: InProcessPlane, door: Door
) -> None:
    agent = f"at-{door.__name__}"
    plane.register(agent)
    first, second = a_key(plane), a_key(plane)
    ask = door(plane, agent, first)
    passed = 0
    while (answer := ask(first)).status != 429:
        passed += 1
        assert passed <= AGENT_REQUESTS, "nobody counts here"
    beforehand, decided = DOORS[door]
    assert passed + beforehand == AGENT_REQUESTS
    too_fast(answer)
    too_fast(ask(second))
    too_fast(plane.ask(agent, key=second))
    assert plane.ask("helper", key=second).permits
    assert rows_of(plane, agent) == decided


def test_items_over_their_agents_rate_are_refused_and_the_others_decided(plane: InProcessPlane) -> None:
    for agent in ("busy", "calm"):
        plane.register(agent)
    first, second = a_key(plane), a_key(plane)
    for _ in range(AGENT_REQUESTS - 2):
        assert plane.ask("busy", key=first).permits
    batch = {"evaluations": [question("busy")] * 3 + [question("calm")]}
    answer = plane.send("POST", "/access/v1/evaluations", batch, key=second)
    assert answer.status == 200
    *_, refused, other = items = answer.json["evaluations"]
    assert [item["decision"] for item in items] == [True, True, False, True]
    assert refused["context"]["error"]["status"] == 429
    assert refused["context"]["error"]["code"] == "rate_limited"
    assert "error" not in other["context"]
    assert rows_of(plane, "busy") == AGENT_REQUESTS
    assert rows_of(plane, "calm") == 1


def test_a_batch_costs_its_key_each_of_its_items(plane: InProcessPlane) -> None:
    agents = [f"of-batch-{number}" for number in range(KEY_REQUESTS - 2)]
    for agent in agents:
        plane.register(agent)
    key = a_key(plane, rate_per_s=KEY_RATE)
    batch = {"evaluations": [question(agent) for agent in agents]}
    decided = plane.send("POST", "/access/v1/evaluations", batch, key=key).json["evaluations"]
    assert [item["decision"] for item in decided] == [True] * len(agents)
    assert plane.ask(agents[0], key=key).permits
    # One request is left, and a batch of two would pass with it; the one after waits for the debt.
    pair = {"evaluations": [question(agents[0]), question(agents[1])]}
    rows = rows_of(plane, *agents)
    too_fast(plane.send("POST", "/access/v1/evaluations", pair, key=key))
    too_fast(plane.ask(agents[0], key=key))
    assert rows_of(plane, *agents) == rows == len(agents) + 1
