"""Following approvals: what has changed since the last look."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final
from urllib.parse import urlencode

WAIT_S: Final = 20
"""How long one long poll asks the service to wait; less than the client waits for an answer."""
PAUSE_S: Final = 2.0
PAGE: Final = 200
"""Approvals of one page: the most that the service gives."""
MOST: Final = 1_000
_OPEN: Final = frozenset({"pending", "partial"})

LIST: Final = "/v1/approvals"

Task = dict[str, Any]
Asked = Mapping[str, str | None]
Get = Callable[[str], Task | None]
"""From a path to the answer, empty where there is nothing of that name; None = nobody can say now."""


def pages(get: Get, path: str, asked: Asked, name: str, *, most: int) -> tuple[list[Task], list[str]] | None:
    """(what a paged list holds, up to `most` of it; owners that did not answer). None = nobody can say now.

    Args:
        asked: parameters of the query; those without a value are left out.
        name: of the list in the answer.
    """
    found: list[Task] = []
    silent: set[str] = set()
    after = None
    while True:
        query = {**asked, "limit": str(min(PAGE, most - len(found))), "after": after}
        answer = get(f"{path}?{urlencode({name: value for name, value in query.items() if value})}")
        if answer is None:
            return None
        found += answer[name]
        silent.update(answer.get("unavailable") or ())
        if not answer.get("next") or len(found) >= most:
            return found, sorted(silent)
        after = str(answer["next"])


class Watching:
    """Args: sleep: seconds to let pass between two looks."""

    def __init__(self, get: Get, sleep: Callable[[float], None]) -> None:
        self._get = get
        self._sleep = sleep

    def one(self, path: str) -> Iterator[Task]:
        """One approval as it is, and each time that it changes, until it is decided."""
        seen: Task | None = None
        while True:
            task = self._get(path if seen is None else f"{path}?wait_s={WAIT_S}")
            if task is None or task == seen:
                self._sleep(PAUSE_S)  # also where the service waits for nobody more: it is not hammered
                continue
            seen = task
            yield task
            if task.get("state") not in _OPEN:
                return

    def all(self, asked: Asked) -> Iterator[Task]:
        """Every approval that a list of open ones holds, each time that one changes, and how it ended; without end.

        Args:
            asked: of the list, see `pages`.
        """
        seen: dict[str, Task] = {}
        while True:
            found = pages(self._get, LIST, asked, "approvals", most=MOST)
            if found is not None:
                now = {task["id"]: task for task in found[0]}
                yield from (task for identity, task in now.items() if seen.get(identity) != task)
                for identity in seen.keys() - now.keys():
                    # It ended, or is no longer ours to decide, or its owner is silent.
                    last = self._get(f"{LIST}/{identity}")
                    if last is None:
                        now[identity] = seen[identity]
                    elif last.get("state") not in (None, seen[identity]["state"]):
                        yield last
                seen = now
            self._sleep(PAUSE_S)
