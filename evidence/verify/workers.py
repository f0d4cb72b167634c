"""Many files at once: worker processes that read rows, a bounded number ahead of whoever takes what they found."""

from __future__ import annotations

import multiprocessing
import os
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from typing import Final

from evidence.verify.faults import UnreadableError
from evidence.verify.rows import FileRows, FileTask, read_rows

_FEW_BYTES: Final = 4 * 2**20  # of data; read before a process would have started
_AHEAD: Final = 3  # files for each worker


def read_all(tasks: Sequence[FileTask], jobs: int) -> Iterator[FileRows]:
    """What each file holds, in the order of `tasks`.

    Args: jobs: worker processes; 0: one for each processor.
    Raises: UnreadableError: the store does not answer, or a worker was killed.
    """
    count = min(jobs or os.cpu_count() or 1, len(tasks))
    if count < 2 or sum(task.size for task in tasks) < _FEW_BYTES:
        yield from map(read_rows, tasks)
        return
    # spawn: a fork would copy the locks of threads that do not exist in the child.
    context = multiprocessing.get_context("spawn")
    pool = ProcessPoolExecutor(count, mp_context=context)
    try:
        waiting: deque[Future[FileRows]] = deque()
        for task in tasks:
            waiting.append(pool.submit(read_rows, task))
            if len(waiting) >= count * _AHEAD:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    except BrokenProcessPool as error:
        raise UnreadableError(
            "a worker process was killed; too little memory, perhaps: try --jobs 1"
        ) from error
    finally:
        pool.shutdown(cancel_futures=True)
