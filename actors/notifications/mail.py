"""A notice as an e-mail. Pure."""

from __future__ import annotations

from datetime import UTC, datetime
from email.message import EmailMessage
from email.policy import SMTP
from email.utils import format_datetime

from actors.notifications.channels import SmtpTarget
from actors.notifications.message import message
from actors.notifications.notice import Notice


def compose(target: SmtpTarget, notice: Notice, *, delivery: str, now_s: int) -> EmailMessage:
    """Plain text alone: nothing in it is a link, a picture or a form.

    Raises: ValueError: an address of the channel is none. What stands in the subject has no line breaks (see
        `notice.clean`), and `email` refuses headers that would.
    """
    words = message(notice)
    mail = EmailMessage(policy=SMTP)
    mail["Subject"] = f"[controlplane] {words.subject}"
    mail["From"] = target.sender
    mail["To"] = ", ".join(target.recipients)
    mail["Date"] = format_datetime(datetime.fromtimestamp(now_s, UTC))
    # The same for each attempt: mailboxes show one that came twice once.
    mail["Message-ID"] = f"<{delivery}@controlplane.invalid>"
    mail["Auto-Submitted"] = "auto-generated"
    mail.set_content(words.as_text())
    return mail
