"""Faults in the middle of traffic, in an order drawn from a seed: nothing that a client was told is lost, doubled or
otherwise in the table, and traffic goes on by itself. `make faults` runs many more rounds."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from integration.faults.plan import short_plan
from integration.faults.run import run, summary
from integration.plane import brought_up

from controlplane.lifecycle import processes
from evidence.failpoints import VARIABLE

pytestmark = pytest.mark.ray


def test_whatever_is_killed_or_stopped_clients_and_table_agree_and_traffic_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "points").mkdir()
    monkeypatch.setenv(VARIABLE, str(tmp_path / "points"))
    seed = int(os.environ.get("SEED", "1"))
    with brought_up(tmp_path / "cp") as running:
        repeat = f"SEED={seed} python -m pytest tests/integration/test_seeded_faults.py"
        result = run(running, short_plan(seed), seed=seed, repeat=repeat, say=print)
    print(*summary(result), sep="\n")
    assert result.compared.decisions > 500
    assert 0 < result.compared.permits < result.compared.decisions
    assert processes.ours(running.settings) == []
