"""/v1/channels: where approvers are told of what waits for them, and what became of each delivery."""

from __future__ import annotations

from typing import Any

from actors.placement import NOTIFIER
from controlplane.errors import GovernanceError, InputError, NotFoundError
from controlplane.service.actor_calls import call_actor, call_control
from controlplane.service.management.bodies import read_body
from controlplane.service.management.channel_bodies import NewChannel, kept
from controlplane.service.management.replies import json_reply
from controlplane.service.routing import OPERATING, READING, Call, Reply, Route
from controlplane.wire.authzen import rfc3339

_MOST_SHOWN = 1_000
_SHOWN = 100
# A little more than one attempt takes.
_TRIAL_TIMEOUT_S = 25.0


class ChannelDoors:
    """Channels are the control store's; deliveries are the notifier's."""

    def routes(self) -> list[Route]:
        return [
            Route(method="POST", path="/v1/channels", roles=OPERATING, door=self.set_channel),
            Route(method="GET", path="/v1/channels", roles=READING, door=self.list_channels),
            Route(method="GET", path="/v1/channels/dead-letters", roles=READING, door=self.dead_letters),
            Route(
                method="POST", path="/v1/channels/dead-letters/{id}/retry", roles=OPERATING, door=self.retry
            ),
            Route(method="GET", path="/v1/channels/{id}/deliveries", roles=READING, door=self.deliveries),
            Route(method="POST", path="/v1/channels/{id}/test", roles=OPERATING, door=self.test),
            Route(method="DELETE", path="/v1/channels/{id}", roles=OPERATING, door=self.remove_channel),
        ]

    async def set_channel(self, call: Call) -> Reply:
        given = kept(read_body(NewChannel, call.body))
        entry = await call_control(
            "set_channel", tenant=call.caller.tenant, given=given, by=call.caller.key_id
        )
        return json_reply(_channel_shown(entry), 201)

    async def list_channels(self, call: Call) -> Reply:
        """The channels; with how many of their deliveries wait and are dead, unless the notifier is away."""
        channels = await call_control("channels", tenant=call.caller.tenant)
        try:
            counts = await call_actor(NOTIFIER, "counts", call.caller.tenant)
        except GovernanceError as error:
            return json_reply(
                {"channels": [_channel_shown(channel) for channel in channels], "notifier": error.message}
            )
        shown = [
            _channel_shown(channel) | {"deliveries": counts.get(channel["id"], {})} for channel in channels
        ]
        return json_reply({"channels": shown, "notifier": "ready"})

    async def remove_channel(self, call: Call) -> Reply:
        removed = await call_control(
            "remove_channel", tenant=call.caller.tenant, identity=call.path[0], by=call.caller.key_id
        )
        return json_reply(_channel_shown(removed))

    async def deliveries(self, call: Call) -> Reply:
        """The delivery log of one channel, the newest first; also of one that was removed and has one."""
        found = await self._log(call, call.path[0], None)
        if not found:
            channels = await call_control("channels", tenant=call.caller.tenant)
            if call.path[0] not in {channel["id"] for channel in channels}:
                raise NotFoundError(f"no channel `{call.path[0][:64]}`", code="unknown_channel")
        return json_reply({"deliveries": found})

    async def dead_letters(self, call: Call) -> Reply:
        """What was given up, the newest first; `?channel=ID` for one channel's."""
        return json_reply({"deliveries": await self._log(call, call.query.get("channel", ""), "dead")})

    async def retry(self, call: Call) -> Reply:
        revived = await call_actor(NOTIFIER, "retry", call.caller.tenant, call.path[0])
        return json_reply(_delivery_shown(revived))

    async def test(self, call: Call) -> Reply:
        """Send a test now and say what came of it. It stands in no log and is not tried again."""
        answer = await call_actor(
            NOTIFIER, "try_out", call.caller.tenant, call.path[0], timeout_s=_TRIAL_TIMEOUT_S
        )
        return json_reply(answer)

    async def _log(self, call: Call, channel: str, state: str | None) -> list[dict[str, Any]]:
        found = await call_actor(
            NOTIFIER, "deliveries", call.caller.tenant, channel, state, _limit(call.query.get("limit"))
        )
        return [_delivery_shown(delivery) for delivery in found]


def _limit(text: str | None) -> int:
    if text is None:
        return _SHOWN
    if not (text.isascii() and text.isdigit()) or not 1 <= int(text[:9]) <= _MOST_SHOWN:
        raise InputError(f"`limit` is a number from 1 to {_MOST_SHOWN}")
    return int(text)


def _channel_shown(entry: dict[str, Any]) -> dict[str, Any]:
    told = {name: value for name, value in entry.items() if name not in ("tenant", "set_us")}
    return told | {"set_at": rfc3339(entry["set_us"])}


def _delivery_shown(delivery: dict[str, Any]) -> dict[str, Any]:
    told = {name: value for name, value in delivery.items() if not name.endswith("_us")}
    for name in ("next", "created", "changed"):
        moment = delivery[f"{name}_us"]
        told[f"{name}_at"] = rfc3339(moment) if moment else None
    return told
