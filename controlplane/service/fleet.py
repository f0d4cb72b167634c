"""A replica's view of the fleet: the leased directory, and which owner an agent or an id belongs to."""

from __future__ import annotations

import asyncio
import logging

from actors.directory import REFRESH_S, Directory
from actors.ids import agent_key, delegation_ordinal, ordinal_of_decision, session_ordinal
from actors.placement import CONTROL_STORE, host_name, host_of
from actors.world import monotonic_s
from controlplane.errors import GovernanceError, NotFoundError
from controlplane.service.actor_calls import call_actor

log = logging.getLogger(__name__)

_LEASE_TIMEOUT_S = 1.0
_MINIMUM_GAP_S = 0.05


class Fleet:
    """Where everything is. One a replica; `run` keeps it fresh."""

    def __init__(self, hosts: int) -> None:
        self.hosts = hosts
        self._names = [host_name(index) for index in range(hosts)]
        self.directory = Directory()
        self._refreshing = asyncio.Lock()
        self._last_sent_s = float("-inf")

    def fresh(self) -> bool:
        """Whether the lease on the control store holds."""
        return self.directory.fresh(now_s=monotonic_s())

    async def run(self) -> None:
        """Renew the lease twice a second, for as long as the replica lives."""
        while True:
            try:
                await self.refresh()
            except Exception:
                log.exception("renewing the lease failed; it is tried again")
            await asyncio.sleep(REFRESH_S)

    async def refresh(self) -> None:
        """Renew the lease now: what was durable before the call is known after it.

        Callers share one renewal if it was asked for after they came, and renewals are 50 ms apart at least, so
        that unknown keys cannot be used to hammer the control store.
        """
        came_s = monotonic_s()
        async with self._refreshing:
            if self._last_sent_s > came_s:
                return
            await asyncio.sleep(max(0.0, self._last_sent_s + _MINIMUM_GAP_S - monotonic_s()))
            self._last_sent_s = sent_s = monotonic_s()
            try:
                lease = await call_actor(
                    CONTROL_STORE, "lease", self.directory.revision, timeout_s=_LEASE_TIMEOUT_S
                )
                self.directory.apply(*lease, sent_s=sent_s)
            except GovernanceError as error:
                log.warning("the lease was not renewed: %s", error.message)

    def owner_of(self, tenant: str, subject_type: str, subject_id: str) -> str:
        """The actor that owns a subject."""
        key = agent_key(tenant, subject_type, subject_id)
        dedicated = self.directory.get("dedicated", key)
        return dedicated["name"] if dedicated else self._names[host_of(key, self.hosts)]

    def owner_of_decision(self, decision_id: str) -> str:
        """The actor that holds a decision. Raises: NotFoundError: no id of ours."""
        return self._owner_of_ordinal(ordinal_of_decision(decision_id), f"no decision `{decision_id[:64]}`")

    def owner_of_session(self, session: str) -> str:
        """The actor that a session id points to. Raises: NotFoundError: no id of ours."""
        text = f"no session `{session[:64]}`"
        return self._owner_of_ordinal(session_ordinal(session), text, code="unknown_session")

    def owner_of_delegation(self, token: str) -> str:
        """The actor that a delegation token points to. Raises: NotFoundError: no token of ours."""
        ordinal = delegation_ordinal(token)
        return self._owner_of_ordinal(ordinal, "no such delegation", code="unknown_delegation")

    def deciding_owner(self, tenant: str, subject_type: str, subject_id: str, session: str | None) -> str:
        """The actor that decides a subject's action: of an agent's session, the one that the session lives with.

        A session id that points nowhere is refused by the subject's own.
        """
        ordinal = None if session is None or subject_type != "agent" else session_ordinal(session)
        owner = None if ordinal is None else self.named(ordinal)
        return owner or self.owner_of(tenant, subject_type, subject_id)

    def owner_names(self) -> list[str]:
        return self._names + [entry["name"] for entry in self.directory.all("dedicated").values()]

    def named(self, ordinal: int) -> str | None:
        """The actor whose log has this ordinal, if there is one."""
        if ordinal < self.hosts:
            return self._names[ordinal]
        for entry in self.directory.all("dedicated").values():
            if entry["ordinal"] == ordinal:
                return str(entry["name"])
        return None

    def _owner_of_ordinal(self, ordinal: int | None, text: str, *, code: str | None = None) -> str:
        owner = None if ordinal is None else self.named(ordinal)
        if owner is None:
            raise NotFoundError(text, code=code)
        return owner
