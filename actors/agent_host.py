"""Ray shell of `Owner`: a named, detached actor that carries thousands of agents, or one (`isolation: dedicated`).

Everything runs on the actor's event loop, so that the owner's state has a single thread; compiling a bundle is the one
thing that happens beside it.
"""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import ray

from actors import deciding, outcomes, registration, sessions
from actors.active_bundle import ActiveBundle
from actors.agent_journal import forget_old_decisions, open_agent_journal, registered
from actors.directory import REFRESH_S, Activation, Directory
from actors.handles import actor_handle
from actors.journal import JournalError
from actors.log_feed import LogFeed
from actors.messages import Outcome, SessionRequest
from actors.owner import Owner, OwnerSettings
from actors.placement import CONTROL_STORE
from actors.records import AgentRecord
from actors.world import REAL, monotonic_s
from controlplane.errors import UnavailableError

log = logging.getLogger(__name__)

LEASE_TIMEOUT_S = 1.0
HOUSEKEEPING_S = 60.0


class AgentHost:
    """The owner of some agents.

    Args:
        name: of the actor and of its journal.
        ordinal: of its log.
        journals: the folder of the journals.
        secrets_file: JSON with `session_key`, 32 bytes in hexadecimal; readable by us alone.
        awake_limit: how many agents stay in memory.
    """

    def __init__(
        self, name: str, ordinal: int, journals: str, secrets_file: str, awake_limit: int = 2000
    ) -> None:
        session_key = bytes.fromhex(json.loads(Path(secrets_file).read_text())["session_key"])
        self._settings = OwnerSettings(
            name=name, ordinal=ordinal, session_key=session_key, awake_limit=awake_limit
        )
        self._path = Path(journals) / f"{name}.db"
        self._directory = Directory()
        self._feed = LogFeed()
        self._owner: Owner | None = None
        self._compiling = asyncio.Lock()
        loop = asyncio.get_running_loop()
        # An exception in `__init__` would end a Ray actor for good: what can fail is done, and done again, in tasks.
        self._tasks = [
            loop.create_task(self._repeat(REFRESH_S, self._refresh)),
            loop.create_task(self._repeat(HOUSEKEEPING_S, self._tidy)),
        ]

    # -- the decision path ---------------------------------------------------------------------------------------

    async def decide(self, digest: str | None, requests: list[tuple[Any, ...]]) -> tuple[Any, ...]:
        """See `deciding.decide`. One fsync serves the whole batch."""
        return deciding.decide(self._live(), digest, requests)

    # -- management ----------------------------------------------------------------------------------------------

    async def activate(self, digest: str | None, number: int, sources: list[tuple[str, str]]) -> bool:
        """Decide with this bundle from now on. True when it is, or a newer one is, active here."""
        await self._adopt(Activation(digest, number), sources)
        return self._live().activation.number >= number

    async def refresh(self) -> bool:
        """Renew the lease now. True when it was renewed."""
        await self._refresh()
        return True

    async def register_agent(self, record: dict[str, Any], key_id: str) -> dict[str, Any]:
        return registration.register_agent(self._live(), AgentRecord.from_json(record), key_id=key_id)

    async def describe_agent(self, key: str) -> dict[str, Any]:
        return registration.describe_agent(self._live(), key)

    async def open_session(self, request: tuple[Any, ...]) -> dict[str, Any]:
        return sessions.open_session(self._live(), SessionRequest._make(request))

    async def session_subject(self, name: str) -> str:
        return sessions.session_subject(self._live(), name)

    async def add_task(self, name: str, task_digest: bytes, key_id: str) -> dict[str, Any]:
        return sessions.add_task(self._live(), name, task_digest=task_digest, key_id=key_id)

    async def end_session(self, name: str, key_id: str) -> dict[str, Any]:
        return sessions.end_session(self._live(), name, key_id=key_id)

    async def report_outcome(self, outcome: tuple[Any, ...]) -> dict[str, Any]:
        return outcomes.report_outcome(self._live(), Outcome._make(outcome))

    async def describe_decision(self, decision_id: str) -> dict[str, Any]:
        return outcomes.describe_decision(self._live(), decision_id)

    async def status(self) -> dict[str, Any]:
        """What an operator wants to know; answers also while the host cannot decide."""
        owner, reason = self._owner, self._not_ready()
        status: dict[str, Any] = {"name": self._settings.name, "ready": reason is None, "reason": reason}
        if owner is not None and owner.journal.usable:
            status |= {
                "log": owner.journal.log_id,
                "epoch": owner.journal.epoch,
                "pending_rows": owner.journal.pending_count(),
                "agents": len(registered(owner.journal)),
                "awake": owner.awake(),
                "bundle": owner.activation.digest,
            }
        return status

    # -- evidence ------------------------------------------------------------------------------------------------

    async def pending(self, after_seq: int, limit: int) -> tuple[Any, ...] | None:
        owner = self._owner
        if owner is None or not owner.journal.usable:
            return None
        return self._feed.pending(owner.journal, after_seq, limit)

    async def trim(self, log_id: str, landed_seq: int) -> None:
        if self._owner is not None:
            self._feed.trim(self._owner.journal, log_id, landed_seq)

    # -- inside --------------------------------------------------------------------------------------------------

    def _not_ready(self) -> str | None:
        owner = self._owner
        if owner is None or not owner.journal.usable:
            return "journal_unavailable"
        if self._feed.rolled_back is not None:
            return "journal_rolled_back"
        if not self._directory.fresh(now_s=monotonic_s()):
            return "lease_expired"
        if owner.activation.digest is not None and owner.active is None:
            return "bundle_loading"
        return None

    def _live(self) -> Owner:
        # INVARIANT (fail closed): no journal, or one from the past, and nothing here answers.
        if self._owner is None or not self._owner.journal.usable:
            raise UnavailableError(
                f"the journal of `{self._settings.name}` is not open", code="journal_unavailable"
            )
        if self._feed.rolled_back is not None:
            raise UnavailableError(self._feed.rolled_back, code="journal_rolled_back")
        return self._owner

    async def _refresh(self) -> None:
        """Twice a second: an open journal, a fresh lease, the active bundle."""
        if self._owner is None or not self._owner.journal.usable:
            self._open()
        sent_s = monotonic_s()
        store = actor_handle(CONTROL_STORE)
        lease = await asyncio.wait_for(store.lease.remote(self._directory.revision), LEASE_TIMEOUT_S)
        self._directory.apply(*lease, sent_s=sent_s)
        owner, wanted = self._owner, self._directory.activation
        if owner is None or wanted.digest is None:
            return
        if owner.active is None or owner.activation.number < wanted.number:
            stored = await store.call.remote("bundle", {"digest": wanted.digest})
            await self._adopt(wanted, stored["sources"])

    def _open(self) -> None:
        new_log_id = f"{self._settings.name}.{REAL.random_bytes(4).hex()}"
        journal = open_agent_journal(self._path, new_log_id=new_log_id)
        # The journal's active digest stands, but only a compiled bundle decides: until then it is `stale_bundle`.
        self._owner = Owner(self._settings, journal, self._directory, REAL)

    async def _adopt(self, wanted: Activation, sources: list[Any]) -> None:
        async with self._compiling:
            owner = self._live()
            if owner.active is not None and owner.activation.number >= wanted.number:
                return
            compiled = await asyncio.to_thread(ActiveBundle.compile, [(name, text) for name, text in sources])
            # The journal may have been opened anew meanwhile; the bundle belongs to whoever owns it now.
            self._live().adopt(compiled, wanted)

    async def _tidy(self) -> None:
        owner = self._owner
        if owner is not None and owner.journal.usable:
            with owner.journal.transaction() as step:
                forget_old_decisions(step, now_us=owner.event_time().us)

    async def _repeat(self, interval_s: float, work: Callable[[], Any]) -> None:
        while True:
            try:
                await work()
            except (
                JournalError,
                UnavailableError,
                ray.exceptions.RayError,
                TimeoutError,
                ValueError,
            ) as error:
                log.warning("%s: %s: %s", self._settings.name, type(error).__name__, str(error)[:300])
            except Exception:
                log.exception("%s: background work failed; it is tried again", self._settings.name)
            await asyncio.sleep(interval_s)
