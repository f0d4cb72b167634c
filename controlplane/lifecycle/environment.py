"""The environment that every process of one instance runs in: Ray's knobs, and the mark that it is ours.

Ray and Serve read these once, at import; so they stand in the environment before the first process starts and
each descendant inherits them. Why each is set is said in docs/operations.md.
"""

from __future__ import annotations

from collections.abc import Mapping

from controlplane.lifecycle.ports import INGRESS_PORTS, Ports
from controlplane.lifecycle.store_access import without_access
from controlplane.settings import SETTINGS_VARIABLE, Settings

INSTANCE_VARIABLE = "CONTROLPLANE_INSTANCE"
"""Marks a process as ours: `down` signals only processes that carry our tag in this variable."""

NODE_IP = "127.0.0.1"
LOOPBACK = {"RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0"}
"""The one switch that makes Ray take 127.0.0.1 for the node's address and bind its servers there only."""


def supervisor_environment(settings: Settings, base: Mapping[str, str]) -> dict[str, str]:
    """For the supervisor: the caller's environment without any other cluster's Ray settings, and our mark."""
    kept = {name: value for name, value in base.items() if not name.startswith(("RAY_", "CONTROLPLANE_"))}
    return {
        **kept,
        INSTANCE_VARIABLE: settings.tag,
        SETTINGS_VARIABLE: settings.to_json(),
        "PYTHONUNBUFFERED": "1",
    }


def node_environment(*, token: str, sockets: str, state: str) -> dict[str, str]:
    """What Ray and Serve must find on every node of every deployment, before Ray starts there.

    `cluster.env` spells the same out for the machines that `ray up` starts; a test compares.

    Args:
        token: path of the file with Ray's token.
        sockets: folder of HAProxy's sockets: ours alone (their mode is 666), and short. HAProxyManager adds a
            directory named after the node id (56 bytes), HAProxy a suffix of 12 while it binds, and a socket's
            address has 107.
        state: folder of HAProxy's configuration and state.
    """
    return {
        # Ray's own RPC asks for a token of ours: whoever holds it runs code in the cluster.
        "RAY_AUTH_MODE": "token",
        "RAY_AUTH_TOKEN_PATH": token,
        "RAY_USAGE_STATS_ENABLED": "0",
        "RAY_ROTATION_MAX_BYTES": str(16 * 1024 * 1024),
        "RAY_ROTATION_BACKUP_COUNT": "2",
        "RAY_memory_monitor_refresh_ms": "0",
        # Ray makes its workers yield to everything else on the machine (15); deciding is what this machine is for.
        "RAY_worker_niceness": "0",
        # What nobody here reads costs CPU that decisions need: process statistics every 5 s took 5 % of a core, the
        # deployment loop at 10 Hz 4 %.
        "RAY_enable_metrics_collection": "0",
        "REPORTER_UPDATE_INTERVAL_MS": "60000",
        "RAY_DASHBOARD_AGENT_LOOP_MONITOR_INTERVAL_S": "10",
        "RAY_DASHBOARD_AGENT_CHECK_PARENT_INTERVAL_S": "2",
        "RAY_SERVE_CONTROL_LOOP_INTERVAL_S": "0.4",
        # When Ray takes a node for lost, and answers at once who asks for its agents: 5 s after its processes ended,
        # 30 s after a machine fell silent (by default 15 and 65).
        "RAY_health_check_period_ms": "1000",
        "RAY_health_check_timeout_ms": "5000",
        "RAY_SERVE_ENABLE_HA_PROXY": "1",
        "RAY_SERVE_THROUGHPUT_OPTIMIZED": "1",
        "RAY_SERVE_DIRECT_INGRESS_MIN_DRAINING_PERIOD_S": "1",
        # A dead HAProxy is noticed after three looks; by default they are 10 s apart.
        "RAY_SERVE_PROXY_HEALTH_CHECK_PERIOD_S": "1",
        "RAY_SERVE_PROXY_HEALTH_CHECK_TIMEOUT_S": "5",
        # A released replica port rests this long; the default (150 s) would use up our range in a crash loop.
        "RAY_SERVE_HAPROXY_HARD_STOP_AFTER_S": "20",
        "RAY_SERVE_PORT_QUARANTINE_S": "30",
        # A client that neither sends nor takes anything: longer than any request of ours, an hour by default.
        "RAY_SERVE_HAPROXY_TIMEOUT_CLIENT_S": "60",
        # Per-request metrics cost a log line and a datagram each; what was decided stands in evidence.
        "RAY_SERVE_HAPROXY_METRICS_ENABLED": "0",
        "RAY_SERVE_HAPROXY_NBTHREAD": "1",
        "RAY_SERVE_HAPROXY_CONFIG_FILE_LOC": f"{state}/haproxy.cfg",
        "RAY_SERVE_HAPROXY_SERVER_STATE_BASE": state,
        "RAY_SERVE_HAPROXY_SERVER_STATE_FILE": f"{state}/server-state",
        "RAY_SERVE_HAPROXY_SOCKET_PATH": f"{sockets}/a",
        "RAY_SERVE_HAPROXY_METRICS_SOCKET_PATH": f"{sockets}/m",
        "RAY_SERVE_REQUEST_LATENCY_BUCKETS_MS": "0.25,0.5,1,2,3,5,7.5,10,15,25,50,100,250,1000,5000,30000",
    }


