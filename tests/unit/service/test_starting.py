"""What `up` says when the control store does not become ready: what holds it up, not only that it took too long."""

from __future__ import annotations

from typing import Any

import pytest

from actors.placement import EVIDENCE_WRITER
from controlplane.errors import UnavailableError
from controlplane.service import deployment


def test_a_control_store_that_waits_for_the_table_says_what_is_wrong_with_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def answer(name: str, method: str, *, timeout_s: float) -> dict[str, Any]:
        if name == EVIDENCE_WRITER:
            return {"trouble": {"table": "version 7 of the table is missing"}}
        raise UnavailableError("the journal is not to be used", code="journal_unconfirmed")

    monkeypatch.setattr(deployment, "call_actor", answer)
    monkeypatch.setattr(deployment, "_READY_TIMEOUT_S", 0.0)
    with pytest.raises(UnavailableError) as raised:
        deployment._wait_for_control_store(lambda: False)
    assert raised.value.message == (
        "the control store did not become ready in 0 s; evidence, table: version 7 of the table is missing; "
        "the journal is not to be used (journal_unconfirmed)"
    )
