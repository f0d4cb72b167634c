from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from evidence.failpoints import POINTS, VARIABLE, arm, disarm, reach

ROOT = Path(__file__).parents[3]
PASSER = """
from evidence.failpoints import reach
for number in range(3):
    print(number, flush=True)
    reach("journal.before_commit")
    reach("journal.after_commit")
"""


def passed(folder: str | None) -> tuple[int, list[str]]:
    """Exit status and what was printed by a process that passes two points three times."""
    environment = {name: value for name, value in os.environ.items() if name != VARIABLE}
    done = subprocess.run(
        [sys.executable, "-c", PASSER],
        env=environment | ({} if folder is None else {VARIABLE: folder}),
        stdout=subprocess.PIPE,
        text=True,
        timeout=60,
        check=False,
    )
    return done.returncode, done.stdout.split()


@pytest.mark.parametrize("passes", [0, 1, 2])
def test_an_armed_point_ends_the_process_after_its_passes_and_only_once(tmp_path: Path, passes: int) -> None:
    arm(tmp_path, "journal.before_commit", passes=passes)
    assert passed(str(tmp_path)) == (-signal.SIGKILL, ["0", "1", "2"][: passes + 1])
    assert passed(str(tmp_path)) == (0, ["0", "1", "2"])


def test_what_is_not_armed_is_passed(tmp_path: Path) -> None:
    arm(tmp_path, "table.after_sync")
    arm(tmp_path, "journal.after_commit")
    assert (disarm(tmp_path, "journal.after_commit"), disarm(tmp_path, "journal.after_commit")) == (
        True,
        False,
    )
    assert passed(str(tmp_path)) == (0, ["0", "1", "2"])


def test_a_process_that_was_not_started_for_it_passes_everything(tmp_path: Path) -> None:
    arm(tmp_path, "journal.before_commit")
    assert passed(None) == (0, ["0", "1", "2"])
    reach("journal.before_commit")


def test_every_point_is_somewhere_in_the_code_and_no_other_is() -> None:
    sources = [
        path for part in ("evidence", "actors", "controlplane") for path in (ROOT / part).rglob("*.py")
    ]
    reached = [name for path in sources for name in re.findall(r'\breach\("([^"]+)"\)', path.read_text())]
    assert sorted(reached) == sorted(POINTS)


def test_only_a_known_point_can_be_armed(tmp_path: Path) -> None:
    with pytest.raises(KeyError):
        arm(tmp_path, "journal.somewhere")
