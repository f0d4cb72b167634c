"""The bundles that a replica can prepare actions with."""

from __future__ import annotations

import asyncio
import logging
from collections import OrderedDict
from hashlib import blake2b

from controlplane.errors import GovernanceError, UnavailableError
from controlplane.service.actor_calls import call_control
from policies.bundle import Bundle
from policies.compile import compile_sources
from policies.origin.hashing import TokenHasher
from policies.prepare import Preparer

log = logging.getLogger(__name__)

_KEPT = 3
_RETRY_S = 0.25
_SHADOW_RETRY_S = 5.0


class BundleCache:
    """Preparers by digest: the active bundle's and, around an activation, its neighbours'.

    Args:
        digest_key: the keys that pasts are kept by, and origins, are digested under keys derived from it.
    Attributes:
        hasher: of the values that origins are known by.
    """

    def __init__(self, digest_key: bytes = b"") -> None:
        self._value_key = blake2b(digest_key, person=b"cp past keys").digest()
        self.hasher = TokenHasher(blake2b(digest_key, person=b"cp origin keys", digest_size=32).digest())
        self._preparers: OrderedDict[str, Preparer] = OrderedDict()
        self._loading: dict[str, asyncio.Task[Preparer]] = {}
        self._shadow: tuple[str, Preparer | None] | None = None
        self._casting: set[asyncio.Task[None]] = set()

    def best(self, digest: str | None) -> str | None:
        """The digest to prepare with now: `digest` when it is ready, else the newest that is, while it is loaded in
        the background. Owners say `stale` to one that is no longer active, and name the one that is."""
        if digest is None or digest in self._preparers:
            return digest
        self._load(digest)
        return next(reversed(self._preparers), digest)

    def ready(self, digest: str | None) -> Preparer | None:
        """The preparer of this bundle, if nobody has to wait for it."""
        return None if digest is None else self._preparers.get(digest)

    def shadow(self, digest: str) -> Preparer | None:
        """The preparer of the shadow bundle; None while it is loaded in the background, for which nobody waits."""
        if self._shadow is None or self._shadow[0] != digest:
            self._shadow = (digest, None)
            task = asyncio.get_running_loop().create_task(self._load_shadow(digest))
            self._casting.add(task)
            task.add_done_callback(self._casting.discard)
        return self._shadow[1]

    async def _load_shadow(self, digest: str) -> None:
        while self._shadow is not None and self._shadow[0] == digest:
            try:
                stored = await call_control("bundle", digest=digest)
                bundle = await asyncio.to_thread(compile_sources, stored["sources"])
                self._shadow = (digest, await asyncio.to_thread(self._made, bundle))
                return
            except GovernanceError as error:
                log.warning("the shadow bundle %s cannot be loaded: %s", digest, error)
                await asyncio.sleep(_SHADOW_RETRY_S)

    async def get(self, digest: str, *, timeout_s: float) -> Preparer:
        """The preparer of a stored bundle; fetched and compiled once, beside the event loop.

        Raises: NotFoundError; UnavailableError: it is not ready in time.
        """
        preparer = self._preparers.get(digest)
        if preparer is not None:
            return preparer
        try:
            async with asyncio.timeout(timeout_s):
                return await asyncio.shield(self._load(digest))
        except TimeoutError:
            raise UnavailableError(
                "the active bundle is still being compiled", code="bundle_loading"
            ) from None

    async def keep(self, bundle: Bundle) -> Preparer:
        """Take in a bundle that was compiled here already. Cost: about 80 µs a condition, beside the event loop."""
        preparer = await asyncio.to_thread(self._made, bundle)
        self._preparers[bundle.digest] = preparer
        self._preparers.move_to_end(bundle.digest)
        while len(self._preparers) > _KEPT:
            self._preparers.popitem(last=False)
        return preparer

    def _made(self, bundle: Bundle) -> Preparer:
        return Preparer(bundle, value_key=self._value_key, hasher=self.hasher)

    def _load(self, digest: str) -> asyncio.Task[Preparer]:
        task = self._loading.get(digest)
        if task is None:
            task = self._loading[digest] = asyncio.get_running_loop().create_task(self._fetch(digest))
            task.add_done_callback(lambda done: self._loaded(digest, done))
        return task

    def _loaded(self, digest: str, task: asyncio.Task[Preparer]) -> None:
        if not task.cancelled() and (error := task.exception()) is not None:
            # Whoever asks meanwhile is told the same: a request each would be a call and a line in the log each.
            log.warning("bundle %s cannot be loaded: %s", digest, error)
            asyncio.get_running_loop().call_later(_RETRY_S, self._loading.pop, digest)
        else:
            del self._loading[digest]

    async def _fetch(self, digest: str) -> Preparer:
        stored = await call_control("bundle", digest=digest)
        bundle = await asyncio.to_thread(compile_sources, stored["sources"])
        if bundle.digest != digest:
            raise UnavailableError(
                f"the stored bundle {digest} compiles to {bundle.digest} with this version; upload and activate its "
                "sources again",
                code="bundle_mismatch",
            )
        return await self.keep(bundle)
