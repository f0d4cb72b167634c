"""The bundles that a process has compiled: one that was made ready costs nothing when it is activated."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from actors.active_bundle import ActiveBundle
from actors.owner import BundleMismatchError

COMPILED_KEPT = 3
"""The active bundle, the one that is about to be, and the shadow."""


class CompiledBundles:
    """Compiled bundles by digest, the last few. For one event loop, whose thread does not wait for the compiler."""

    def __init__(self) -> None:
        self._kept: dict[str, ActiveBundle] = {}
        self._compiling = asyncio.Lock()

    async def compiled(self, digest: str, sources: Sequence[tuple[str, str]]) -> ActiveBundle:
        """A bundle, compiled if it is not kept. One at a time: whoever comes meanwhile waits.

        Args: sources: (name, text) each.
        Raises: BundleMismatchError: the sources have another digest in this version. What compiling raises.
        """
        async with self._compiling:
            known = self._kept.get(digest)
            if known is not None:
                return known
            compiled = await asyncio.to_thread(ActiveBundle.compile, [(name, text) for name, text in sources])
            if compiled.digest != digest:
                raise BundleMismatchError(
                    f"the stored bundle {digest} compiles to {compiled.digest} with this version; upload and "
                    "activate its sources again",
                    expected=digest,
                    found=compiled.digest,
                )
            self._kept[digest] = compiled
            while len(self._kept) > COMPILED_KEPT:
                del self._kept[next(iter(self._kept))]
            return compiled
