"""One replica's application: the doors, and what they stand on, put together."""

from __future__ import annotations

import asyncio
import logging
import os
import sys
import time
from pathlib import Path
from typing import Any

import orjson

from actors.placement import EVIDENCE_WRITER, NOTIFIER, host_name
from actors.world import monotonic_s
from controlplane.errors import GovernanceError
from controlplane.limits import Limits
from controlplane.privacy.data_keys import DataKeys
from controlplane.service.actor_calls import call_actor, call_control
from controlplane.service.authentication import Authenticator
from controlplane.service.away import watch_nodes
from controlplane.service.bundles import BundleCache
from controlplane.service.decisions import DecisionDoor
from controlplane.service.fleet import Fleet
from controlplane.service.ingress import Ingress
from controlplane.service.management.agents import AgentDoors
from controlplane.service.management.approvals import ApprovalDoors
from controlplane.service.management.bundles import BundleDoors
from controlplane.service.management.channels import ChannelDoors
from controlplane.service.management.keys import KeyDoors
from controlplane.service.management.metrics import MetricsDoor
from controlplane.service.management.outcomes import OutcomeDoors
from controlplane.service.management.privacy import PrivacyDoors
from controlplane.service.management.retention import RetentionDoors
from controlplane.service.management.sessions import SessionDoors
from controlplane.service.management.status import StatusDoor
from controlplane.service.management.stops import StopDoors
from controlplane.service.owner_calls import OwnerCalls
from controlplane.service.owners import Owners
from controlplane.service.rate_limits import RateLimiter
from controlplane.service.routing import DECIDING, Call, Reply, Route, Router
from controlplane.service.settling import Settling
from controlplane.service.turns import in_turn
from controlplane.wire import authzen
from controlplane.wire.authzen import EvaluationRequest

log = logging.getLogger(__name__)

_READINESS_KEPT_S = 0.5
# How soon after its end a minute's refusals stand in evidence.
_REFUSALS_S = 5.0
# Less than whoever asks us waits (the supervisor: 2 s): an actor that hangs must not make the service look silent.
_PATIENCE_S = 1.0
# One with policies that this version compiles to something else denies, but lets an operator activate them anew; and
# evidence that cannot land is not helped by starting anything again: an operator asks us what is in its way.
_ABLE = frozenset({"ready", "bundle_mismatch", "evidence_backlog"})


