"""Stage one of a decision: everything that depends on the action alone, evaluated in the replica."""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Callable, Iterable
from typing import Any, TypeVar

import orjson

from actors.api_keys import Caller
from actors.control import SHADOW
from actors.messages import DecisionRequest, Rewritten, Shadowed
from controlplane.errors import NotFoundError, UnavailableError
from controlplane.privacy.data_keys import DataKeys
from controlplane.privacy.keeping import Means, digest_key_of, kept, masked
from controlplane.privacy.sealing import DataKey, Situation
from controlplane.service.bundles import BundleCache
from controlplane.service.fleet import Fleet
from controlplane.service.subjects import KnownSubjects
from controlplane.service.turns import in_turn, left_s
from controlplane.wire.authzen import EvaluationRequest
from controlplane.wire.digest import arguments_digest, keyed_digest
from policies import rewriting
from policies.action import Action, Resource
from policies.keeping import ArgumentKeeping, DataSubject
from policies.measures import Measured
from policies.modification.operations import to_json
from policies.prepare import Prepared, Preparer
from policies.rewriting import Rewriting

log = logging.getLogger(__name__)

T = TypeVar("T")

# Items of a batch that are prepared at a stretch: about a millisecond.
_PIECE = 16


class Preparing:
    """Prepares requests with the bundle and the records that are known here. One a replica.

    Args:
        large: who works on a large batch holds it, and lets everybody else go on after each few items: a flood of
            batches delays whoever asks for one decision by a fraction of one batch, not by all of them.
        digest_key: under which evidence keeps digests of arguments.
        keys: of whoever's arguments evidence keeps encrypted.
    """

    def __init__(
        self, fleet: Fleet, bundles: BundleCache, large: asyncio.Lock, *, digest_key: bytes, keys: DataKeys
    ) -> None:
        self._fleet = fleet
        self._bundles = bundles
        self._subjects = KnownSubjects()
        self._large = large
        self._digest_key = digest_key
        self._value_key = digest_key_of(digest_key)
        self._keys = keys

    def best(self) -> str | None:
        """The bundle to prepare with."""
        return self._bundles.best(self._fleet.directory.activation.digest)

    def ready(self, digest: str | None) -> Preparer | None:
        """The preparer of a bundle that is loaded, at once; else None."""
        return self._bundles.ready(digest)

    async def preparer(self, digest: str, *, timeout_s: float) -> Preparer:
        """The preparer of a bundle, waited for.

        Raises: UnavailableError: it is not stored any more, or not loaded in time.
        """
        try:
            return await self._bundles.get(digest, timeout_s=timeout_s)
        except NotFoundError:
            # Not the caller's fault: an owner decides with policies that the control store has lost, to a backup, say.
            raise UnavailableError(
                f"the policies {digest} that the agent's owner decides with are not stored any more; activate them "
                "again, or others",
                code="bundle_mismatch",
            ) from None

    async def fetch_keys(
        self,
        caller: Caller,
        preparer: Preparer | None,
        requests: Iterable[EvaluationRequest],
        deadline_us: int,
    ) -> None:
        """Have the data keys at hand that evidence of these needs; without one, what it would encrypt is masked."""
        if preparer is None or not preparer.bundle.catalog.encrypts:
            return
        named = [
            subject.named(request.arguments, f"{request.subject_type}:{request.subject_id}")
            for request in requests
            if not request.dry_run
            and (facts := preparer.bundle.catalog.facts(request.resource_type, request.resource_id))
            is not None
            and facts.keeping is not None
            for subject in facts.keeping.subjects
        ]
        subjects = [one for one in named if one is not None]
        if subjects:
            await self._keys.fetch(caller.tenant, subjects, within_s=left_s(deadline_us))

    async def in_pieces(
        self,
        prepare: Callable[[T], DecisionRequest],
        requests: list[T],
        deadline_us: int,
    ) -> list[DecisionRequest]:
        """Prepare a few at once, many in pieces between which others have their turn."""
        if len(requests) <= _PIECE:
            return [prepare(request) for request in requests]
        prepared: list[DecisionRequest] = []
        async with in_turn(self._large, deadline_us):
            for start in range(0, len(requests), _PIECE):
                prepared += [prepare(request) for request in requests[start : start + _PIECE]]
                await asyncio.sleep(0)
        return prepared

    def prepare(
        self,
        caller: Caller,
        preparer: Preparer | None,
        received_us: int,
        deadline_us: int,
        group: int,
        stop_on: str | None,
        request: EvaluationRequest,
        rules: tuple[int, ...] | None = None,
    ) -> DecisionRequest:
        """Stage one: everything that depends on this action alone.

        Args:
            rules: indexes of those that rewrite it, as its owner found; None = it was not asked.
        """
        version, subject = self._subjects.get(caller.tenant, request.subject_type, request.subject_id)
        arguments, digest = request.arguments, arguments_digest(request.arguments)
        possibly = certainly = 0
        refusal: str | None = None
        detail = ""
        measures: tuple[Measured, ...] = ()
        shadow: tuple[Any, ...] | None = None
        units: tuple[tuple[Any, ...], ...] | None = None
        objects = b""
        wanted: tuple[int, ...] = ()
        rewritten: Rewritten | None = None
        kept_arguments = ""
        keeping: ArgumentKeeping | None = None
        if preparer is not None:
            action = Action(
                tenant=caller.tenant,
                subject=subject,
                name=request.action,
                resource=Resource(
                    type=request.resource_type, id=request.resource_id, properties=request.resource_properties
                ),
                arguments=request.arguments,
                context=request.context,
                now_us=received_us,
            )
            try:
                found = rewriting.prepare(preparer, action, rules)
                prepared, wanted = found.prepared, found.wanted
                if found.rules:
                    made = arguments_digest(found.action.arguments)
                    rewritten = self._rewritten(found, digest)
                    arguments, digest = found.action.arguments, made
                possibly, certainly = prepared.possibly, prepared.certainly
                refusal, detail, measures = prepared.refusal, prepared.detail, prepared.measures
                units, objects = _plain(prepared), prepared.objects
            except Exception:
                # INVARIANT (fail closed): an action that cannot be evaluated is denied, with evidence.
                log.exception("preparing an action failed; it is denied")
                refusal, detail = "evaluation_failed", "the action could not be evaluated"
            shadow = self._shadowed(action)
            facts = preparer.bundle.catalog.facts(request.resource_type, request.resource_id)
            keeping = None if facts is None else facts.keeping
            if keeping is not None and not request.dry_run:
                kept_arguments = self._kept(preparer, keeping, action._replace(arguments=arguments), digest)
        return DecisionRequest(
            tenant=caller.tenant,
            subject_type=request.subject_type,
            subject_id=request.subject_id,
            record_version=version,
            session=request.session,
            action=request.action,
            resource_type=request.resource_type,
            resource_id=request.resource_id,
            possibly=possibly,
            certainly=certainly,
            refusal=refusal,
            detail=detail,
            arguments_digest=digest,
            evidence_digest=keyed_digest(self._digest_key, digest),
            masked_arguments=masked(arguments, keeping),
            idempotency_key=request.idempotency_key,
            deadline_us=deadline_us,
            received_us=received_us,
            dry_run=request.dry_run,
            key_id=caller.key_id,
            trace_id=request.trace_id,
            span_id=request.span_id,
            tool_call_id=request.tool_call_id,
            group=group,
            stop_on=stop_on,
            measures=measures,
            shadow=shadow,
            units=units,
            objects=objects,
            wanted=wanted,
            rewritten=None if rewritten is None else tuple(rewritten),
            approval=request.approval,
            properties_digest=arguments_digest(request.resource_properties)
            if request.resource_properties
            else b"",
            kept_arguments=kept_arguments,
        )

    def _kept(self, preparer: Preparer, keeping: ArgumentKeeping, action: Action, digest: bytes) -> str:
        """The arguments as evidence keeps them, by what the catalog says; "" = masked. Args: digest: theirs."""
        subject, resource, arguments = action.subject, action.resource, action.arguments
        actor = f"{subject.type}:{subject.id}"
        in_row = keyed_digest(self._digest_key, digest).hex()

        def key_of(whose: DataSubject) -> DataKey | None:
            named = whose.named(arguments, actor)
            return None if named is None else self._keys.get(action.tenant, named)

        try:
            return kept(
                arguments,
                keeping,
                Situation(action.tenant, subject.type, subject.id, resource.type, resource.id, in_row),
                Means(self._value_key, key_of, os.urandom),
                clear=preparer.bundle.clear.of(action.tenant),
            )
        except Exception:
            # INVARIANT (never clear): what cannot be kept as it should be is masked.
            log.exception("keeping arguments as the catalog says failed; they are masked")
            return ""

    def _rewritten(self, found: Rewriting, original: bytes) -> Rewritten:
        """Args: original: digest of the arguments as they were asked for."""
        return Rewritten(
            found.rules,
            original,
            keyed_digest(self._digest_key, original),
            orjson.dumps(to_json(found.operations)).decode(),
            tuple([(one.at, one.operation, one.times) for one in found.changes]),
        )

    def _shadowed(self, action: Action) -> tuple[Any, ...] | None:
        """The action prepared with the shadow bundle, if there is one and it is loaded; nobody waits for it."""
        entry = self._fleet.directory.get("shadow", SHADOW)
        preparer = self._bundles.shadow(entry["digest"]) if entry is not None and entry["digest"] else None
        if entry is None or preparer is None:
            return None
        try:
            found = rewriting.prepare(preparer, action)
        except Exception:
            log.exception("preparing an action with the shadow bundle failed; its decision stands")
            return None
        prepared = found.prepared
        return tuple(
            Shadowed(
                entry["digest"],
                prepared.possibly,
                prepared.certainly,
                prepared.refusal,
                prepared.measures,
                _plain(prepared) or (),
                prepared.objects,
                found.wanted,
                found.rules,
            )
        )

    def learn(self, request: DecisionRequest, answer: tuple[Any, ...]) -> None:
        """Remember the record that an owner answered with as STALE_RECORD."""
        _, version, record = answer
        if version == request.record_version:
            return  # stale only because another item of its group is
        self._subjects.learn(request.tenant, request.subject_type, request.subject_id, version, record)


def _plain(prepared: Prepared) -> tuple[tuple[Any, ...], ...] | None:
    """An action's values as they travel."""
    return None if prepared.units is None else tuple([tuple(unit) for unit in prepared.units])
