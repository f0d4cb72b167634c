"""Who is calling: a bearer key, looked up in the leased directory."""

from __future__ import annotations

import time

from actors.api_keys import Caller, split, verify
from controlplane.errors import UnauthenticatedError, UnavailableError
from controlplane.service.fleet import Fleet


class Authenticator:
    """Turns an `Authorization` header into a `Caller`. Cost: a few microseconds."""

    def __init__(self, fleet: Fleet) -> None:
        self._fleet = fleet

    async def caller(self, authorization: str | None) -> Caller:
        """The holder of a good key.

        Raises: UnauthenticatedError: no key, or not a good one. UnavailableError: we cannot know now.
        """
        if authorization is None:
            raise UnauthenticatedError(
                "send `Authorization: Bearer cp_…`; `controlplane keys create` makes a key"
            )
        scheme, _, key = authorization.partition(" ")
        parts = split(key.strip()) if scheme.lower() == "bearer" else None
        if parts is None:
            raise UnauthenticatedError("`Authorization` must be `Bearer ` and a key that begins with `cp_`")
        # INVARIANT (lease): a copy of the directory that may have missed a revocation lets nobody in.
        if not self._fleet.fresh():
            await self._fleet.refresh()
            if not self._fleet.fresh():
                raise UnavailableError(
                    "keys cannot be checked now: the control store is away", code="lease_expired"
                )
        identity, found_hash = parts
        entry = self._fleet.directory.get("key", identity)
        if entry is None:
            # It may have been created a moment ago.
            await self._fleet.refresh()
            entry = self._fleet.directory.get("key", identity)
        if entry is None:
            raise UnauthenticatedError("this key is unknown")
        reason = verify(entry, found_hash, now_us=time.time_ns() // 1000)
        if reason is not None:
            raise UnauthenticatedError(f"this key is {reason}", code=f"key_{reason}")
        return Caller.of(identity, entry)
