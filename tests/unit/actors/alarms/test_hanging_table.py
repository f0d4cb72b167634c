"""A table that hangs before the first owner was asked."""

from __future__ import annotations

import asyncio
import threading
from pathlib import Path
from typing import Any

import pytest

from actors.alarms.state import EVIDENCE_LAG, Condition
from actors.bounds import EVIDENCE_LAG_S
from actors.evidence_writer import EvidenceWriter
from actors.placement import CONTROL_STORE
from actors.world import REAL
from evidence.signing_keys import KeyFiles


def test_a_table_that_hangs_as_it_is_opened_is_late_for_everybody(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    let_go = threading.Event()

    def hangs(_: EvidenceWriter) -> Any:
        let_go.wait(30)
        raise OSError("let go")

    async def nobody(*_: Any, **__: Any) -> Any:
        raise AssertionError("nobody is asked before the table is open")

    async def look() -> None:
        keys = KeyFiles(private=tmp_path / "a", notes=tmp_path / "b", public=tmp_path / "c")
        writer = EvidenceWriter(str(tmp_path / "table"), 2, keys, str(tmp_path / "files"), call=nobody)
        try:
            await asyncio.sleep(0)
            assert (await writer.status())["lag_s"].keys() == {CONTROL_STORE, "host-000", "host-001"}
            later_us = REAL.wall_us() + (EVIDENCE_LAG_S + 1) * 1_000_000
            assert Condition(EVIDENCE_LAG, "") in writer._watch.conditions([], now_us=later_us)
        finally:
            let_go.set()
            for task in writer._tasks:
                task.cancel()
            await asyncio.gather(*writer._tasks, return_exceptions=True)

    monkeypatch.setattr(EvidenceWriter, "_open", hangs)
    asyncio.run(look())
