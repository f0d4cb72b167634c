"""Where notices go: the operators' channels, as the control store keeps them. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Literal

from actors.notifications.addresses import read_url
from actors.notifications.notice import Notice

HttpKind = Literal["webhook", "slack", "teams"]
Tls = Literal["starttls", "implicit", "none"]

MOST_CHANNELS: Final = 50
"""Of a deployment: each has deliveries of its own under way."""
_SECRETS: Final = frozenset({"url", "secret"})


@dataclass(frozen=True, slots=True, kw_only=True)
class HttpTarget:
    """Args:
    url: also a secret: that of an incoming hook is all that it asks for.
    secret: signs webhooks; empty for the other kinds.
    allow_in_clear: whether http to other machines is allowed.
    """

    kind: HttpKind
    url: str = field(repr=False)
    secret: str = field(repr=False, default="")
    allow_in_clear: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class SmtpTarget:
    """Args:
    username: for AUTH; empty = none.
    secret: its password.
    allow_in_clear: whether mail to other machines may go without TLS.
    """

    host: str
    port: int
    tls: Tls
    sender: str
    recipients: tuple[str, ...]
    username: str = ""
    secret: str = field(repr=False, default="")
    allow_in_clear: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class NoticeChannel:
    """Args:
    events: empty = all.
    approvers: principals and roles; empty = all. Others' approvals are not told here.
    """

    tenant: str
    id: str
    target: HttpTarget | SmtpTarget
    events: frozenset[str] = frozenset()
    approvers: frozenset[str] = frozenset()

    @property
    def key(self) -> str:
        """Names it among those of all tenants."""
        return f"{self.tenant}/{self.id}"

    def wants(self, notice: Notice) -> bool:
        return (
            notice.tenant == self.tenant
            and (not self.events or notice.event in self.events)
            and (not self.approvers or not self.approvers.isdisjoint(notice.concerns))
        )

    @classmethod
    def of(cls, entry: Mapping[str, Any]) -> NoticeChannel:
        """From the control store's entry."""
        target: HttpTarget | SmtpTarget
        if entry["kind"] == "smtp":
            target = SmtpTarget(
                host=entry["host"],
                port=entry["port"],
                tls=entry["tls"],
                sender=entry["sender"],
                recipients=tuple(entry["recipients"]),
                username=entry["username"],
                secret=entry["secret"],
                allow_in_clear=entry["allow_in_clear"],
            )
        else:
            target = HttpTarget(
                kind=entry["kind"],
                url=entry["url"],
                secret=entry["secret"],
                allow_in_clear=entry["allow_in_clear"],
            )
        return cls(
            tenant=entry["tenant"],
            id=entry["id"],
            target=target,
            events=frozenset(entry["events"]),
            approvers=frozenset(entry["approvers"]),
        )


def shown(entry: Mapping[str, Any]) -> dict[str, Any]:
    """An entry as anybody may see it.

    INVARIANT (write only): no secret leaves the control store but to the notifier; of a URL its origin is shown.
    """
    told = {name: value for name, value in entry.items() if name not in _SECRETS}
    if entry.get("url"):
        told["url"] = f"{read_url(entry['url']).origin}/…"
    return told