def attached_environment(settings: Settings, address: str, base: Mapping[str, str]) -> dict[str, str]:
    """For the starter on a cluster that somebody else started (`controlplane attach`). `address` is Ray's."""
    # Ray replaces a loopback address by the machine's, where such a cluster does not listen.
    on_loopback = address.startswith(f"{NODE_IP}:")
    return {
        **without_access(supervisor_environment(settings, base)),
        **_on_this_node(settings),
        "RAY_ADDRESS": address,
        **(LOOPBACK if on_loopback else {}),
    }


def cluster_environment(
    settings: Settings, ports: Ports, base: Mapping[str, str], *, haproxy: str
) -> dict[str, str]:
    """For everything inside the cluster, the driver included.

    Args:
        haproxy: path of the executable that starts HAProxy (our shim, `loopback_haproxy`).
    """
    return {
        **without_access(supervisor_environment(settings, base)),
        **_on_this_node(settings),
        "RAY_ADDRESS": ray_address(ports),
        **LOOPBACK,
        "AUTOSCALER_METRIC_PORT": str(ports.autoscaler_metrics),
        "DASHBOARD_METRIC_PORT": str(ports.dashboard_metrics),
        "RAY_SERVE_FALLBACK_PROXY_HTTP_PORT": str(ports.fallback_http),
        "RAY_SERVE_FALLBACK_PROXY_GRPC_PORT": str(ports.fallback_grpc),
        "RAY_SERVE_DIRECT_INGRESS_MIN_HTTP_PORT": str(ports.ingress_http),
        "RAY_SERVE_DIRECT_INGRESS_MAX_HTTP_PORT": str(ports.ingress_http + INGRESS_PORTS),
        "RAY_SERVE_DIRECT_INGRESS_MIN_GRPC_PORT": str(ports.ingress_grpc),
        "RAY_SERVE_DIRECT_INGRESS_MAX_GRPC_PORT": str(ports.ingress_grpc + INGRESS_PORTS),
        "RAY_SERVE_HAPROXY_BINARY_PATH": haproxy,
        "RAY_SERVE_HAPROXY_STATS_PORT": str(ports.haproxy_stats),
        "RAY_SERVE_HAPROXY_METRICS_PORT": str(ports.haproxy_metrics),
    }


def _on_this_node(settings: Settings) -> dict[str, str]:
    return node_environment(
        token=str(settings.ray_token),
        sockets=str(settings.private_temp),
        state=str(settings.run / "haproxy"),
    )


def ray_address(ports: Ports) -> str:
    return f"{NODE_IP}:{ports.gcs}"
