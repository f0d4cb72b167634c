"""The process of an owner as the evidence writer sees it: a journal, its feed, and an answer for what is durable.

As in a real one, state and evidence are written in one transaction, what was asked twice is recorded once, and nothing
is answered before the writer has confirmed the journal.
"""

from __future__ import annotations

import asyncio
import os
import sys
import time
from pathlib import Path
from typing import Any

from actors.channel import channel_path, serve
from actors.evidence_rows import event
from actors.journal import Journal
from actors.log_feed import LogFeed
from controlplane.errors import UnavailableError
from evidence.record import canonical_bytes

_ANSWERED = "CREATE TABLE IF NOT EXISTS answered (number INTEGER PRIMARY KEY, seq INTEGER NOT NULL);"


class CrashingOwner:
    """Its methods are called by name, over the channel."""

    def __init__(self, journals: Path, name: str) -> None:
        self._name = name
        log_id = f"{name}.{os.urandom(4).hex()}"
        self._journal = Journal.open(journals / f"{name}.db", new_log_id=log_id, schema=_ANSWERED)
        self._feed = LogFeed()

    def handle(self, call: tuple[Any, ...]) -> Any:
        what, *arguments = call
        return getattr(self, what)(*arguments)

    def append(self, numbers: list[int], size_bytes: int) -> tuple[str, list[tuple[int, int, bytes]]]:
        """Record each number once. Returns: the log, and (number, sequence number, canonical bytes), those of a number
        that was recorded before empty."""
        if self._feed.trouble is not None:
            raise UnavailableError("the journal is not to be used", code=self._feed.trouble)
        asked = ",".join(map(str, numbers))
        known = self._journal.read(f"SELECT number, seq FROM answered WHERE number IN ({asked})")
        done = [(number, seq, b"") for number, seq in known]
        with self._journal.transaction() as step:
            for number in sorted(set(numbers) - {number for number, _ in known}):
                row = event(
                    event_id=f"{self._name}-{number}",
                    event_type="finding",
                    time_us=time.time_ns() // 1000,
                    tenant="default",
                    details={"number": number, "text": "x" * size_bytes},
                )
                step.execute("INSERT INTO answered VALUES (?, ?)", (number, step.next_seq))
                seq = step.append(row)
                done.append((number, seq, canonical_bytes(row)))
        return self._journal.log_id, done

    def answered(self) -> list[tuple[int, int]]:
        """(number, sequence number) of all that it has ever recorded."""
        return [(number, seq) for number, seq in self._journal.read("SELECT number, seq FROM answered")]

    def waiting(self) -> int:
        return self._journal.pending_count()

    def pending(self, limit: int) -> tuple[Any, ...]:
        return self._feed.pending(self._journal, limit)

    def trim(self, log_id: str, landed_seq: int) -> None:
        while self._feed.trim(self._journal, log_id, landed_seq):
            pass

    def call(self, method: str, arguments: dict[str, Any]) -> list[Any]:
        """The control store's: there are no dedicated agents here, and nothing else is asked for."""
        return []


async def main(folder: Path, name: str) -> None:
    owner = CrashingOwner(folder / "journals", name)
    await serve(channel_path(folder / "sockets", name), owner.handle)
    # Whoever started it holds the other end: it does not outlive its test.
    asyncio.get_running_loop().add_reader(sys.stdin.fileno(), lambda: os._exit(0))
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1]), sys.argv[2]))
