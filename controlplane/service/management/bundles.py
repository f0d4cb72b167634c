"""/v1/bundles: validated, stored under their digest, activated for the whole fleet."""

from __future__ import annotations

import asyncio
from dataclasses import asdict
from typing import Any

from actors.control import SHADOW
from actors.placement import CONTROL_STORE
from controlplane.errors import ConflictError, InputError
from controlplane.service.actor_calls import call_actor, call_control
from controlplane.service.bundles import BundleCache
from controlplane.service.fleet import Fleet
from controlplane.service.management import bodies
from controlplane.service.management.replies import json_reply
from controlplane.service.routing import OPERATING, READING, Call, Reply, Route
from controlplane.wire.authzen import rfc3339
from policies.bundle import Bundle
from policies.compile import compile_sources
from policies.error import PolicyErrors

_LIMIT_BYTES = 8 << 20
_COMPILE_TIMEOUT_S = 30.0
_ACTIVATE_TIMEOUT_S = 40.0
# Compiling costs CPU that decisions need: uploads queue up behind one another.
_UPLOADS_AT_ONCE = 1


class BundleDoors:
    """Nothing is stored that does not compile; nothing is activated that is not stored."""

    def __init__(self, fleet: Fleet, cache: BundleCache) -> None:
        self._fleet = fleet
        self._bundles = cache
        self._uploading = asyncio.Semaphore(_UPLOADS_AT_ONCE)

    def routes(self) -> list[Route]:
        return [
            Route(
                method="POST",
                path="/v1/bundles",
                roles=OPERATING,
                door=self.upload_bundle,
                limit_bytes=_LIMIT_BYTES,
            ),
            Route(method="GET", path="/v1/bundles", roles=READING, door=self.list_bundles),
            Route(
                method="POST",
                path="/v1/bundles/{digest}/activate",
                roles=OPERATING,
                door=self.activate_bundle,
            ),
            Route(
                method="POST", path="/v1/bundles/{digest}/shadow", roles=OPERATING, door=self.shadow_bundle
            ),
            Route(method="DELETE", path="/v1/bundles/shadow", roles=OPERATING, door=self.end_shadow),
            Route(method="GET", path="/v1/bundles/{digest}", roles=READING, door=self.show_bundle),
        ]

    async def upload_bundle(self, call: Call) -> Reply:
        body = bodies.read_body(bodies.NewBundle, call.body)
        sources = [(source.name, source.text) for source in body.sources]
        async with self._uploading:
            bundle = await asyncio.to_thread(_compile, sources)
            if body.activate:
                await self._bundles.keep(bundle)
        await call_control(
            "store_bundle",
            digest=bundle.digest,
            name=bundle.name,
            rules=len(bundle.rules),
            sources=sources,
            tenant=call.caller.tenant,
            by=call.caller.key_id,
        )
        shown: dict[str, Any] = {
            "digest": bundle.digest,
            "name": bundle.name,
            "rules": len(bundle.rules),
            "warnings": [asdict(warning) for warning in bundle.warnings],
        }
        if body.activate:
            shown |= await self._activate(call, bundle.digest, body.past)
        elif body.shadow:
            shown |= await self._cast(call, bundle.digest)
        return json_reply(shown, 201)

    async def list_bundles(self, call: Call) -> Reply:
        stored = await call_control("bundles")
        shown = [bundle | {"created_at": rfc3339(bundle.pop("created_us"))} for bundle in stored]
        directory = self._fleet.directory
        shadow = (directory.get("shadow", SHADOW) or {}).get("digest")
        return json_reply({"active": directory.activation.digest, "shadow": shadow, "bundles": shown})

    async def show_bundle(self, call: Call) -> Reply:
        stored = await call_control("bundle", digest=call.path[0])
        stored["created_at"] = rfc3339(stored.pop("created_us"))
        stored["sources"] = [{"name": name, "text": text} for name, text in stored["sources"]]
        stored["active"] = stored["digest"] == self._fleet.directory.activation.digest
        return json_reply(stored)

    async def activate_bundle(self, call: Call) -> Reply:
        body = bodies.read_body(bodies.NewActivation, call.body)
        return json_reply(await self._activate(call, call.path[0], body.past))

    async def shadow_bundle(self, call: Call) -> Reply:
        return json_reply(await self._cast(call, call.path[0]))

    async def end_shadow(self, call: Call) -> Reply:
        return json_reply(await self._cast(call, None))

    async def _cast(self, call: Call, digest: str | None) -> dict[str, Any]:
        answer: dict[str, Any] = await call_control(
            "cast_shadow", digest=digest, tenant=call.caller.tenant, by=call.caller.key_id
        )
        await self._fleet.refresh()
        return answer

    async def _activate(self, call: Call, digest: str, past: str) -> dict[str, Any]:
        # This replica first, then the owners, then everybody's word: the old bundle decides until all can.
        await self._bundles.get(digest, timeout_s=_COMPILE_TIMEOUT_S)
        stored = await call_control("bundle", digest=digest)
        if not stored["rules"]:
            raise ConflictError(
                f"the bundle `{stored['name']}` has no rules: nothing would be decided by anything but its default",
                code="empty_bundle",
            )
        answer: dict[str, Any] = await call_actor(
            CONTROL_STORE,
            "activate",
            digest,
            call.caller.tenant,
            call.caller.key_id,
            past == "lenient",
            timeout_s=_ACTIVATE_TIMEOUT_S,
        )
        await self._fleet.refresh()
        replaced = answer["replaces"]
        name = (await call_control("bundle", digest=replaced))["name"] if replaced else None
        return answer | {"replaces_name": name}


def _compile(sources: list[tuple[str, str]]) -> Bundle:
    try:
        return compile_sources(sources)
    except PolicyErrors as errors:
        found = [asdict(error) for error in errors.errors]
        raise InputError(
            f"the bundle has {len(found)} error(s); nothing was stored", code="invalid_bundle", errors=found
        ) from None
