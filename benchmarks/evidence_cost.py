"""What evidence adds to a decision: the same owner, deciding the same batches, with its rows and without them.

In this process, on one thread, in processor time; the two take turns. Without = no row is built, made canonical, hashed
or journalled; everything else stays, the transaction and its fsync too.
"""

from __future__ import annotations

import statistics
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final
from unittest import mock

from actors import evidence_rows
from actors.collector import collect_seldom
from actors.journal import Transaction
from benchmarks.one_owner import ALLOW, OneOwner, action_of

WITH, WITHOUT = "with evidence", "without"
_TOOL: Final = "bank.transfer"
_CATALOG: Final = (
    "catalog.yaml",
    "kind: Catalog\ntools:\n  bank.transfer: {system: bank, effects: [pay], boundary: external}\nsystems: {bank: {}}\n",
)


def measure(*, rounds: int, batches: int) -> dict[str, float]:
    """Medians over batches, µs of processor time for one decision of a batch of 64: `with evidence`, `without`, and the
    `evidence` that is between them. The first round fills caches and is not counted."""
    collect_seldom()  # as owners do
    found: dict[str, list[float]] = {WITH: [], WITHOUT: []}
    with TemporaryDirectory(prefix="controlplane-bench-") as folder:
        bench = OneOwner(Path(folder), "evidence-cost", [ALLOW, _CATALOG])
        for turn in range(rounds + 1):
            for kind, costs in found.items():
                with _without_evidence() if kind == WITHOUT else nullcontext():
                    taken = [_batch_us(bench) for _ in range(batches)]
                if turn:
                    costs += taken
        bench.owner.journal.close()
    medians = {kind: statistics.median(costs) for kind, costs in found.items()}
    medians["evidence"] = medians[WITH] - medians[WITHOUT]
    return {kind: round(cost, 1) for kind, cost in medians.items()}


def _batch_us(bench: OneOwner) -> float:
    bench.renew_lease()
    prepared = bench.preparer.prepare(
        action_of(_TOOL, {"iban": "DE89370400440532013000", "amount": "900.00"})
    )
    cost_us, _ = bench.decide(_TOOL, prepared, masked_arguments='{"iban":"string(22)","amount":"string(6)"}')
    bench.forget_evidence()
    return cost_us


@contextmanager
def _without_evidence() -> Iterator[None]:
    with (
        mock.patch.object(evidence_rows, "decision_row", lambda *_, **__: {}),
        mock.patch.object(Transaction, "append", lambda *_: 0),
    ):
        yield
