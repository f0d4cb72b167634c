"""Owners and the evidence writer, killed at every failpoint: nothing that was answered is lost, doubled or changed.
`make crashes` runs many more rounds. Needs no Ray."""

from __future__ import annotations

import asyncio
import os

import pytest
from integration.crashes.plan import MOMENTS, plan
from integration.crashes.run import run

from evidence.failpoints import POINTS


def test_whatever_is_killed_wherever_every_answered_row_is_in_the_table_once_and_as_it_was(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    seed = int(os.environ.get("SEED", "1"))
    folder = tmp_path_factory.mktemp("c")  # short: it holds sockets
    everywhere = {*POINTS, *MOMENTS}
    result = asyncio.run(run(folder, plan(seed, len(everywhere)), seed=seed, say=print))
    assert result.crashed.keys() == everywhere
    assert result.rows > 1_000
