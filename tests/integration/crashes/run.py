"""A whole run: traffic, crashes, and the comparison of everything that was answered with the table."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from integration.crashes.check import check
from integration.crashes.fleet import OWNERS, WRITER, Fleet, key_files, wait_for
from integration.crashes.plan import MOMENTS, Crash, Round
from integration.crashes.traffic import Traffic

from evidence import failpoints
from evidence.verify.verifier import Options, verify

REACHED_S = 60.0
FLOWS_S = 60.0
LANDED_S = 60.0
CHECK_ROUNDS = 25


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """`crashed`: how often at each place. `rows`: compared at the end."""

    crashed: Counter[str]
    rows: int
    checks: int


async def run(folder: Path, plan: Sequence[Round], *, seed: int, say: Callable[[str], None]) -> Result:
    """Play a plan below `folder`, which is empty.

    Raises: AssertionError: something was lost, doubled or changed, or a process does not get going again; names the
        round and its crashes.
    """
    fleet = Fleet(folder)
    fleet.start_all()
    traffic = Traffic(folder, seed)
    crashed: Counter[str] = Counter()
    rows = checks = 0
    try:
        traffic.flow()
        for round_ in plan:
            try:
                await _play(fleet, traffic, round_)
                crashed.update(crash.where for crash in round_.crashes)
                if round_.number % CHECK_ROUNDS == 0 or round_ is plan[-1]:
                    rows = await _compare(fleet, traffic)
                    checks += 1
                    say(f"round {round_.number:4d}  {rows:7d} rows are as they were answered")
            except AssertionError as error:
                said = "\n".join(f"-- {name}\n{fleet.said(name)[-1500:]}" for name in (*OWNERS, WRITER))
                raise AssertionError(
                    f"round {round_.number} of seed {seed} ({round_}): {error}\n{said}"
                ) from error
    finally:
        await traffic.end()
        fleet.end()
    return Result(crashed=crashed, rows=rows, checks=checks)


async def _play(fleet: Fleet, traffic: Traffic, round_: Round) -> None:
    """Crash, start again what ended, and wait until every owner answers."""
    await _flows(fleet, traffic)
    deaths = fleet.deaths + len(round_.crashes)
    for crash in round_.crashes:
        if crash.is_moment:
            await asyncio.sleep(crash.delay_s)
            fleet.kill(_victim(crash))
            await _restart(fleet, round_.away_s)
    for crash in round_.crashes:
        if not crash.is_moment:
            failpoints.arm(fleet.points, crash.where, passes=crash.passes)
    deadline = wait_for("every failpoint to be reached", REACHED_S)
    while fleet.deaths < deaths:
        deadline.check(", ".join(path.name for path in fleet.points.iterdir()))
        traffic.silent_since(0)
        await _restart(fleet, round_.away_s)
        await asyncio.sleep(0.01)
    await _flows(fleet, traffic)
    assert fleet.deaths == deaths and not any(fleet.points.iterdir()), "crashed where nobody had armed"


def _victim(crash: Crash) -> str:
    return WRITER if crash.where == MOMENTS[1] else OWNERS[int(crash.pick * len(OWNERS))]


async def _restart(fleet: Fleet, away_s: float) -> None:
    if fallen := fleet.fallen():
        await asyncio.sleep(away_s)
        for name in fallen:
            fleet.start_again(name)


async def _flows(fleet: Fleet, traffic: Traffic) -> None:
    """Until every owner has answered something that it was asked after now."""
    since_s = time.monotonic()
    deadline = wait_for("every owner to answer", FLOWS_S)
    while silent := traffic.silent_since(since_s):
        deadline.check(", ".join(silent))
        fallen = fleet.fallen()
        assert not fallen, f"{fallen} ended by themselves"
        await asyncio.sleep(0.01)


async def _compare(fleet: Fleet, traffic: Traffic) -> int:
    await asyncio.wait_for(traffic.hold(), LANDED_S)
    deadline = wait_for("everything to land", LANDED_S)
    while await _waiting(traffic):
        deadline.check()
        await asyncio.sleep(0.05)
    journalled = {name: await traffic.ask(name, "answered") for name in OWNERS}
    # In the middle of whatever it does to the table now that all has landed.
    fleet.kill(WRITER)
    rows = check(fleet.table, traffic.told, journalled)
    _verify(fleet)
    fleet.start_again(WRITER)
    traffic.flow()
    return rows


def _verify(fleet: Fleet) -> None:
    """What a hostile auditor would find: who knows the key, has the files, and remembers what he saw before."""
    options = Options(
        keys=[key_files(fleet.folder).public.read_text().strip()],
        checkpoints=[str(fleet.checkpoint_files)],
        witness=str(fleet.folder / "witness.notes"),
        jobs=1,
    )
    report = verify(str(fleet.table), options)
    assert report.holds, [f"{fault.code}: {fault.message}" for fault in report.faults[:5]]


async def _waiting(traffic: Traffic) -> int:
    return sum([await traffic.ask(name, "waiting") for name in OWNERS])
