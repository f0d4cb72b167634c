"""Where notices may go: which URLs, and which addresses their names may stand for. Pure.

A channel's target is an operator's word, and the notifier sits where others do not come: what answers there must not
be the machine's metadata service.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final
from urllib.parse import urlsplit

from controlplane.errors import ForbiddenError, InputError

_Address = ipaddress.IPv4Address | ipaddress.IPv6Address

_LONGEST_URL: Final = 2_048
_PORTS: Final = {"https": 443, "http": 80}
_NAT64: Final = ipaddress.IPv6Network("64:ff9b::/96")
_METADATA: Final = frozenset(
    map(
        ipaddress.ip_address,
        # Azure, Alibaba, Oracle's first, Google over IPv6; all others answer on link-local addresses.
        ("168.63.129.16", "100.100.100.200", "192.0.0.192", "fd20:ce::254"),
    )
)
_OF_INSTANCES: Final = ipaddress.IPv6Network("fd00:ec2::/32")
"""AWS over IPv6: metadata, and the credentials of pods beside it."""


class TargetRefusedError(ForbiddenError):
    """A channel's name stands for an address that nothing is sent to."""

    code = "target_refused"


@dataclass(frozen=True, slots=True, kw_only=True)
class Url:
    """A URL in its parts.

    Args:
        rest: path and query, as they are sent.
    """

    scheme: str
    host: str
    port: int
    rest: str

    @property
    def origin(self) -> str:
        """What may be shown: the path of an incoming hook is its password."""
        return f"{self.scheme}://{self.authority}"

    @property
    def authority(self) -> str:
        host = bracketed(self.host)
        return host if _PORTS[self.scheme] == self.port else f"{host}:{self.port}"

    def at(self, address: str) -> str:
        """The same at an address instead of a name."""
        return f"{self.scheme}://{bracketed(address)}:{self.port}{self.rest}"


def read_url(text: str) -> Url:
    """Raises: InputError, which names what is wrong and shows nothing of the URL: it may be a password."""
    try:
        parts = urlsplit(text)
        port = parts.port
    except ValueError:
        raise InputError("`url` is no URL") from None
    if not text.isascii() or not text.isprintable() or " " in text or len(text) > _LONGEST_URL:
        raise InputError(f"`url` has at most {_LONGEST_URL} visible ASCII characters")
    if parts.scheme not in _PORTS or not parts.hostname:
        raise InputError("`url` begins with https:// or http:// and a host")
    if "@" in parts.netloc or "\\" in text:
        raise InputError("`url` has no user name, no password and no backslash")
    if parts.fragment:
        raise InputError("`url` has no fragment")
    rest = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    return Url(
        scheme=parts.scheme,
        host=parts.hostname,
        port=_PORTS[parts.scheme] if port is None else port,
        rest=rest,
    )


def refuse(addresses: Iterable[str], *, host: str, in_clear: bool, allow_in_clear: bool) -> None:
    """Refuse a host whose name stands for any address that nothing may be sent to.

    Args:
        addresses: all that the name stands for now.
        in_clear: what is sent is not encrypted.
        allow_in_clear: it may be sent so to other machines, too.
    Raises: TargetRefusedError.
    """
    found = [_meant(ipaddress.ip_address(address.partition("%")[0])) for address in addresses]
    if not found:
        raise TargetRefusedError(f"`{host}` stands for no address")
    for address in found:
        # INVARIANT (no metadata): whoever controls a name cannot point the notifier at what answers this machine alone.
        if not address.is_loopback and (
            address.is_link_local
            or address.is_multicast
            or address.is_unspecified
            or address.is_reserved
            or address in _METADATA
            or address in _OF_INSTANCES
        ):
            raise TargetRefusedError(
                f"`{host}` stands for `{address}`, where nothing is sent: link-local, metadata and reserved addresses "
                "are refused"
            )
        if in_clear and not allow_in_clear and not address.is_loopback:
            raise TargetRefusedError(
                f"`{host}` is another machine: use TLS, or give the channel `allow_in_clear`"
            )


def bracketed(host: str) -> str:
    return f"[{host}]" if ":" in host else host


def _meant(address: _Address) -> _Address:
    """The IPv4 address that an IPv6 address stands for, where it does."""
    if isinstance(address, ipaddress.IPv4Address):
        return address
    inner = address.ipv4_mapped or address.sixtofour or (address.teredo[1] if address.teredo else None)
    if inner is None and address in _NAT64:
        inner = ipaddress.IPv4Address(int(address) & 0xFFFF_FFFF)
    return inner or address
