"""The process of the evidence writer: the real one, asking owners over sockets instead of through Ray.

It lands faster and tends its table more often than in operation, so that there is something to crash in.
"""

from __future__ import annotations

import asyncio
import logging
import os
import sys
from functools import partial
from pathlib import Path
from typing import Any

from integration.crashes.fleet import key_files

from actors import evidence_writer
from actors.channel import Channel, NoChannelError, channel_path
from controlplane.errors import UnavailableError
from evidence.delta import table
from evidence.delta.maintenance import Cadence

_OFTEN = partial(
    Cadence,
    compaction_commits=5,
    small_file_bytes=64 * 2**10,
    large_compaction_commits=9,
    large_file_bytes=2**20,
    replaced_files_hours=0,
    checkpoint_commits=7,
)


async def main(folder: Path, hosts: int) -> None:
    channels: dict[str, Channel] = {}

    async def call(name: str, method: str, *arguments: Any, timeout_s: float) -> Any:
        channel = channels.setdefault(name, Channel(channel_path(folder / "sockets", name)))
        try:
            return await channel.call((method, *arguments), timeout_s=timeout_s)
        except NoChannelError:
            raise UnavailableError(f"`{name}` is not there", code="owner_unreachable") from None

    table.Cadence = _OFTEN
    evidence_writer.LANDING_INTERVAL_S = 0.05
    writer = evidence_writer.EvidenceWriter(
        str(folder / "decisions"), hosts, key_files(folder), str(folder / "checkpoint-files"), call=call
    )
    asyncio.get_running_loop().add_reader(sys.stdin.fileno(), lambda: os._exit(0))
    await asyncio.Event().wait()
    del writer


if __name__ == "__main__":
    logging.basicConfig(level=logging.WARNING, format="%(asctime)s %(message)s")
    asyncio.run(main(Path(sys.argv[1]), int(sys.argv[2])))
