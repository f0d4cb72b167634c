"""A replica's data keys: fetched from the control store, many at once, and kept for half a minute.

INVARIANT (erasure): a key that was destroyed encrypts and opens nothing any more after `KEPT_S`, and what a fetch that
was under way takes; within `EFFECTIVE_S` together. Opening never uses what is kept here.
"""

from __future__ import annotations

import asyncio
import hmac
import logging
from collections import OrderedDict
from collections.abc import Callable, Iterable
from hashlib import blake2b
from typing import Any, Final

from actors.data_keys import MOST_AT_ONCE
from controlplane.privacy.sealing import KEY_BYTES, NONCE_BYTES, DataKey, unwrap, wrap
from controlplane.service.actor_calls import call_control

log = logging.getLogger(__name__)

KEPT_S: Final = 30
EFFECTIVE_S: Final = 60
MOST_KEPT: Final = 10_000
_ASKING_S: Final = 1
"""How long a decision waits for keys, and for how long nobody asks again after a failure."""
_ID_BYTES: Final = 16

Subject = tuple[str, str]
"""(tenant, keyed digest)"""


class DataKeys:
    """One a replica; not thread-safe.

    Args:
        digest_key: subjects are digested under a key derived from it.
        wrapping_key: under which data keys are kept; b"" = none can be had, and whatever is to be encrypted is masked.
    """

    def __init__(
        self,
        *,
        digest_key: bytes,
        wrapping_key: bytes,
        random_bytes: Callable[[int], bytes],
        monotonic_s: Callable[[], float],
    ) -> None:
        self._subject_key = blake2b(digest_key, person=b"cp subjects", digest_size=32).digest()
        self._wrapping_key = wrapping_key
        self._random_bytes = random_bytes
        self._monotonic_s = monotonic_s
        self._kept: OrderedDict[Subject, tuple[DataKey, float]] = OrderedDict()
        self._wanted: dict[Subject, asyncio.Future[None]] = {}
        self._asking: asyncio.Task[None] | None = None
        self._not_before_s = float("-inf")
        self._forgotten: set[Subject] = set()

    def digest(self, tenant: str, subject: str) -> str:
        """What stands for a data subject (`type:id`) wherever one is kept. Hexadecimal."""
        return hmac.digest(self._subject_key, f"{tenant}\0{subject}".encode(), "sha256").hex()

    def get(self, tenant: str, subject: str) -> DataKey | None:
        """A subject's key, if it was fetched in the last `KEPT_S`."""
        known = self._kept.get((tenant, self.digest(tenant, subject)))
        return None if known is None or known[1] < self._monotonic_s() else known[0]

    async def fetch(self, tenant: str, subjects: Iterable[str], *, within_s: float) -> None:
        """Have the keys of these subjects ready for `get`, made if there are none. What cannot be had is left out.

        Args: within_s: what is left for the decision; at most half of it is waited.
        Cost: nothing for those that are kept; else a call to the control store that all who wait share, and for new
        subjects one fsync there.
        """
        now_s = self._monotonic_s()
        if not self._wrapping_key or now_s < self._not_before_s:
            return
        waiting = []
        for subject in dict.fromkeys(subjects):
            wanted = (tenant, self.digest(tenant, subject))
            known = self._kept.get(wanted)
            if known is None or known[1] < now_s:
                waiting.append(self._want(wanted))
        if waiting:
            await asyncio.wait(waiting, timeout=max(0.0, min(within_s / 2, _ASKING_S)))

    def forget(self, tenant: str, subject: str) -> None:
        """It was erased: this replica need not wait."""
        erased = (tenant, self.digest(tenant, subject))
        self._kept.pop(erased, None)
        if self._asking is not None:
            self._forgotten.add(erased)  # its key may be on its way

    async def by_id(self, tenant: str, ids: list[str]) -> list[DataKey | None]:
        """Keys by their ids, as they are now; None: destroyed, never there, or wrapped under another wrapping key.

        Raises: UnavailableError.
        """
        found: list[Any] = await call_control("data_keys_by_id", tenant=tenant, ids=ids)
        return [
            None if one is None else self._unwrapped((tenant, one[0]), identity, one[1])
            for identity, one in zip(ids, found, strict=True)
        ]

    def _want(self, wanted: Subject) -> asyncio.Future[None]:
        future = self._wanted.get(wanted)
        if future is None:
            future = self._wanted[wanted] = asyncio.get_running_loop().create_future()
        if self._asking is None:
            self._asking = asyncio.get_running_loop().create_task(self._ask())
        return future

    async def _ask(self) -> None:
        """Ask for what is wanted, for as long as something is: one call at a time, and what comes meanwhile goes in the
        next."""
        try:
            while self._wanted:
                batch = list(self._wanted)[:MOST_AT_ONCE]
                try:
                    await self._ask_for(batch)
                except Exception as error:
                    self._not_before_s = self._monotonic_s() + _ASKING_S
                    log.warning("data keys cannot be had; what is to be encrypted is masked: %s", error)
                finally:
                    for wanted in batch:
                        future = self._wanted.pop(wanted)
                        if not future.done():
                            future.set_result(None)
        finally:
            self._asking = None

    async def _ask_for(self, batch: list[Subject]) -> None:
        until_s = self._monotonic_s() + KEPT_S
        self._forgotten.clear()
        asked = [(*wanted, *self._fresh(wanted)) for wanted in batch]
        found = await call_control("data_keys", wanted=asked, timeout_s=_ASKING_S)
        for wanted, one in zip(batch, found, strict=True):
            key = None if one is None else self._unwrapped(wanted, *one)
            if key is not None and wanted not in self._forgotten:
                self._kept[wanted] = (key, until_s)
                self._kept.move_to_end(wanted)
        while len(self._kept) > MOST_KEPT:
            self._kept.popitem(last=False)

    def _fresh(self, wanted: Subject) -> tuple[str, bytes]:
        """(id, wrapped) of a new key, for a subject that has none."""
        tenant, subject = wanted
        identity = self._random_bytes(_ID_BYTES).hex()
        key, nonce = self._random_bytes(KEY_BYTES), self._random_bytes(NONCE_BYTES)
        wrapped = wrap(
            self._wrapping_key, key, identity=identity, tenant=tenant, subject=subject, nonce=nonce
        )
        return identity, wrapped

    def _unwrapped(self, wanted: Subject, identity: str, wrapped: bytes) -> DataKey | None:
        tenant, subject = wanted
        key = unwrap(self._wrapping_key, wrapped, identity=identity, tenant=tenant, subject=subject)
        if key is None:
            log.error("the data key %s does not open under this wrapping key: is it another one's?", identity)
        return key
