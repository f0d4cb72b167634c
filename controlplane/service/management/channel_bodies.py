"""The body of /v1/channels, validated at the edge (as `bodies`), and what of it the control store keeps."""

from __future__ import annotations

from typing import Annotated, Any, Final, Literal

from pydantic import Field, StringConstraints

from actors.notifications.addresses import read_url
from actors.notifications.notice import Event
from actors.notifications.signature import read_secret
from controlplane.errors import InputError
from controlplane.service.management.bodies import ExactBody, MailAddress, Principal, Slug

_TAKEN: Final = frozenset({"dead-letters"})
_LOOPBACK: Final = frozenset({"localhost", "127.0.0.1", "::1"})
_PORTS: Final = {"starttls": 587, "implicit": 465, "none": 25}
_MAIL_ALONE: Final = frozenset({"host", "port", "tls", "username", "sender", "recipients"})


class NewChannel(ExactBody):
    id: Slug
    kind: Literal["webhook", "slack", "teams", "smtp"]
    url: Annotated[str, StringConstraints(max_length=2048)] = ""
    secret: Annotated[str, StringConstraints(pattern=r"^[\x20-\x7e]*$", max_length=512)] = ""
    host: Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9:][A-Za-z0-9.:-]{0,252}$")] = ""
    port: int = Field(default=0, ge=0, le=65_535)
    tls: Literal["starttls", "implicit", "none"] = "starttls"
    username: Annotated[str, StringConstraints(pattern=r"^[\x20-\x7e]*$", max_length=256)] = ""
    sender: MailAddress = ""
    recipients: list[MailAddress] = Field(default_factory=list, max_length=20)
    events: list[Event] = Field(default_factory=list, max_length=20)
    approvers: list[Principal] = Field(default_factory=list, max_length=100)
    allow_in_clear: bool = False


def kept(body: NewChannel) -> dict[str, Any]:
    """A channel as the control store keeps it.

    Raises: InputError: its fields do not make one; no secret is in the text.
    """
    if body.id in _TAKEN:
        raise InputError(f"`{body.id}` is no id for a channel: a route has this name")
    common = {
        "id": body.id,
        "kind": body.kind,
        "secret": body.secret,
        "events": list(body.events),
        "approvers": body.approvers,
        "allow_in_clear": body.allow_in_clear,
    }
    return common | (_mail(body) if body.kind == "smtp" else _hook(body))


def _hook(body: NewChannel) -> dict[str, Any]:
    if given := body.model_fields_set & _MAIL_ALONE:
        raise InputError(f"`{min(given)}` is for kind `smtp`; a channel of kind `{body.kind}` has a `url`")
    url = read_url(body.url)
    if url.scheme == "http" and url.host not in _LOOPBACK and not body.allow_in_clear:
        raise InputError(
            "`url` is http to another machine: use https, or say `allow_in_clear` to send it unencrypted"
        )
    if body.kind == "webhook":
        read_secret(body.secret)
    elif body.secret:
        raise InputError(f"a channel of kind `{body.kind}` has no `secret`: its `url` is one")
    return {"url": body.url}


def _mail(body: NewChannel) -> dict[str, Any]:
    if "url" in body.model_fields_set:
        raise InputError("a channel of kind `smtp` has no `url`: give `host`, `sender` and `recipients`")
    if not (body.host and body.sender and body.recipients):
        raise InputError("a channel of kind `smtp` needs `host`, `sender` and `recipients`")
    if bool(body.username) != bool(body.secret):
        raise InputError("`username` and `secret` (its password) come together, or not at all")
    if body.tls == "none" and body.host not in _LOOPBACK and not body.allow_in_clear:
        raise InputError(
            "`tls` is `none` to another machine: use `starttls` or `implicit`, or say `allow_in_clear`"
        )
    return {
        "host": body.host,
        "port": body.port or _PORTS[body.tls],
        "tls": body.tls,
        "username": body.username,
        "sender": body.sender,
        "recipients": body.recipients,
    }
