"""E-mail to a real SMTP server: TLS, accounts, refusals; and nothing that breaks out of a header."""

from __future__ import annotations

import asyncio
import ssl
import subprocess
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from aiosmtpd.smtp import AuthResult
from unit.actors.notifications.mail_server import Mailbox, served
from unit.actors.notifications.samples import notice

from actors.notifications.attempt import Attempt
from actors.notifications.channels import SmtpTarget
from actors.notifications.notice import Notice
from actors.notifications.smtp_delivery import SmtpDelivery

NOW_S = 1_800_000_000


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """(certificate, key) of `mail.example`."""
    folder = tmp_path_factory.mktemp("tls")
    made = (folder / "cert.pem", folder / "key.pem")
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=mail.example",
         "-addext", "subjectAltName=DNS:mail.example,DNS:localhost", "-out", str(made[0]), "-keyout", str(made[1])],
        check=True,
        capture_output=True,
    )  # fmt: skip
    return made


def server_context(certificate: tuple[Path, Path]) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*certificate)
    return context


def sent(
    target: SmtpTarget,
    *,
    told: Notice | None = None,
    trusted: Path | None = None,
    addresses: Sequence[str] = ("127.0.0.1",),
) -> Attempt:
    tls = ssl.create_default_context(cafile=str(trusted) if trusted else None)

    async def resolve(host: str, port: int) -> Sequence[str]:
        return addresses

    with ThreadPoolExecutor(1) as threads:
        delivery = SmtpDelivery(resolve, threads, tls)
        return asyncio.run(delivery.send(target, told or notice(), delivery="msg_1", now_s=NOW_S))


def plain_target(port: int, **changes: Any) -> SmtpTarget:
    return replace(
        SmtpTarget(
            host="127.0.0.1",
            port=port,
            tls="none",
            sender="cp@bank.example",
            recipients=("desk@bank.example", "cfo@bank.example"),
        ),
        **changes,
    )


def test_a_mail_says_what_must_be_decided_and_how() -> None:
    mailbox = Mailbox()
    with served(mailbox) as port:
        assert sent(plain_target(port)) == Attempt(delivered=True, status=250)
    mail = mailbox.mail()
    assert (
        mail["Subject"] == "[controlplane] Approval needed: treasury-bot wants to call tool:payments.transfer"
    )
    assert mailbox.envelopes[0].rcpt_tos == ["desk@bank.example", "cfo@bank.example"]
    assert (mail["From"], mail["Auto-Submitted"]) == ("cp@bank.example", "auto-generated")
    assert mail["Message-ID"] == "<msg_1@controlplane.invalid>"
    assert mail.get_content_type() == "text/plain"
    text = mail.get_content()
    assert "controlplane approvals show apr_1" in text and "string(22)" in text and "12000" not in text


def test_no_text_of_a_notice_breaks_out_of_its_line() -> None:
    hostile = "bot\r\nBcc: thief@evil.example\r\n\r\n.\r\nQUIT\r\n"
    mailbox = Mailbox()
    with served(mailbox) as port:
        told = notice(agent=hostile, justification=hostile + "\n.\n", action=hostile)
        assert sent(plain_target(port), told=told).delivered
    mail = mailbox.mail()
    assert mail["Bcc"] is None
    assert mailbox.envelopes[0].rcpt_tos == ["desk@bank.example", "cfo@bank.example"]
    assert "Requested: " in mail.get_content()


def test_an_address_that_is_none_is_refused_before_anything_is_sent() -> None:
    mailbox = Mailbox()
    with served(mailbox) as port:
        target = plain_target(port, sender="cp@bank.example\r\nBcc: thief@evil.example")
        assert not sent(target).delivered
    assert mailbox.envelopes == []


