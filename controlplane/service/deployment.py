"""The Serve deployment, and how a driver brings the whole service up."""

from __future__ import annotations

import asyncio
import logging
import os
import sys
import time
from collections.abc import Callable
from typing import Any

import ray
from ray import serve
from ray.serve.config import BackpressureConfig, HTTPOptions, ProxyLocation
from ray.serve.schema import LoggingConfig

from actors import api_keys
from actors.collector import collect_seldom
from actors.journal_folder import refuse_another
from actors.placement import (
    CONTROL_STORE,
    DEDICATED_PREFIX,
    EVIDENCE_WRITER,
    NAMESPACE,
    NOTIFIER,
    host_name,
    journals_resource,
    node_of,
)
from controlplane.errors import GovernanceError, UnavailableError
from controlplane.evidence_settings import EvidenceSettings, evidence_keys
from controlplane.lifecycle.loopback_replica import keep_on_loopback
from controlplane.lifecycle.readiness import Readiness, ask
from controlplane.limits import Limits
from controlplane.privacy.wrapping_key import read_wrapping_key
from controlplane.service.actor_calls import call_actor
from controlplane.service.application import Application
from controlplane.service.ingress import Ingress
from controlplane.service.nodes import claim_places, places_of, present_nodes
from controlplane.service.owners import Owners
from controlplane.settings import Secrets, Settings, create_private
from controlplane.stopping import Stopping
from policies.compile import compile_sources
from policies.error import PolicyErrors

log = logging.getLogger(__name__)

APPLICATION = "controlplane"
_READY_TIMEOUT_S = 90.0
_JOURNAL_PATIENCE_S = 15.0
_SERVICE_PATIENCE_S = 5.0
# Everything in an actor of ours that takes longer runs beside its event loop.
_HANG_S = 10.0
# Beyond the longest deadline that a caller may set, so that our own answer always comes first.
_REQUEST_TIMEOUT_S = 35.0


@serve.ingress()
class DecisionService:
    """A replica. Args: settings as JSON (see `Settings.to_json`)."""

    def __init__(self, settings: str) -> None:
        self._settings = Settings.from_json(settings)
        keep_on_loopback(self._settings.host)

    def __serve_build_asgi_app__(self) -> Ingress:
        collect_seldom()
        settings = self._settings
        owners = owners_of(settings)
        application = Application(
            owners,
            digest_key=Secrets.read(settings.secrets).digest_key,
            wrapping_key=read_wrapping_key(settings.wrapping_key),
            base_url=settings.url,
            limits=Limits.read(settings.limits),
            table=owners.evidence,
        )
        return application.ingress


def owners_of(settings: Settings) -> Owners:
    limits = Limits.read(settings.limits)
    places = EvidenceSettings.read(settings.evidence_settings)
    return Owners(
        journals=str(settings.journals),
        evidence=places.table_of(settings),
        evidence_keys=evidence_keys(settings),
        checkpoint_files=places.checkpoint_folder(settings),
        store_access=str(settings.store_access),
        hosts=settings.hosts,
        secrets_file=str(settings.secrets),
        places=places_of(settings),
        channels=str(settings.channels),
        evidence_backlog=limits.evidence_backlog,
        outcome_timeout_s=limits.outcome_timeout_s,
        evidence_lag_s=limits.evidence_lag_s,
        disk_low_bytes=limits.disk_low_bytes,
        stopping=Stopping.read(settings.stopping),
    )


def start(settings: Settings, *, address: str | None = None) -> None:
    """Bring the service up on a running Ray cluster and return when it is ready to decide. Idempotent.

    Args:
        address: of the Ray cluster; None = from the environment.
    Raises: UnavailableError: it did not become ready in 90 s.
    """
    _connect(address)
    # The first operator's key; an existing one stays as it is.
    create_private(settings.operator_key, api_keys.mint(os.urandom)[1] + "\n")
    if settings.nodes[0] not in present_nodes():
        raise UnavailableError(
            f"no node of the cluster at `{ray.get_runtime_context().gcs_address}` has the journals of "
            f"`{settings.nodes[0]}`; start its head with the resource `{journals_resource(settings.nodes[0])}`",
            code="node_missing",
        )
    claim_places(settings)
    owners = owners_of(settings)
    # Said here, where an operator reads it: the control store would wait for the right disk in silence.
    refuse_another(settings.journals, owners.places[0])
    _end_what_hangs(settings)
    store = owners.start_control_store()
    owners.start_evidence_writer()
    owners.start_notifier()
    owners.start_hosts()
    _wait_for_control_store(lambda: ray.get(store.ready.remote(), timeout=10))
    key = settings.operator_key.read_text().strip()
    if not ray.get(store.call.remote("ensure_operator_key", {"key": key}), timeout=10):
        log.warning(
            "the key in %s was revoked and stays so; remove the file to get another", settings.operator_key
        )
    for entry in ray.get(store.call.remote("dedicated", {}), timeout=10):
        owners.start_dedicated_again(entry["name"], entry["ordinal"])
    _carry_over(store)
    # Deploying again replaces the replica: a service that decides is left alone when one of its hosts is mended.
    if not _decides(settings.url):
        _deploy(settings)
    _wait_for_hosts(settings)
    _wait_for_notifier()


