"""The yardstick: what the same ingress answers when nothing is decided.

More Serve applications on the same instance: same HAProxy, same kind of replica, raw ASGI, reads and parses the same
body, and sends an answer of the same size that never changes. There are two. The plain one (`/noop`) is what Serve
offers anybody: nothing in its process is ours. The tuned one (`/noop-tuned`) has Python's cycle collector set as our
replicas have it (`actors.collector`), so that the difference to it is what deciding costs and nothing else.
"""

from __future__ import annotations

import sys
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

import orjson
import ray
from ray import cloudpickle, serve
from ray.serve.schema import LoggingConfig

from actors.collector import collect_seldom
from controlplane.lifecycle.loopback_replica import keep_on_loopback

Message = MutableMapping[str, Any]


class NoOp:
    """Raw ASGI: read the body, parse it, answer `answer`."""

    def __init__(self, answer: bytes) -> None:
        self._answer = answer
        self._headers = [
            (b"content-type", b"application/json"),
            (b"content-length", str(len(answer)).encode()),
        ]

    async def __call__(
        self,
        scope: Message,
        receive: Callable[[], Awaitable[Message]],
        send: Callable[[Message], Awaitable[None]],
    ) -> None:
        if scope["type"] == "lifespan":
            await self._lifespan(receive, send)
            return
        message = await receive()
        body = message.get("body", b"")
        while message.get("more_body", False):
            message = await receive()
            body += message.get("body", b"")
        orjson.loads(body)
        await send({"type": "http.response.start", "status": 200, "headers": self._headers})
        await send({"type": "http.response.body", "body": self._answer})

    async def _lifespan(
        self, receive: Callable[[], Awaitable[Message]], send: Callable[[Message], Awaitable[None]]
    ) -> None:
        while True:
            kind = (await receive())["type"]
            await send({"type": f"{kind}.complete"})
            if kind == "lifespan.shutdown":
                return


@serve.ingress()
class NoOpService:
    """A replica of the yardstick, deployed as `DecisionService` is."""

    def __init__(self, answer: bytes, tuned: bool) -> None:
        self._answer = answer
        self._tuned = tuned
        keep_on_loopback("127.0.0.1")

    def __serve_build_asgi_app__(self) -> NoOp:
        if self._tuned:
            collect_seldom()
        return NoOp(self._answer)


def main() -> None:
    """Deploy both beside the control plane that the environment names; what is to be answered comes on stdin."""
    answer = sys.stdin.buffer.read()
    ray.init(namespace="controlplane", log_to_driver=False, logging_level="ERROR")
    # A replica is made by Serve's controller, which has never heard of this folder.
    cloudpickle.register_pickle_by_value(sys.modules[__name__])
    for name, tuned in (("noop", False), ("noop-tuned", True)):
        service: Any = serve.deployment(
            name="NoOpService",
            num_replicas=1,
            max_ongoing_requests=2000,
            max_queued_requests=2000,
            ray_actor_options={"num_cpus": 0},
            logging_config=LoggingConfig(enable_access_log=False, log_level="WARNING"),
        )(NoOpService)
        serve.run(service.bind(answer, tuned), name=name, route_prefix=f"/{name}", blocking=False)


if __name__ == "__main__":
    main()