class Application:
    """Everything one replica holds. Stateless but for caches: any replica can answer any request.

    Args: digest_key, wrapping_key: see `DataKeys`; table: see `PrivacyDoors`.
    """

    def __init__(
        self,
        owners: Owners,
        *,
        digest_key: bytes,
        base_url: str,
        limits: Limits | None = None,
        wrapping_key: bytes = b"",
        table: str = "",
    ) -> None:
        self._limiter = RateLimiter(limits or Limits())
        self._fleet = Fleet(owners.hosts)
        self._owners = owners
        self._bundles = BundleCache(digest_key)
        self._large = asyncio.Lock()
        calls = OwnerCalls(Path(owners.channels) if owners.channels else None)
        settling = Settling(self._fleet, calls)
        keys = DataKeys(
            digest_key=digest_key,
            wrapping_key=wrapping_key,
            random_bytes=os.urandom,
            monotonic_s=monotonic_s,
        )
        self._door = DecisionDoor(
            self._fleet,
            self._bundles,
            self._limiter,
            calls,
            settling,
            self._large,
            digest_key=digest_key,
            keys=keys,
        )
        self._base_url = base_url
        self._background: list[asyncio.Task[Any]] = []
        self._readiness: tuple[float, asyncio.Task[Reply]] | None = None
        routes = [
            Route(method="POST", path="/access/v1/evaluation", roles=DECIDING, door=self.evaluation),
            Route(method="POST", path="/access/v1/evaluations", roles=DECIDING, door=self.evaluations),
            *KeyDoors(self._fleet).routes(),
            *ChannelDoors().routes(),
            *AgentDoors(self._fleet, calls, owners).routes(),
            *SessionDoors(self._fleet, self._bundles, calls, self._limiter, digest_key=digest_key).routes(),
            *OutcomeDoors(
                self._fleet, self._bundles, calls, settling, self._limiter, digest_key=digest_key
            ).routes(),
            *ApprovalDoors(
                self._fleet, calls, self._limiter, bundles=self._bundles, digest_key=digest_key
            ).routes(),
            *BundleDoors(self._fleet, self._bundles).routes(),
            *StopDoors().routes(),
            *PrivacyDoors(keys, table).routes(),
            *RetentionDoors().routes(),
            *StatusDoor(self._fleet).routes(),
            *MetricsDoor(self._fleet).routes(),
        ]
        self.ingress = Ingress(
            Router(routes),
            Authenticator(self._fleet),
            {
                "/healthz": self.health,
                "/readyz": self.readiness,
                "/.well-known/authzen-configuration": self.metadata,
            },
            self._limiter,
            self._large,
            self._start,
            self._stop,
        )

    async def evaluation(self, call: Call) -> Reply:
        request = authzen.parse_evaluation(call.body)
        return Reply(body=await self._door.evaluation(call.caller, request, call.deadline_us))

    async def evaluations(self, call: Call) -> Reply:
        async with in_turn(self._large, call.deadline_us):
            batch = authzen.parse_evaluations(call.body)
        if isinstance(batch, EvaluationRequest):
            return Reply(body=await self._door.evaluation(call.caller, batch, call.deadline_us))
        return Reply(body=await self._door.evaluations(call.caller, batch, call.deadline_us))

    async def health(self, _: dict[bytes, bytes]) -> Reply:
        """Alive: this replica answers."""
        return Reply(body=b'{"status":"alive"}')

    async def readiness(self, _: dict[bytes, bytes]) -> Reply:
        """Ready: the lease holds and one host at least decides; 503 otherwise.

        A host that does not answer, or answers that it cannot decide (its journal is damaged, say), denies its own
        agents and is listed with why; taking the service away would not help it and would harm the others. So is it
        with the evidence writer and the notifier: journals keep what has not landed, and what is not told yet.
        Actors are asked twice a second at most, whoever asks us.
        """
        now_s = time.monotonic()
        if self._readiness is None or now_s - self._readiness[0] > _READINESS_KEPT_S:
            self._readiness = (now_s, asyncio.get_running_loop().create_task(self._ask_readiness()))
        return await asyncio.shield(self._readiness[1])

    async def _ask_readiness(self) -> Reply:
        names = [host_name(index) for index in range(self._fleet.hosts)]
        hosts = dict(await asyncio.gather(*(_state_of(name) for name in (*names, EVIDENCE_WRITER, NOTIFIER))))
        landing, notifying = hosts.pop(EVIDENCE_WRITER), hosts.pop(NOTIFIER)
        states = set(hosts.values())
        reason = None if self._fleet.fresh() else "lease_expired"
        ready = reason is None and bool(states & _ABLE)
        body = {
            "status": ("ready" if states == {"ready"} else "degraded") if ready else "starting",
            "hosts": hosts,
            "evidence": landing,
            "notifier": notifying,
            "bundle": self._fleet.directory.activation.digest,
            "reason": reason,
        }
        return Reply(body=orjson.dumps(body), status=200 if ready else 503)

    async def metadata(self, headers: dict[bytes, bytes]) -> Reply:
        return Reply(body=orjson.dumps(authzen.metadata(self._base_url)))

    async def _start(self) -> None:
        await self._fleet.refresh()
        loop = asyncio.get_running_loop()
        self._background.append(loop.create_task(self._fleet.run()))
        self._background.append(loop.create_task(watch_nodes(self._owners, self._fleet)))
        self._background.append(loop.create_task(self._keep_record_of_refusals()))

    async def _stop(self) -> None:
        await record_refusals(self._limiter, before_us=sys.maxsize)

    async def _keep_record_of_refusals(self) -> None:
        while True:
            await asyncio.sleep(_REFUSALS_S)
            try:
                await record_refusals(self._limiter, before_us=time.time_ns() // 1000)
            except Exception:
                log.exception("what was refused for asking too often is not in evidence; it is tried again")


async def record_refusals(limiter: RateLimiter, *, before_us: int) -> None:
    """Have the control store put into evidence what was refused in the minutes that are over."""
    summaries = limiter.refusals.take(before_us=before_us)
    if not summaries:
        return
    try:
        await call_control("record_refusals", summaries=[one.to_json() for one in summaries])
    except Exception as error:
        limiter.refusals.put_back(summaries)
        if not isinstance(error, GovernanceError):
            raise
        log.warning("what was refused for asking too often is not in evidence yet: %s", error.message)


async def _state_of(name: str) -> tuple[str, str]:
    try:
        status = await call_actor(name, "status", timeout_s=_PATIENCE_S)
    except GovernanceError as error:
        return name, error.code
    return name, "ready" if status["ready"] else str(status.get("reason", "starting"))
