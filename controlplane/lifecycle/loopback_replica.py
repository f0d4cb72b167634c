"""A Serve replica whose inner gRPC server listens on loopback.

Each replica opens a gRPC server for calls between deployments, on all interfaces, with no setting for it. It asks
for Ray's token, yet it leads to the same code as the decision endpoint; where the endpoint is on loopback, so is this.
The gRPC ingress of a replica binds the same way.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

WIDE = "[::]:"


def keep_on_loopback(host: str) -> None:
    """Call in the constructor of a deployment: it runs in the replica, before its servers start.

    Args:
        host: what the decision endpoint binds; anything but a loopback address changes nothing, because
            then HAProxy may have to reach this replica from other nodes.
    Raises: AttributeError: this Ray starts its servers in another way; better no replica than an open one.
    """
    if host not in ("127.0.0.1", "localhost"):
        return
    from ray.serve._private import default_impl, replica

    if not hasattr(replica.add_port_to_grpc_server, "on_loopback"):
        replica.add_port_to_grpc_server = _narrowed(replica.add_port_to_grpc_server)
        default_impl.add_grpc_address = _narrowed(default_impl.add_grpc_address)


def _narrowed(bind: Callable[[Any, str], Any]) -> Callable[[Any, str], Any]:
    def narrowed(server: Any, address: str) -> Any:
        if address.startswith(WIDE):
            address = f"127.0.0.1:{address.removeprefix(WIDE)}"
        return bind(server, address)

    narrowed.on_loopback = True  # type: ignore[attr-defined]
    return narrowed
