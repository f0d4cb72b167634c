"""A key that asks too often is refused, alone, and what it was refused is one row a minute."""

from __future__ import annotations

import json
import time

import pytest
from integration.plane import Running, wait_until

pytestmark = pytest.mark.ray

ASKED = 60


def test_past_its_rate_a_key_is_refused_undecided_and_others_are_served(
    running: Running, bot: tuple[str, str]
) -> None:
    agent, calm = bot
    mad = running.client().request(
        "POST", "/v1/keys", {"role": "gateway", "agents": [agent], "rate_per_s": 5}
    )
    body = {
        "subject": {"type": "agent", "id": agent},
        "action": {"name": "call"},
        "resource": {"type": "tool", "id": "ledger.read"},
        "context": {"arguments": {"account": "a"}},
    }
    began_s = time.time()
    decided, refused = [], 0
    with running.http(mad["key"]) as client:
        for _ in range(ASKED):
            answer = client.post("/access/v1/evaluation", json=body)
            if answer.status_code == 200:
                decided.append(answer.json()["context"]["id"])
                continue
            assert answer.status_code == 429
            assert answer.json()["error"]["code"] == "rate_limited"
            assert int(answer.headers["retry-after"]) >= 1
            refused += 1
    took_s = time.time() - began_s
    assert 10 <= len(decided) <= 11 + 5 * took_s
    assert refused == ASKED - len(decided)
    with running.http(calm) as client:
        assert client.post("/access/v1/evaluation", json=body).json()["decision"] is True

    def summed_up() -> bool:
        rows = running.table_rows(
            f"SELECT details FROM evidence WHERE event_type = 'rate_limited' AND details LIKE '%{mad['id']}%'"
        )
        found = [json.loads(row["details"]) for row in rows]
        assert len({one["minute"] for one in found}) == len(found) <= 2
        return sum(one["refused"] for one in found) == refused

    # The minute has to end first.
    wait_until(summed_up, timeout_s=90, what="what was refused to stand in evidence")
    running.wait_until_landed()
    in_table = running.table_rows(
        f"SELECT event_id FROM evidence WHERE event_type = 'decision' AND agent_id = '{agent}'"
    )
    # The calm key's one decision, and of the mad key's only those that it received.
    assert len(in_table) == len(decided) + 1
    assert {row["event_id"] for row in in_table} > set(decided)
