"""The bundles that a replica can prepare actions with."""

from __future__ import annotations

import asyncio
from collections import OrderedDict

from controlplane.service.actor_calls import call_control
from policies.compile import compile_bundle
from policies.loader import Source, load_documents
from policies.prepare import Preparer

_KEPT = 3


class BundleCache:
    """Preparers by digest: the active bundle's and, around an activation, its neighbours'."""

    def __init__(self) -> None:
        self._preparers: OrderedDict[str, Preparer] = OrderedDict()
        self._loading = asyncio.Lock()

    def ready(self, digest: str) -> Preparer | None:
        return self._preparers.get(digest)

    async def get(self, digest: str) -> Preparer:
        """The preparer of a stored bundle; fetched and compiled once, beside the event loop.

        Raises: NotFoundError, UnavailableError.
        """
        preparer = self._preparers.get(digest)
        if preparer is not None:
            return preparer
        async with self._loading:
            if digest not in self._preparers:
                stored = await call_control("bundle", digest=digest)
                self._preparers[digest] = await asyncio.to_thread(_compile, stored["sources"])
                while len(self._preparers) > _KEPT:
                    self._preparers.popitem(last=False)
            return self._preparers[digest]


def _compile(sources: list[tuple[str, str]]) -> Preparer:
    return Preparer(compile_bundle(load_documents([Source(name=name, text=text) for name, text in sources])))
