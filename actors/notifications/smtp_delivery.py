"""One e-mail of one notice over SMTP, in a thread: the name judged first, the connected address judged again."""

from __future__ import annotations

import asyncio
import smtplib
import ssl
from collections.abc import Sequence
from concurrent.futures import Executor
from contextlib import suppress
from typing import Final

from actors.notifications.addresses import TargetRefusedError, refuse
from actors.notifications.attempt import Attempt, failed
from actors.notifications.channels import SmtpTarget
from actors.notifications.http_delivery import Resolve
from actors.notifications.mail import compose
from actors.notifications.notice import Notice

TIMEOUT_S: Final = 10.0
"""For each step of the exchange."""
_REFUSED_FOR_GOOD: Final = range(500, 600)


class SmtpDelivery:
    """Sends e-mails. One for all channels.

    Args:
        threads: where sending blocks; as many as deliveries can be under way, so that no server holds up another's.
        tls: whose certificates are believed.
    """

    def __init__(self, resolve: Resolve, threads: Executor, tls: ssl.SSLContext) -> None:
        self._resolve = resolve
        self._threads = threads
        self._tls = tls

    async def send(self, target: SmtpTarget, notice: Notice, *, delivery: str, now_s: int) -> Attempt:
        """One attempt; see `HttpDelivery.send`. Cancelled, it may still go out."""
        try:
            addresses = await self._resolve(target.host, target.port)
            self._judge(target, addresses)
            return await asyncio.get_running_loop().run_in_executor(
                self._threads, self._send, target, notice, delivery, now_s
            )
        except TargetRefusedError as error:
            return Attempt(delivered=False, error=error.message, for_good=True)
        except smtplib.SMTPRecipientsRefused as error:
            codes = [code for code, _ in error.recipients.values()]
            return _answered(min(codes), "every recipient is refused")
        except smtplib.SMTPResponseException as error:
            return _answered(error.smtp_code, f"answered {error.smtp_code}")
        except Exception as error:
            return failed(error)

    def _send(self, target: SmtpTarget, notice: Notice, delivery: str, now_s: int) -> Attempt:
        mail = compose(target, notice, delivery=delivery, now_s=now_s)
        # Both check the certificate against this name.
        server = (
            smtplib.SMTP_SSL(target.host, target.port, timeout=TIMEOUT_S, context=self._tls)
            if target.tls == "implicit"
            else smtplib.SMTP(target.host, target.port, timeout=TIMEOUT_S)
        )
        try:
            # INVARIANT (judged address): the name may stand for another address by now; nothing was said to it yet.
            assert server.sock is not None
            self._judge(target, [server.sock.getpeername()[0]])
            if target.tls == "starttls":
                server.starttls(context=self._tls)
            if target.username:
                server.login(target.username, target.secret)
            refused = server.send_message(mail)
            with suppress(smtplib.SMTPException, OSError):
                server.quit()  # it is accepted, whatever becomes of the farewell
        finally:
            server.close()
        if not refused:
            return Attempt(delivered=True, status=250)
        # Not again: the others have it. Somebody was not told, and has to be.
        return Attempt(
            delivered=False,
            status=min(code for code, _ in refused.values()),
            error=f"{len(refused)} of {len(target.recipients)} recipients are refused; the others have it",
            for_good=True,
        )

    def _judge(self, target: SmtpTarget, addresses: Sequence[str]) -> None:
        refuse(
            addresses,
            host=target.host,
            in_clear=target.tls == "none",
            allow_in_clear=target.allow_in_clear,
        )


def _answered(status: int, error: str) -> Attempt:
    return Attempt(delivered=False, status=status, error=error, for_good=status in _REFUSED_FOR_GOOD)
