"""Free TCP ports on this machine, so that two instances can run beside each other.

Found ports lie below the kernel's ephemeral range (32768 and up on Linux), where no outgoing connection
can take them between our look and Ray's bind. Another process still can: who binds one must cope.
"""

from __future__ import annotations

import random
import socket
from dataclasses import asdict, dataclass, fields
from typing import Any

from controlplane.errors import UnavailableError

LOWEST, HIGHEST = 20_000, 32_000
INGRESS_PORTS = 32


@dataclass(frozen=True, slots=True, kw_only=True)
class Ports:
    """The TCP ports of one running cluster, drawn afresh whenever it starts.

    Args:
        gcs … client_server: Ray's own; the defaults of some are fixed and would clash.
        fallback_http, fallback_grpc: Serve's proxy that answers while no replica does.
        haproxy_stats, haproxy_metrics: HAProxy's statistics page and Prometheus exporter.
        ingress_http, ingress_grpc: first of `INGRESS_PORTS` ports for the replicas' direct ingress.
    """

    gcs: int
    node_manager: int
    object_manager: int
    agent_http: int
    agent_grpc: int
    runtime_env: int
    ray_metrics: int
    autoscaler_metrics: int
    dashboard_metrics: int
    client_server: int
    fallback_http: int
    fallback_grpc: int
    haproxy_stats: int
    haproxy_metrics: int
    ingress_http: int
    ingress_grpc: int

    def to_dict(self) -> dict[str, int]:
        return asdict(self)

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Ports:
        return cls(**values)


def draw(generator: random.Random) -> Ports:
    """One free block of ports, in the order of the fields of `Ports`.

    Raises: UnavailableError: no free block after 100 tries.
    """
    singles = [field.name for field in fields(Ports) if not field.name.startswith("ingress_")]
    width = len(singles) + 2 * INGRESS_PORTS
    for _ in range(100):
        first = generator.randrange(LOWEST, HIGHEST - width)
        if all(is_free(port) for port in range(first, first + width)):
            ingress = first + len(singles)
            named = dict(zip(singles, range(first, ingress), strict=True))
            return Ports(**named, ingress_http=ingress, ingress_grpc=ingress + INGRESS_PORTS)
    raise UnavailableError(f"found no {width} free TCP ports in a row between {LOWEST} and {HIGHEST}")


def is_free(port: int, host: str = "0.0.0.0") -> bool:  # noqa: S104 - a look, nothing listens
    """Whether nothing is bound to `port` on `host` (all interfaces: on any of them)."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError:
            return False
    return True


def any_free(host: str) -> int:
    """A free port of the kernel's choice on `host`, for `--port 0`."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.bind((host, 0))
        return int(probe.getsockname()[1])