def _decides(url: str) -> bool:
    """Whether the service is there and decides, or will in a moment, now that what it waited for may be back."""
    deadline_s = time.monotonic() + _SERVICE_PATIENCE_S
    while (answer := ask(url)).readiness is Readiness.STARTING and time.monotonic() < deadline_s:
        time.sleep(0.1)
    return answer.readiness is Readiness.READY


def _deploy(settings: Settings) -> None:
    serve.start(
        proxy_location=ProxyLocation.HeadOnly,
        http_options=HTTPOptions(
            host=settings.host,
            port=settings.port,
            request_timeout_s=_REQUEST_TIMEOUT_S,
            keep_alive_timeout_s=60,
        ),
    )
    service: Any = serve.deployment(
        name="DecisionService",
        num_replicas=1,
        max_ongoing_requests=2000,
        max_queued_requests=2000,
        backpressure_config=BackpressureConfig(retry_after_s=1),
        # Replicas read the digest key and the owners' places, which stand on the head's disk.
        ray_actor_options={"num_cpus": 0, "resources": {journals_resource(settings.nodes[0]): 0.0001}},
        health_check_period_s=2,
        graceful_shutdown_timeout_s=2,
        logging_config=LoggingConfig(enable_access_log=False, log_level="WARNING"),
    )(DecisionService)
    serve.run(service.bind(settings.to_json()), name=APPLICATION, route_prefix="/", blocking=False)


def stop(settings: Settings, *, address: str | None = None) -> None:
    """Take the service and its actors off a running Ray cluster that goes on. What was answered is durable."""
    _connect(address)
    serve.shutdown()
    names = [CONTROL_STORE, EVIDENCE_WRITER, NOTIFIER, *(host_name(index) for index in range(settings.hosts))]
    found = [entry["name"] for entry in ray.util.list_named_actors(all_namespaces=True)]
    names += [name for name in found if name.startswith(DEDICATED_PREFIX)]
    for name in names:
        try:
            ray.kill(ray.get_actor(name, namespace=NAMESPACE), no_restart=True)
        except ValueError:
            continue


def _connect(address: str | None) -> None:
    if not ray.is_initialized():
        ray.init(address=address or "auto", namespace=NAMESPACE, log_to_driver=False, logging_level="warning")


def _end_what_hangs(settings: Settings) -> None:
    """End the actors that have been there and say nothing (stopped, or in a loop); Ray starts them anew at once.

    What they were asked is denied by its deadline either way, and what they answered is in their journals.
    """
    # Whatever waits for its lost node does not hang.
    present = present_nodes()
    hosts = [host_name(i) for i in range(settings.hosts) if node_of(i, settings.nodes) in present]
    asked: dict[Any, tuple[str, Any]] = {}
    for name in (CONTROL_STORE, EVIDENCE_WRITER, NOTIFIER, *hosts):
        try:
            handle = ray.get_actor(name, namespace=NAMESPACE)
        except ValueError:
            continue
        asked[handle.status.remote()] = name, handle
    # One that Ray is just starting, or cannot reach, answers with an error.
    _, silent = ray.wait(list(asked), num_returns=len(asked), timeout=_HANG_S) if asked else ([], [])
    for reference in silent:
        name, handle = asked[reference]
        log.error(
            "`%s` has not answered for %g s; its process is ended, and Ray starts it anew", name, _HANG_S
        )
        ray.kill(handle, no_restart=False)


