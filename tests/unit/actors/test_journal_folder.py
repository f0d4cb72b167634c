"""An owner opens its journal only on the disk that has it: nobody begins a new past on another one."""

from __future__ import annotations

import asyncio
import json
import os
import stat
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from actors import agent_host
from actors.agent_host import AgentHost
from actors.control_store import ControlStore
from actors.journal_folder import MisplacedError, Place, claim, refuse_another
from controlplane.errors import UnavailableError


@pytest.fixture(autouse=True)
def no_control_store(monkeypatch: pytest.MonkeyPatch) -> None:
    async def ask(name: str, method: str, *_: object, timeout_s: float) -> None:
        raise UnavailableError(f"no `{name}` to ask for its {method} within {timeout_s} s")

    monkeypatch.setattr(agent_host, "ask", ask)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "journals"


@pytest.fixture
def place(folder: Path) -> Place:
    return Place("node-1", claim(folder, "node-1", random=os.urandom(8)))


@pytest.fixture
def secrets_file(tmp_path: Path) -> Path:
    path = tmp_path / "secrets.json"
    path.write_text(json.dumps({"session_key": "00" * 32}))
    return path


def test_a_folder_is_marked_once_and_is_ours_alone(folder: Path, place: Place) -> None:
    assert claim(folder, "node-1", random=os.urandom(8)) == place.mark
    refuse_another(folder, place)
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert [path.name for path in folder.iterdir()] == ["node-node-1.json"]


def test_of_many_that_claim_at_once_all_get_one_mark(folder: Path) -> None:
    with ThreadPoolExecutor(8) as pool:
        marks = set(pool.map(lambda _: claim(folder, "node-1", random=os.urandom(8)), range(32)))
    assert len(marks) == 1


def replaced(folder: Path) -> None:
    (folder / "node-node-1.json").unlink()
    claim(folder, "node-1", random=os.urandom(8))


def emptied(folder: Path) -> None:
    (folder / "node-node-1.json").unlink()


def gone(folder: Path) -> None:
    emptied(folder)
    folder.rmdir()


def damaged(folder: Path) -> None:
    (folder / "node-node-1.json").write_text("{")


def another_nodes(folder: Path) -> None:
    (folder / "node-node-1.json").rename(folder / "node-node-2.json")


@pytest.mark.parametrize("what_happened", [replaced, emptied, gone, damaged, another_nodes])
def test_another_disk_under_the_same_name_is_refused_and_nothing_is_created_there(
    folder: Path, place: Place, secrets_file: Path, what_happened: object
) -> None:
    assert callable(what_happened)
    what_happened(folder)
    with pytest.raises(MisplacedError):
        refuse_another(folder, place)

    async def ask_both() -> None:
        host = AgentHost("host-001", 1, str(folder), str(secrets_file), place=place)
        with pytest.raises(UnavailableError) as refused:
            await host.refresh()
        assert refused.value.code == "journal_misplaced"
        assert (await host.status())["reason"] == "journal_misplaced"
        with pytest.raises(UnavailableError) as denied:
            await host.decide(None, [])
        assert denied.value.code == "journal_misplaced"
        store = ControlStore(str(folder), 2, place)
        await asyncio.sleep(0)
        assert not await store.ready()

    asyncio.run(ask_both())
    assert not list(folder.glob("*.db*"))


def test_on_its_own_disk_a_host_opens_its_journal(folder: Path, place: Place, secrets_file: Path) -> None:
    async def open_one() -> str | None:
        host = AgentHost("host-001", 1, str(folder), str(secrets_file), place=place)
        # The journal is open, though there is no control store to lease from.
        with pytest.raises(UnavailableError):
            await host.refresh()
        reason: str | None = (await host.status())["reason"]
        return reason

    assert asyncio.run(open_one()) == "journal_unconfirmed"
    assert (folder / "host-001.db").exists()


def test_a_host_opens_once_its_disk_is_back(folder: Path, place: Place, secrets_file: Path) -> None:
    marker = folder / "node-node-1.json"
    kept = marker.read_text()
    marker.unlink()

    async def wait_for_it() -> None:
        host = AgentHost("host-001", 1, str(folder), str(secrets_file), place=place)
        with pytest.raises(UnavailableError):
            await host.refresh()
        assert (await host.status())["reason"] == "journal_misplaced"
        marker.write_text(kept)
        with pytest.raises(UnavailableError):
            await host.refresh()
        assert (await host.status())["reason"] == "journal_unconfirmed"

    asyncio.run(wait_for_it())
