"""Notices as owners hand them out, channels, and a world that stands still."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from actors.notifications.channels import HttpTarget, NoticeChannel
from actors.notifications.delivery_journal import Deliveries, open_delivery_journal
from actors.notifications.notice import Entry, Notice, read
from actors.owner import Surroundings

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"


def outbox_entry(seq: int = 1, event: str = "approval_requested", **changes: Any) -> bytes:
    """One entry of an outbox, as JSON; `changes` are the task's."""
    task = {
        "id": "apr_1",
        "state": "pending",
        "agent": "treasury-bot",
        "session": "ses_1",
        "workflow": "wfl_1",
        "action": "call",
        "resource": {"type": "tool", "id": "payments.transfer"},
        "arguments": {"to": "DE89370400440532013000", "amount": 12000},
        "approved_arguments": {"to": "DE89370400440532013000", "amount": 5000},
        "masked_arguments": {"to": "string(22)", "amount": "number"},
        "justification": "the March invoices",
        "rules": [
            {
                "rule": "treasury/large-transfer",
                "because": "a transfer above 10 000 needs two approvals",
                "by": ["role:treasury"],
                "then_to": ["user:cfo"],
                "quorum": 2,
                "approvals": [{"approver": "user:anna", "at": "2026-11-24T12:00:00Z", "comment": "fine"}],
                "values": [{"at": "/to", "shown": "DE…00"}],
            }
        ],
        "requested_at": "2026-11-24T11:58:00Z",
        "expires_at": "2026-11-24T12:28:00Z",
        "created_by": "k1",
        "decision_id": "01a20461-44aa-761c-8000-029521cbf8a7",
        "comments": [],
    }
    value = {
        "seq": seq,
        "event": event,
        "at": "2026-11-24T12:00:00Z",
        "task": task | changes,
        "to": ["role:treasury"],
        "actor": "user:anna",
        "comment": "fine",
    }
    return json.dumps(value).encode()


def notice(seq: int = 1, event: str = "approval_requested", **changes: Any) -> Notice:
    return read(Entry(owner="host-000", seq=seq, body=outbox_entry(seq, event, **changes)))


def hook(identity: str = "hook", url: str = "http://127.0.0.1:9/", **changes: Any) -> NoticeChannel:
    """A webhook of tenant `default`."""
    return NoticeChannel(
        tenant="default", id=identity, target=HttpTarget(kind="webhook", url=url, secret=SECRET), **changes
    )


class World:
    """A clock that moves when it is told to; no randomness."""

    def __init__(self) -> None:
        self.now_us = 1_800_000_000_000_000
        self.surroundings = Surroundings(
            wall_us=lambda: self.now_us, monotonic_us=lambda: self.now_us, random_bytes=bytes
        )

    def pass_s(self, seconds: float) -> None:
        self.now_us += int(seconds * 1e6)


def deliveries(folder: Path) -> Deliveries:
    return Deliveries(open_delivery_journal(folder / "notifier.db", new_log_id="notifier.0"))