def _carry_over(store: Any) -> None:
    """Activate the active bundle's sources anew when this version compiles them to another digest.

    What an engine makes of a policy is part of what decided, so a new version of it means a new digest; the sources
    are the operator's and stay. What no longer compiles is left to the operator: every action is denied until then.
    """
    _, (digest, *_), _ = ray.get(store.lease.remote(sys.maxsize), timeout=10)
    if digest is None:
        return
    stored = ray.get(store.call.remote("bundle", {"digest": digest}), timeout=10)
    try:
        bundle = compile_sources(stored["sources"])
    except PolicyErrors as errors:
        log.error("the active bundle %s no longer compiles; activate another: %s", digest, errors.message)
        return
    if bundle.digest == digest:
        return
    log.warning("this version compiles the active bundle %s to %s; it is activated", digest, bundle.digest)
    upgraded = {"digest": bundle.digest, "name": bundle.name, "rules": len(bundle.rules)}
    upgraded |= {"sources": stored["sources"], "tenant": "default", "by": "upgrade"}
    ray.get(store.call.remote("store_bundle", upgraded), timeout=10)
    ray.get(store.activate.remote(bundle.digest, "default", "upgrade"), timeout=60)


def _wait_for_hosts(settings: Settings) -> None:
    """Until every host decides; one that only its own journal or its lost node keeps from it is told of and left
    behind.

    Raises: UnavailableError: none decides.
    """
    deadline_s = time.monotonic() + _READY_TIMEOUT_S
    patience_s = time.monotonic() + _JOURNAL_PATIENCE_S
    while True:
        present = present_nodes()
        states = [
            _state_of(host_name(index), node_of(index, settings.nodes) in present)
            for index in range(settings.hosts)
        ]
        held_up = [state for state in states if not state["ready"]]
        if not held_up:
            return
        told = "; ".join(f"`{state['name']}`: {state['reason']}" for state in held_up)
        reasons = {str(state["reason"]) for state in held_up}
        for_good = all(
            reason.startswith("journal_") or reason in ("bundle_mismatch", "node_lost", "evidence_backlog")
            for reason in reasons
        )
        can_be_mended = len(held_up) < len(states) or reasons & {"bundle_mismatch", "evidence_backlog"}
        if for_good and can_be_mended and time.monotonic() > patience_s:
            log.error("the agents of these hosts are denied: %s", told)
            return
        if time.monotonic() > deadline_s:
            raise UnavailableError(f"not ready in {_READY_TIMEOUT_S:g} s: {told}")
        time.sleep(0.05)


def _wait_for_notifier() -> None:
    """Until it answers, so that whoever looks after `up` finds it; nothing is decided by it, so it fails nothing."""
    try:
        ray.get(ray.get_actor(NOTIFIER, namespace=NAMESPACE).status.remote(), timeout=_JOURNAL_PATIENCE_S)
    except (ray.exceptions.RayError, ValueError) as error:
        log.error("the notifier does not answer (%s); approvers are told once it does", type(error).__name__)


def _state_of(name: str, node_is_there: bool) -> dict[str, Any]:
    """What a host says of itself, or why it cannot."""
    if not node_is_there:
        return {"name": name, "ready": False, "reason": "node_lost"}
    try:
        state: dict[str, Any] = ray.get(ray.get_actor(name, namespace=NAMESPACE).status.remote(), timeout=10)
    except (ray.exceptions.RayError, ValueError) as error:
        return {"name": name, "ready": False, "reason": f"owner_unreachable ({type(error).__name__})"}
    return state


def _wait_for_control_store(ready: Callable[[], bool]) -> None:
    deadline_s = time.monotonic() + _READY_TIMEOUT_S
    while not ready():
        if time.monotonic() > deadline_s:
            why = asyncio.run(_what_holds_up_the_control_store())
            raise UnavailableError(f"the control store did not become ready in {_READY_TIMEOUT_S:g} s{why}")
        time.sleep(0.05)


async def _what_holds_up_the_control_store() -> str:
    """Its own word, and what stops the evidence writer: the table alone tells whether a journal is the latest."""
    told: list[str] = []
    try:
        writer = await call_actor(EVIDENCE_WRITER, "status", timeout_s=2.0)
        told += [f"evidence, {where}: {trouble}" for where, trouble in writer["trouble"].items()]
    except GovernanceError as error:
        told.append(f"evidence: {error.message} ({error.code})")
    try:
        await call_actor(CONTROL_STORE, "status", timeout_s=2.0)
    except GovernanceError as error:
        told.append(f"{error.message} ({error.code})")
    return "".join(f"; {one}" for one in told)
