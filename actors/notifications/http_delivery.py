"""One POST of one notice: the name looked up and judged first, no redirect followed, nothing read of the answer."""

from __future__ import annotations

import asyncio
import logging
import ssl
from collections.abc import Awaitable, Callable, Sequence
from http.cookiejar import DefaultCookiePolicy
from typing import Final

import httpx

from actors.notifications import signature
from actors.notifications.addresses import TargetRefusedError, Url, read_url, refuse
from actors.notifications.attempt import Attempt, failed
from actors.notifications.channels import HttpTarget
from actors.notifications.http_bodies import body
from actors.notifications.notice import Notice
from actors.notifications.retries import read_retry_after

CONNECT_S: Final = 2.0
"""To each address: all that are tried have their turn before time is up."""
ANSWER_S: Final = 10.0
ADDRESSES_TRIED: Final = 4
_GONE: Final = 410

Resolve = Callable[[str, int], Awaitable[Sequence[str]]]
"""From a name and a port to the addresses that it stands for now. Raises: OSError."""

# httpx tells each URL at INFO, and the URL of an incoming hook is its password.
logging.getLogger("httpx").setLevel(logging.WARNING)


class HttpDelivery:
    """Posts notices. One for all channels; it keeps no connection.

    Args:
        resolve: how names are looked up.
        tls: whose certificates are believed.
    """

    def __init__(self, resolve: Resolve, tls: ssl.SSLContext) -> None:
        self._resolve = resolve
        self._client = httpx.AsyncClient(
            verify=tls,
            follow_redirects=False,
            trust_env=False,
            timeout=httpx.Timeout(ANSWER_S, connect=CONNECT_S),
            # Names share addresses: a connection that was made for one must not be used for another.
            limits=httpx.Limits(max_keepalive_connections=0),
        )
        # And so must a cookie: it is kept by address, and nothing that a receiver says is kept at all.
        self._client.cookies.jar.set_policy(DefaultCookiePolicy(allowed_domains=()))

    async def send(self, target: HttpTarget, notice: Notice, *, delivery: str, now_s: int) -> Attempt:
        """One attempt. Never raises but when it is cancelled.

        Args:
            delivery: the same for every attempt.
            now_s: wall clock, seconds.
        """
        try:
            url = read_url(target.url)
            async with asyncio.timeout(ANSWER_S):
                addresses = await self._resolve(url.host, url.port)
                refuse(
                    addresses,
                    host=url.host,
                    in_clear=url.scheme == "http",
                    allow_in_clear=target.allow_in_clear,
                )
                return await self._post(target, url, addresses[:ADDRESSES_TRIED], notice, delivery, now_s)
        except TargetRefusedError as error:
            return Attempt(delivered=False, error=error.message, for_good=True)
        except Exception as error:
            return failed(error)

    async def _post(
        self,
        target: HttpTarget,
        url: Url,
        addresses: Sequence[str],
        notice: Notice,
        delivery: str,
        now_s: int,
    ) -> Attempt:
        content = body(target.kind, notice)
        # INVARIANT (judged address): the connection goes to an address that was judged, whatever the name stands for by
        # now; name and certificate are checked as ever.
        sent = {"host": url.authority, "content-type": "application/json", "user-agent": "controlplane"}
        if target.secret:
            sent |= signature.headers(target.secret, delivery=delivery, now_s=now_s, body=content)
        for left, address in zip(reversed(range(len(addresses))), addresses, strict=True):
            try:
                async with self._client.stream(
                    "POST",
                    url.at(address),
                    content=content,
                    headers=sent,
                    extensions={"sni_hostname": url.host},
                ) as response:
                    return _read(response, now_s)
            except (httpx.ConnectError, httpx.ConnectTimeout):
                if not left:
                    raise
        raise AssertionError("there is an address, or it was refused")

    async def close(self) -> None:
        await self._client.aclose()


def _read(response: httpx.Response, now_s: int) -> Attempt:
    status = response.status_code
    if 200 <= status < 300:
        return Attempt(delivered=True, status=status)
    return Attempt(
        delivered=False,
        status=status,
        error=f"answered {status}",
        # The receiver says that it wants no more of it.
        for_good=status == _GONE,
        retry_after_s=read_retry_after(response.headers.get("retry-after"), now_s=now_s),
    )
