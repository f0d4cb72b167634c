"""Ray shell of `Owner`: a named, detached actor that carries thousands of agents, or one (`isolation: dedicated`).

Everything runs on the actor's event loop, so that the owner's state has a single thread; compiling a bundle is the one
thing that happens beside it.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from actors import housekeeping, reconciliation
from actors.agent_journal import open_agent_journal
from actors.alarms.disks import journals_of, measure
from actors.approvals import calls as approval_calls
from actors.bounds import EVIDENCE_BACKLOG, OUTCOME_TIMEOUT_S
from actors.channel import channel_path, private_folder, serve
from actors.collector import collect_seldom
from actors.compiled_bundles import CompiledBundles
from actors.control import SHADOW
from actors.directory import REFRESH_S, Activation, Directory
from actors.handles import ask
from actors.journal_folder import Place, refuse_another
from actors.log_feed import LogFeed
from actors.owner import BundleMismatchError, EvidenceBacklogError, Owner, OwnerSettings
from actors.owner_work import WORK
from actors.placement import CONTROL_STORE
from actors.shadowing import Shadow
from actors.stops import counting as stop_counting
from actors.stops import handover as stop_handover
from actors.stops.live import Stop
from actors.world import REAL, monotonic_s
from controlplane.errors import GovernanceError, UnavailableError

log = logging.getLogger(__name__)

LEASE_TIMEOUT_S = 1.0
BUNDLE_TIMEOUT_S = 10.0
SETTLE_TIMEOUT_S = 5.0
HOUSEKEEPING_S = 60.0
LISTEN_S = 5.0
INDEX_S = 1.0


class AgentHost(approval_calls.ApprovalCalls):
    """The owner of some agents.

    Args:
        name: of the actor and of its journal.
        ordinal: of its log.
        journals: the folder of the journals.
        secrets_file: JSON with `session_key`, 32 bytes in hexadecimal; readable by us alone.
        channels: the folder, on each node, for the sockets of its owners; empty = none.
        place: whose folder of journals it must be, see `actors.journal_folder`; None = any.
        awake_limit: how many agents stay in memory.
        evidence_backlog, outcome_timeout_s, stop_on_mismatch: see `OwnerSettings`.
    """

    def __init__(
        self,
        name: str,
        ordinal: int,
        journals: str,
        secrets_file: str,
        channels: str = "",
        place: tuple[str, str] | None = None,
        awake_limit: int = 2000,
        evidence_backlog: int = EVIDENCE_BACKLOG,
        outcome_timeout_s: int = OUTCOME_TIMEOUT_S,
        stop_on_mismatch: bool = True,
    ) -> None:
        self._name = name
        self._ordinal = ordinal
        self._awake_limit = awake_limit
        self._evidence_backlog = evidence_backlog
        self._outcome_timeout_s = outcome_timeout_s
        self._stop_on_mismatch = stop_on_mismatch
        self._secrets_file = Path(secrets_file)
        self._channels = Path(channels) if channels else None
        self._listening: Any = None
        self._place = Place(*place) if place else None
        self._cannot_open = "journal_unavailable"
        self._path = Path(journals) / f"{name}.db"
        self._directory = Directory()
        self._feed = LogFeed()
        self._owner: Owner | None = None
        self._bundles = CompiledBundles()
        self._refreshing = asyncio.Lock()
        self._renewed_s = float("-inf")
        self._handing = stop_handover.HandOver()
        self._adopting: asyncio.Task[None] | None = None
        self._casting: asyncio.Task[None] | None = None
        self._cannot_adopt: str | None = None
        collect_seldom()
        loop = asyncio.get_running_loop()
        # An exception in `__init__` would end a Ray actor for good: what can fail is done, and done again, in tasks.
        self._tasks = [
            loop.create_task(self._repeat(REFRESH_S, self.refresh)),
            loop.create_task(self._repeat(HOUSEKEEPING_S, partial(housekeeping.tidy, self._usable))),
            loop.create_task(self._repeat(LISTEN_S, self._listen)),
            loop.create_task(self._repeat(INDEX_S, partial(housekeeping.index, self._usable))),
            loop.create_task(self._repeat(stop_handover.LEAST_GAP_S, self._hand_over)),
            loop.create_task(self._repeat(approval_calls.APPROVALS_S, self._see_to_approvals)),
            loop.create_task(self._repeat(reconciliation.RECONCILE_S, self._reconcile)),
        ]

    # -- what agents wait for ------------------------------------------------------------------------------------

    async def _listen(self) -> None:
        """Answer replicas of this machine on a socket, without Ray in between. What fails is tried again."""
        if self._channels is None or self._listening is not None:
            return
        private_folder(self._channels)
        self._listening = await serve(channel_path(self._channels, self._name), lambda call: self._do(*call))

    def _do(self, what: str, *arguments: Any) -> Any:
        """One of `WORK`, whichever way the call came."""
        owner = self._live()
        try:
            return WORK[what](owner, *arguments)
        finally:
            # After what only looks, too: whoever asks for thousands of agents wakes thousands.
            owner.rest_surplus()
            self._handing.look(owner)

    async def decide(self, digest: str | None, requests: list[tuple[Any, ...]]) -> Any:
        return self._do("decide", digest, requests)

    async def vouch(self, digest: str | None, requests: list[tuple[Any, ...]]) -> Any:
        return self._do("vouch", digest, requests)

    async def vouch_for_agent(self, tenant: str, agent_id: str) -> Any:
        return self._do("vouch_for_agent", tenant, agent_id)

    async def settle(self, told: list[tuple[Any, ...]]) -> Any:
        return self._do("settle", told)

    async def fates(self, asked: list[str]) -> Any:
        return self._do("fates", asked)

    async def register_agent(self, tenant: str, agent_id: str, given: dict[str, Any], key_id: str) -> Any:
        return self._do("register_agent", tenant, agent_id, given, key_id)

    async def describe_agent(self, key: str) -> Any:
        return self._do("describe_agent", key)

    async def open_session(self, request: tuple[Any, ...]) -> Any:
        return self._do("open_session", request)

    async def open_child(self, request: tuple[Any, ...]) -> Any:
        return self._do("open_child", request)

    async def delegate(self, request: tuple[Any, ...]) -> Any:
        return self._do("delegate", request)

    async def session_subject(self, name: str) -> Any:
        return self._do("session_subject", name)

    async def add_task(
        self, name: str, task_digest: bytes, told: tuple[Any, ...], basis: bytes | None, key_id: str
    ) -> Any:
        return self._do("add_task", name, task_digest, told, basis, key_id)

    async def end_session(self, name: str, key_id: str) -> Any:
        return self._do("end_session", name, key_id)

    async def report_outcome(self, outcome: tuple[Any, ...]) -> Any:
        return self._do("report_outcome", outcome)

    async def describe_decision(self, decision_id: str) -> Any:
        return self._do("describe_decision", decision_id)

    # -- management ----------------------------------------------------------------------------------------------

    async def prepare_bundle(self, digest: str, sources: list[tuple[str, str]]) -> bool:
        """Compile a bundle that is about to be activated, so that the activation itself costs nothing."""
        await self._bundles.compiled(digest, sources)
        return True

    async def activate(
        self, digest: str, number: int, sources: list[tuple[str, str]], lenient: bool = False
    ) -> bool:
        """Decide with this bundle from now on. True when it is, or a newer one is, active here."""
        compiled = await self._bundles.compiled(digest, sources)
        owner = self._live()
        wanted = Activation(digest, number, lenient)
        owner.adopt(compiled, wanted)
        return owner.activation == wanted or owner.activation.number > number

    async def count_stopped(self, stop: dict[str, Any]) -> tuple[int, int]:
        """See `stop_counting.count`."""
        return await stop_counting.count(self._live(), Stop.from_json(stop))

    async def refresh(self) -> bool:
        """Renew the lease now, and see to the journal and the active bundle. True when the lease was renewed."""
        came_s = monotonic_s()
        owner = self._owner
        if owner is not None and owner.journal.fenced:
            # INVARIANT (single owner): whoever was superseded never opens the journal again. If it is we whom Ray
            # knows under this name, Ray starts us anew.
            log.critical("`%s`: the journal has another owner; this process ends", self._name)
            os._exit(70)
        if owner is None or not owner.journal.usable:
            self._open()
        async with self._refreshing:
            # One that was asked for after we came will do.
            if self._renewed_s <= came_s:
                sent_s = monotonic_s()
                lease = await ask(CONTROL_STORE, "lease", self._directory.revision, timeout_s=LEASE_TIMEOUT_S)
                self._directory.apply(*lease, sent_s=sent_s)
                if self._owner is not None:
                    self._owner.stops.settle(self._directory.revision)
                self._renewed_s = sent_s
        if self._casting is None or self._casting.done():
            self._casting = asyncio.get_running_loop().create_task(self._follow_shadow())
        if self._adopting is None or self._adopting.done():
            # A task of its own: the lease must not wait for a compiler.
            self._adopting = asyncio.get_running_loop().create_task(self._follow())
        return True

    async def status(self) -> dict[str, Any]:
        """What an operator wants to know; answers also while the host cannot decide."""
        owner, reason = self._owner, self._not_ready()
        status: dict[str, Any] = {"name": self._name, "ready": reason is None, "reason": reason}
        if owner is not None and owner.journal.usable:
            status |= {
                "log": owner.journal.log_id,
                "epoch": owner.journal.epoch,
                "pending_rows": owner.journal.pending_count(),
                "evidence_backlog": self._evidence_backlog,
                "agents": owner.registered,
                "awake": owner.awake(),
                "bundle": owner.activation.digest,
            }
        return status

    # -- evidence ------------------------------------------------------------------------------------------------

    async def pending(self, limit: int) -> tuple[Any, ...] | None:
        owner = self._owner
        if owner is None or not owner.journal.usable:
            return None
        disk = measure(self._path, journals_of(self._place))
        return *self._feed.pending(owner.journal, limit), disk

    async def trim(self, log_id: str, landed_seq: int) -> None:
        # One journal's: another that is opened meanwhile has to be spoken of anew.
        owner, feed = self._owner, self._feed
        more = True
        while more and owner is not None:
            more = feed.trim(owner.journal, log_id, landed_seq)
            await asyncio.sleep(0)

    # -- inside --------------------------------------------------------------------------------------------------

    def _usable(self) -> Owner | None:
        owner = self._owner
        return owner if owner is not None and owner.journal.usable else None

    async def _hand_over(self) -> None:
        take = partial(ask, CONTROL_STORE, "take_stops", timeout_s=LEASE_TIMEOUT_S)
        await self._handing.round(self._usable, take)

    def _not_ready(self) -> str | None:
        owner = self._owner
        if owner is None or not owner.journal.usable:
            return self._cannot_open
        if self._feed.trouble is not None:
            return self._feed.trouble
        if owner.backlogged():
            return EvidenceBacklogError.code
        if not owner.event_time().certain:
            return "clock_uncertain"
        if not self._directory.fresh(now_s=monotonic_s()):
            return "lease_expired"
        # A new owner's journal names no bundle; it is not ready either before it has the one that is active.
        if owner.active is None and (owner.activation.digest or self._directory.activation.digest):
            return self._cannot_adopt or "bundle_loading"
        return (self._cannot_adopt or "bundle_lagging") if owner.lagging() else None

    def _live(self) -> Owner:
        # INVARIANT (fail closed): no journal, or one that may be from the past, and nothing here answers.
        if self._owner is None or not self._owner.journal.usable:
            raise UnavailableError(f"the journal of `{self._name}` is not open", code=self._cannot_open)
        if self._feed.trouble is not None:
            raise UnavailableError(
                f"the journal of `{self._name}` is not to be used", code=self._feed.trouble
            )
        return self._owner

    def _open(self) -> None:
        self._cannot_open = "journal_unavailable"
        if self._place is not None:
            try:
                refuse_another(self._path.parent, self._place)
            except UnavailableError as error:
                self._cannot_open = error.code
                raise
        session_key = bytes.fromhex(json.loads(self._secrets_file.read_text())["session_key"])
        journal = open_agent_journal(self._path, new_log_id=f"{self._name}.{REAL.random_bytes(4).hex()}")
        # Which journal this is, the evidence writer has to confirm anew.
        self._feed = LogFeed()
        settings = OwnerSettings(
            name=self._name,
            ordinal=self._ordinal,
            session_key=session_key,
            awake_limit=self._awake_limit,
            evidence_backlog=self._evidence_backlog,
            outcome_timeout_s=self._outcome_timeout_s,
            stop_on_mismatch=self._stop_on_mismatch,
        )
        # The journal's active digest stands, but only a compiled bundle decides: until then it is `stale_bundle`.
        self._owner = Owner(settings, journal, self._directory, REAL)

    async def _follow(self) -> None:
        """Adopt the active bundle, if it is not the one that decides here."""
        owner, wanted = self._owner, self._directory.activation
        if owner is None or wanted.digest is None or wanted.number < owner.activation.number:
            return
        if owner.active is not None and owner.activation == wanted:
            return
        try:
            stored = await ask(
                CONTROL_STORE, "call", "bundle", {"digest": wanted.digest}, timeout_s=BUNDLE_TIMEOUT_S
            )
            compiled = await self._bundles.compiled(wanted.digest, stored["sources"])
            self._live().adopt(compiled, wanted)
            self._cannot_adopt = None
        except Exception as error:
            # Tried again with the next lease; meanwhile `_not_ready` says so and, past a lease, actions are denied.
            self._cannot_adopt = error.code if isinstance(error, BundleMismatchError) else None
            log.error("`%s` cannot adopt bundle %s: %s", self._name, wanted.digest, error)

    async def _follow_shadow(self) -> None:
        """Watch with the shadow bundle that the control store names. What fails is tried again: nobody waits for it."""
        owner, entry = self._owner, self._directory.get("shadow", SHADOW)
        wanted = entry["digest"] if entry else None
        if owner is None or (owner.shadow.bundle.digest if owner.shadow else None) == wanted:
            return
        if wanted is None:
            owner.shadow = None
            return
        try:
            stored = await ask(
                CONTROL_STORE, "call", "bundle", {"digest": wanted}, timeout_s=BUNDLE_TIMEOUT_S
            )
            compiled = await self._bundles.compiled(wanted, stored["sources"])
            live = self._live()
            live.shadow = Shadow.cast(live, compiled)
        except Exception as error:
            log.error("`%s` cannot watch with the shadow bundle %s: %s", self._name, wanted, error)

    async def _reconcile(self) -> None:
        """Settle with other owners what no replica did."""
        if self._owner is not None and self._owner.journal.usable and self._feed.trouble is None:
            await reconciliation.reconcile(
                self._owner, lambda name, what, told: ask(name, what, told, timeout_s=SETTLE_TIMEOUT_S)
            )

    async def _repeat(self, interval_s: float, work: Callable[[], Any]) -> None:
        while True:
            try:
                await work()
            except GovernanceError as error:
                log.warning("`%s`: %s", self._name, error.message)
            except Exception:
                log.exception("`%s`: background work failed; it is tried again", self._name)
            await asyncio.sleep(interval_s)
