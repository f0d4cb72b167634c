"""What evidence costs: to land, sign and keep it, to verify it, to prove one row of it; what it adds to a decision.

    python -m benchmarks.evidence                        # about five minutes, one of them at 5 000 decisions/s
    python -m benchmarks.evidence --rows 100000 --seconds 10    # a quick look
    python -m benchmarks.evidence --no-plane             # without a control plane: tables and one owner alone

Landing takes turns with and without signatures, on tables of their own in a temporary folder, for the first rows. The
table that is verified is the signed one: decisions in sessions (33 columns filled), in the order in which they landed.
Last, a control plane of the benchmark's own on loopback decides 5 000 actions a second through `evaluations`, and the
Delta log tells when each row could be read. Writes `benchmarks/out/evidence.json`.
"""

from __future__ import annotations

import argparse
import json
import os
import secrets
import statistics
import subprocess
import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

from rich.console import Console
from rich.table import Table

from benchmarks import bundles, evidence_cost, landing, machine
from benchmarks.decision_path import AGENTS, EVALUATIONS, OUT, RULES, wait_until_landed
from benchmarks.evidence_rows import batches
from benchmarks.load import Spec, open_loop
from benchmarks.plane import running
from evidence.checkpoint_files import CheckpointFiles
from evidence.delta.heads import Signing
from evidence.delta.table import EvidenceTable
from evidence.signing_keys import KeyFiles, Signer
from evidence.storage import storage_at

ROUND_ROWS: Final = 4_000
"""Of each of the two logs: what 0.8 s bring at 10 000 decisions/s."""
DECISIONS_PER_S: Final = 5_000
BATCH_SIZE: Final = 100
_CONNECTIONS: Final = 16
_COMPARED_ROUNDS: Final = 25
_INGEST_US: Final = 1_790_000_100_000_000

console = Console(stderr=True)


def main() -> None:
    options = _options()
    measured: dict[str, Any] = {"machine": machine.describe()}
    console.print(f"[bold]evidence[/] on {measured['machine']['processor']}")
    with TemporaryDirectory(prefix="controlplane-bench-") as folder:
        console.print(f"1/5 landing {options.rows:,} rows, signed and not, in turns")
        measured["landing"], signed = _landing(Path(folder), rows=options.rows)
        table = signed / "decisions"
        measured["bytes_per_row"] = landing.bytes_per_row(table)
        console.print(f"2/5 verifying them, {options.rounds} times")
        measured["verify"] = _verifying(signed, rounds=options.rounds)
        console.print("3/5 proving rows")
        measured["proof"] = _proving(signed, rounds=options.rounds)
    console.print("4/5 an owner with and without evidence")
    measured["decision_us"] = evidence_cost.measure(rounds=options.rounds, batches=40)
    if options.plane:
        console.print(f"5/5 {DECISIONS_PER_S} decisions/s for {options.seconds:g} s")
        measured["under_load"] = _under_load(seconds=options.seconds)
    OUT.mkdir(exist_ok=True)
    out = OUT / "evidence.json"
    out.write_text(json.dumps(measured, indent=2) + "\n")
    _show(measured)
    console.print(f"written to {os.path.relpath(out)}")


def _landing(folder: Path, *, rows: int) -> tuple[dict[str, Any], Path]:
    """Rows a second by kind of table, and how they compare; the folder of the signed one."""
    keys = KeyFiles(
        private=folder / "evidence.json", notes=folder / "keys.notes", public=folder / "keys.vkey"
    )
    keys.create("bench", created_at="2026-01-01T00:00:00Z", random_bytes=secrets.token_bytes)
    signed = folder / "signed"
    signing = Signing(
        signer=Signer(files=keys), files=CheckpointFiles(folder=storage_at(signed / "checkpoint-files"))
    )
    tables = {
        "signed": EvidenceTable.open_or_create(str(signed / "decisions"), signing=signing),
        "unsigned": EvidenceTable.open_or_create(str(folder / "unsigned" / "decisions")),
    }
    (signed / "keys.vkey").write_text(keys.public.read_text())
    spent: dict[str, list[float]] = {kind: [] for kind in tables}
    for number, round_ in enumerate(batches(rows, size=ROUND_ROWS)):
        count = sum(len(batch.records) for batch in round_)
        compared = (
            list(tables.items())[:: 1 if number % 2 else -1]
            if number < _COMPARED_ROUNDS
            else [("signed", tables["signed"])]
        )
        for kind, table in compared:
            began_s = time.perf_counter()
            table.land(round_, ingest_time_us=_INGEST_US)
            if table.heads is not None:
                table.heads.record()
            spent[kind].append((time.perf_counter() - began_s) / count)
    per_s = {kind: round(1 / statistics.median(costs[:_COMPARED_ROUNDS])) for kind, costs in spent.items()}
    return {
        "rows": rows,
        "rows_per_commit": 2 * ROUND_ROWS,
        "rows_per_s": per_s,
        "ratio": round(per_s["signed"] / per_s["unsigned"], 3),
    }, signed


def _verifying(signed: Path, *, rounds: int) -> dict[str, float]:
    """The whole program, from its start to its verdict, and what it says of the verification itself."""
    walls, rates = [], []
    for _ in range(rounds):
        began_s = time.perf_counter()
        report = json.loads(_evidence("verify", str(signed / "decisions"), *_key(signed), "--json"))
        walls.append(time.perf_counter() - began_s)
        if report["verdict"] != "holds":
            sys.exit(f"the table does not verify: {report['faults'][:3]}")
        rates.append(report["rows"] / walls[-1])
    return {"rows_per_s": round(statistics.median(rates)), "seconds": round(statistics.median(walls), 2)}