def test_starttls_with_an_account(certificate: tuple[Path, Path]) -> None:
    mailbox, given = Mailbox(), []

    def authenticate(server: Any, session: Any, envelope: Any, mechanism: str, data: Any) -> AuthResult:
        given.append((session.ssl is not None, data.login, data.password))
        known = data.password == b"pass word"
        return AuthResult(success=known, handled=known)

    options = {
        "tls_context": server_context(certificate),
        "require_starttls": True,
        "auth_required": True,
        "authenticator": authenticate,
    }
    with served(mailbox, **options) as port:
        target = plain_target(port, host="localhost", tls="starttls", username="cp", secret="pass word")
        assert sent(target, trusted=certificate[0]).delivered
        wrong = sent(replace(target, secret="other"), trusted=certificate[0])
    assert given[0] == (True, b"cp", b"pass word")
    assert (wrong.status, wrong.for_good) == (535, True)
    assert len(mailbox.envelopes) == 1


def test_tls_from_the_first_byte(certificate: tuple[Path, Path]) -> None:
    mailbox = Mailbox()
    with served(mailbox, ssl_context=server_context(certificate)) as port:
        target = plain_target(port, host="localhost", tls="implicit")
        assert sent(target, trusted=certificate[0]).delivered
        assert not sent(target).delivered  # a certificate that nobody vouches for
    assert len(mailbox.envelopes) == 1


@pytest.mark.parametrize("trusted", [True, False])
def test_a_server_without_a_believed_certificate_gets_nothing(
    certificate: tuple[Path, Path], trusted: bool
) -> None:
    mailbox = Mailbox()
    with served(mailbox, tls_context=server_context(certificate)) as port:
        # 127.0.0.1 is a name that the certificate does not have.
        target = plain_target(port, host="127.0.0.1" if trusted else "localhost", tls="starttls")
        attempt = sent(target, trusted=certificate[0] if trusted else None)
    assert attempt == Attempt(
        delivered=False, error="SSLCertVerificationError: its certificate is not believed"
    )
    assert mailbox.envelopes == []


def test_a_server_without_starttls_gets_nothing() -> None:
    mailbox = Mailbox()
    with served(mailbox) as port:
        attempt = sent(plain_target(port, tls="starttls"))
    assert attempt == Attempt(
        delivered=False,
        error="SMTPNotSupportedError: the mail server does not offer what the channel asks for: STARTTLS, or a login",
    )
    assert mailbox.envelopes == []


@pytest.mark.parametrize(
    ("answers", "expected"),
    [
        (["550 who", "550 who"], (False, 550, True)),
        (["550 who", "450 later"], (False, 450, False)),
        ([None, "550 who"], (False, 550, True)),
        ([None, "450 later"], (False, 450, True)),
    ],
)
def test_refused_recipients(answers: list[str | None], expected: tuple[bool, int, bool]) -> None:
    names = ("desk@bank.example", "cfo@bank.example")
    mailbox = Mailbox({name: answer for name, answer in zip(names, answers, strict=True) if answer})
    with served(mailbox) as port:
        attempt = sent(plain_target(port))
    assert (attempt.delivered, attempt.status, attempt.for_good) == expected
    assert "recipient" in attempt.error


@pytest.mark.parametrize(
    ("addresses", "refused"),
    [(["169.254.169.254"], "nothing is sent"), (["10.0.0.5"], "allow_in_clear")],
)
def test_an_address_that_mail_must_not_go_to_is_never_connected(addresses: list[str], refused: str) -> None:
    attempt = sent(plain_target(9, host="mail.example"), addresses=addresses)
    assert attempt.for_good and refused in attempt.error


def test_a_name_that_stands_for_another_address_by_now_is_told_nothing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The address is judged again on the connection itself."""
    mailbox = Mailbox()
    with served(mailbox) as port:
        # What was looked up is another machine's, which may be written to in clear; what is connected is not.
        from actors.notifications import smtp_delivery

        real = smtp_delivery.refuse

        def refuse(addresses: Sequence[str], **options: Any) -> None:
            if list(addresses) == ["127.0.0.1"]:
                addresses = ["169.254.169.254"]
            real(addresses, **options)

        monkeypatch.setattr(smtp_delivery, "refuse", refuse)
        attempt = sent(plain_target(port, allow_in_clear=True), addresses=["203.0.113.9"])
    assert attempt.for_good and "169.254.169.254" in attempt.error
    assert mailbox.envelopes == []


def test_nobody_listening_is_a_failure_that_may_pass() -> None:
    assert sent(plain_target(1)) == Attempt(
        delivered=False, error="ConnectionRefusedError: nobody listens there"
    )