def _proving(signed: Path, *, rounds: int) -> dict[str, float]:
    """One row in the middle of one log, proved and checked, each by a program of its own, s."""
    from evidence.query import query

    middle = "SELECT event_id FROM evidence WHERE log_id = 'host-000.bench' AND seq = {0}"
    half = (
        query(str(signed / "decisions"), "SELECT count(*) // 4 AS half FROM evidence")
        .column("half")[0]
        .as_py()
    )
    (picked,) = query(str(signed / "decisions"), middle.format(half)).column("event_id").to_pylist()
    proof = signed / "proof.json"
    made, checked = [], []
    for _ in range(rounds):
        proof.unlink(missing_ok=True)
        began_s = time.perf_counter()
        _evidence("prove", picked, "--table", str(signed / "decisions"), "-o", str(proof))
        made.append(time.perf_counter() - began_s)
        began_s = time.perf_counter()
        _evidence("check-proof", str(proof), *_key(signed))
        checked.append(time.perf_counter() - began_s)
    return {
        "prove_s": round(statistics.median(made), 2),
        "check_s": round(statistics.median(checked), 2),
        "bytes": proof.stat().st_size,
    }


def _key(signed: Path) -> list[str]:
    return ["--key", (signed / "keys.vkey").read_text().strip()]


def _evidence(*arguments: str) -> str:
    done = subprocess.run(
        [sys.executable, "-m", "controlplane", "evidence", *arguments], capture_output=True, text=True
    )
    if done.returncode != 0:
        sys.exit(f"`controlplane evidence {arguments[0]}` failed:\n{done.stdout}{done.stderr}")
    return done.stdout


def _under_load(*, seconds: float) -> dict[str, Any]:
    """How long after a decision its row can be read, and whether all were answered, at a fixed rate."""
    with running(rules=RULES, agents=AGENTS) as plane:
        bodies = [body.decode() for body in bundles.batches(AGENTS, rules=RULES, size=BATCH_SIZE)]
        spec = Spec(
            port=plane.port,
            path=EVALUATIONS,
            key=plane.key,
            bodies=bodies,
            connections=_CONNECTIONS,
            seconds=5,
            rate_per_s=DECISIONS_PER_S / BATCH_SIZE,
        )
        open_loop(spec)  # caches fill, agents wake
        began_us = time.time_ns() // 1000
        spec.seconds = seconds
        result = open_loop(spec)
        wait_until_landed(plane)
        if set(result.statuses) - {"200"} or result.unanswered:
            sys.exit(
                f"not every request was decided: {result.statuses}, {result.unanswered} without an answer"
            )
        return {
            "decisions_per_s": round(result.per_s * BATCH_SIZE),
            "seconds": seconds,
            "answer_ms": result.latency_ms,
            "landing_s": landing.delays_s(plane.settings.evidence_table, since_us=began_us),
            "bytes_per_row": landing.bytes_per_row(plane.settings.evidence_table),
        }


def _show(measured: dict[str, Any]) -> None:
    rows = Table("what", "figure", title="evidence")
    landed, proof, cost = measured["landing"], measured["proof"], measured["decision_us"]
    rows.add_row(
        f"landed in commits of {landed['rows_per_commit']:,} rows, signed",
        f"{landed['rows_per_s']['signed']:,} rows/s, {landed['ratio']:.2f} of unsigned",
    )
    rows.add_row("bytes a row on disk, 33 columns filled", f"{measured['bytes_per_row']}")
    rows.add_row(
        f"`evidence verify` of {landed['rows']:,} rows, the program's start and end included",
        f"{measured['verify']['rows_per_s']:,} rows/s",
    )
    rows.add_row(
        "`evidence prove`, `check-proof`",
        f"{proof['prove_s']} s, {proof['check_s']} s; {proof['bytes']:,} bytes",
    )
    rows.add_row(
        "an owner's decision with evidence, without, µs of CPU",
        f"{cost[evidence_cost.WITH]}, {cost[evidence_cost.WITHOUT]}: {cost['evidence']} is the evidence",
    )
    if "under_load" in measured:
        load = measured["under_load"]
        rows.add_row(
            f"at {load['decisions_per_s']:,} decisions/s for {load['seconds']:g} s: rows can be read after",
            "p50 {p50} s, p99 {p99} s, max {max} s".format(**load["landing_s"]),
        )
    Console().print(rows)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--rows", type=int, default=1_000_000, help="rows that are landed and verified (default 1 000 000)"
    )
    parser.add_argument("--rounds", type=int, default=3, help="of which medians are taken (default 3)")
    parser.add_argument("--seconds", type=float, default=60, help="length of the load (default 60)")
    parser.add_argument(
        "--no-plane", dest="plane", action="store_false", help="leave the control plane under load out"
    )
    options = parser.parse_args()
    if options.rows < 2 * ROUND_ROWS or options.rounds < 1 or options.seconds < 1:
        parser.error(f"--rows must be {2 * ROUND_ROWS} at least, --rounds and --seconds 1")
    return options


if __name__ == "__main__":
    main()
