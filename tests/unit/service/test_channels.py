"""Channels at the doors, in a whole control plane in one process, with a real receiver and owners that keep the
contract of the outbox."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from unit.actors.notifications.mail_server import Mailbox, served
from unit.actors.notifications.receiver import Receiver, receiver
from unit.actors.notifications.samples import SECRET, outbox_entry
from unit.service.in_process_plane import InProcessPlane, in_process_plane

from actors.agent_host import AgentHost
from actors.placement import NOTIFIER
from evidence.query import query

PASSWORD = "pass word"
SMTP = {
    "id": "mail", "kind": "smtp", "host": "mail.example", "sender": "cp@bank.example",
    "recipients": ["desk@bank.example"], "username": "cp", "secret": PASSWORD,
}  # fmt: skip


class Outboxes:
    """What owners would hand out; by their names."""

    def __init__(self) -> None:
        self.entries: dict[str, list[tuple[int, bytes]]] = {}

    def put(self, owner: str, *entries: bytes) -> None:
        kept = self.entries.setdefault(owner, [])
        kept += [(len(kept) + n, body) for n, body in enumerate(entries, 1)]


@pytest.fixture
def outboxes(monkeypatch: pytest.MonkeyPatch) -> Outboxes:
    found = Outboxes()

    async def approval_notices(self: AgentHost, after: int, limit: int) -> list[tuple[int, bytes]]:
        return [entry for entry in found.entries.get(self._name, []) if entry[0] > after][:limit]

    async def forget_approval_notices(self: AgentHost, up_to: int) -> None:
        kept = found.entries.get(self._name, [])
        found.entries[self._name] = [entry for entry in kept if entry[0] > up_to]

    monkeypatch.setattr(AgentHost, "approval_notices", approval_notices, raising=False)
    monkeypatch.setattr(AgentHost, "forget_approval_notices", forget_approval_notices, raising=False)
    return found


@pytest.fixture
def plane(tmp_path: Path, outboxes: Outboxes) -> Iterator[InProcessPlane]:
    with in_process_plane(tmp_path) as running:
        running.do(running.start_notifier)
        yield running


@pytest.fixture
def there() -> Iterator[Receiver]:
    with receiver() as found:
        yield found


def hook_body(there: Receiver, **more: Any) -> dict[str, Any]:
    return {"id": "hook", "kind": "webhook", "url": there.url, "secret": SECRET, **more}


def test_a_notice_of_any_owner_reaches_the_receiver_and_stands_in_the_log(
    plane: InProcessPlane, outboxes: Outboxes, there: Receiver
) -> None:
    assert plane.send("POST", "/v1/channels", hook_body(there)).status == 201
    outboxes.put("host-000", outbox_entry(1))
    outboxes.put("host-001", outbox_entry(1, "approval_granted", id="apr_2"))

    plane.wait_until(lambda: len(there.received) == 2, "two deliveries")
    plane.wait_until(lambda: not any(outboxes.entries.values()), "outboxes to be empty")
    told = {json.loads(body)["data"]["task"]["id"] for _, _, body in there.received}
    assert told == {"apr_1", "apr_2"}

    def logged() -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = plane.send("GET", "/v1/channels/hook/deliveries").json["deliveries"]
        return found

    assert {(one["approval"], one["state"], one["attempts"], one["status"]) for one in logged()} == {
        ("apr_1", "delivered", 1, 204),
        ("apr_2", "delivered", 1, 204),
    }
    (shown,) = plane.send("GET", "/v1/channels").json["channels"]
    assert shown["deliveries"] == {"delivered": 2}


def test_the_notifier_goes_on_where_it_stopped(
    plane: InProcessPlane, outboxes: Outboxes, there: Receiver
) -> None:
    there.held.clear()
    plane.send("POST", "/v1/channels", hook_body(there))
    outboxes.put("host-000", outbox_entry(1))
    plane.wait_until(lambda: len(there.received) == 1, "the first attempt")
    plane.do(lambda: plane.end_actor(NOTIFIER))
    there.held.set()
    plane.do(plane.start_notifier)
    plane.wait_until(lambda: len(there.received) == 2, "the second attempt")
    first, second = (headers["webhook-id"] for _, headers, _ in there.received)
    assert first == second


def test_a_journal_that_failed_is_opened_anew_and_what_waits_is_delivered(
    plane: InProcessPlane, outboxes: Outboxes, there: Receiver
) -> None:
    plane.send("POST", "/v1/channels", hook_body(there))
    plane.wait_until(lambda: plane.notifier._notifier is not None, "the notifier")
    plane.do(lambda: plane.notifier._notifier.deliveries.journal.close())  # type: ignore[union-attr]
    outboxes.put("host-000", outbox_entry(1))
    plane.wait_until(lambda: len(there.received) == 1, "the delivery")
    assert plane.run(plane.notifier.status())["epoch"] == 2


def test_a_channel_that_was_added_a_moment_ago_can_be_tried(plane: InProcessPlane, there: Receiver) -> None:
    plane.send("POST", "/v1/channels", hook_body(there))
    there.answers.append((500, {}))
    for expected in (
        {"delivered": False, "status": 500, "error": "answered 500"},
        {"delivered": True, "status": 204, "error": ""},
    ):
        answer = plane.send("POST", "/v1/channels/hook/test")
        assert (answer.status, answer.json) == (200, expected)
    assert json.loads(there.received[0][2])["type"] == "channel_test"
    assert plane.send("POST", "/v1/channels/none/test").code == "unknown_channel"


@pytest.mark.parametrize(("kind", "holds"), [("slack", "blocks"), ("teams", "attachments")])
def test_chats_get_the_bodies_that_their_hooks_take_and_no_signature(
    plane: InProcessPlane, there: Receiver, kind: str, holds: str
) -> None:
    plane.send("POST", "/v1/channels", {"id": "chat", "kind": kind, "url": there.url})
    assert plane.send("POST", "/v1/channels/chat/test").json["delivered"]
    ((_, headers, body),) = there.received
    assert holds in json.loads(body) and "webhook-signature" not in headers


def test_mail_goes_to_a_mail_server(plane: InProcessPlane) -> None:
    mailbox = Mailbox()
    with served(mailbox) as port:
        body = {"id": "desk", "kind": "smtp", "host": "localhost", "port": port, "tls": "none"}
        body |= {"sender": "cp@bank.example", "recipients": ["desk@bank.example"]}
        assert plane.send("POST", "/v1/channels", body).status == 201
        answer = plane.send("POST", "/v1/channels/desk/test").json
    assert answer == {"delivered": True, "status": 250, "error": ""}
    assert mailbox.mail()["Subject"] == "[controlplane] A test of this channel"


def test_a_dead_letter_is_listed_and_delivered_after_all(
    plane: InProcessPlane, outboxes: Outboxes, there: Receiver
) -> None:
    there.answers.append((410, {}))
    plane.send("POST", "/v1/channels", hook_body(there))
    outboxes.put("host-000", outbox_entry(1))

    def dead(query: str = "") -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = plane.send("GET", f"/v1/channels/dead-letters{query}").json[
            "deliveries"
        ]
        return found

    plane.wait_until(lambda: len(there.received) == 1, "the delivery")
    (letter,) = _soon(dead)
    plane.run(plane.notifier._count())
    assert plane.send("GET", "/v1/status").json["notifier"] == {
        "name": NOTIFIER,
        "ready": True,
        "epoch": 1,
        "waiting": 0,
        "dead": 1,
    }
    assert (letter["channel"], letter["error"]) == ("hook", "answered 410")
    assert [one["id"] for one in dead("?channel=hook")] == [letter["id"]]
    assert dead("?channel=other") == []
    revived = plane.send("POST", f"/v1/channels/dead-letters/{letter['id']}/retry")
    assert (revived.status, revived.json["state"]) == (200, "waiting")
    plane.wait_until(lambda: len(there.received) == 2, "the second attempt")
    assert there.received[0][1]["webhook-id"] == there.received[1][1]["webhook-id"] == letter["id"]
    assert plane.send("POST", "/v1/channels/dead-letters/msg_none/retry").code == "unknown_delivery"


def test_what_nobody_was_told_stands_in_evidence_once(
    plane: InProcessPlane, outboxes: Outboxes, there: Receiver
) -> None:
    there.answers += [(410, {}), (410, {})]
    plane.send("POST", "/v1/channels", hook_body(there))
    outboxes.put("host-000", outbox_entry(1), outbox_entry(2, "approval_reminded"))
    plane.wait_until(lambda: len(there.received) == 2, "both attempts")
    notifier = plane.notifier._notifier
    assert notifier is not None
    plane.wait_until(
        lambda: (
            not notifier.deliveries.given_up(limit=1)
            and bool(notifier.deliveries.latest("default/", limit=9, state="dead"))
        ),
        "their reports",
    )
    plane.run(plane.notifier._report())
    plane.wait_until(plane._nothing_pending, "evidence to land")
    rows = query(
        str(plane.evidence),
        "SELECT approval_id, agent_id, details FROM evidence WHERE event_type = 'notification_failed'",
    ).to_pylist()
    assert [(row["approval_id"], row["agent_id"]) for row in rows] == [("apr_1", "treasury-bot")] * 2
    told = [json.loads(row["details"]) for row in rows]
    assert {one["event"] for one in told} == {"approval_requested", "approval_reminded"}
    assert {(one["channel"], one["attempts"], one["status"]) for one in told} == {("hook", 1, 410)}


def test_a_report_that_is_sent_twice_counts_once(plane: InProcessPlane) -> None:
    report = {
        "id": "msg_1/5",
        "tenant": "default",
        "approval": "apr_1",
        "agent": "bot",
        "details": {"channel": "c"},
    }
    for fresh in (1, 0):
        assert plane.run(plane.store.call("record_undelivered", {"reports": [report]})) == fresh


def test_no_secret_is_shown_or_recorded(plane: InProcessPlane, there: Receiver) -> None:
    made = plane.send("POST", "/v1/channels", hook_body(there))
    mail = plane.send("POST", "/v1/channels", SMTP)
    assert made.status == mail.status == 201
    listed = plane.send("GET", "/v1/channels")
    removed = plane.send("DELETE", "/v1/channels/mail")
    origin = there.url.split("/hook")[0]
    assert made.json["url"] == f"{origin}/…"
    plane.wait_until(plane._nothing_pending, "evidence to land")
    rows = query(
        str(plane.evidence), "SELECT event_type, details FROM evidence WHERE event_type LIKE 'channel%'"
    )
    recorded = json.dumps(rows.to_pylist())
    assert [row["event_type"] for row in rows.to_pylist()] == [
        "channel_set",
        "channel_set",
        "channel_removed",
    ]
    for text in (*(answer.body.decode() for answer in (made, mail, listed, removed)), recorded):
        assert SECRET not in text and PASSWORD not in text and "s3cret" not in text
    assert "mail.example" in recorded and origin in recorded


def test_a_channel_is_replaced_as_a_whole(plane: InProcessPlane, there: Receiver) -> None:
    plane.send(
        "POST", "/v1/channels", hook_body(there, events=["approval_requested"], approvers=["role:treasury"])
    )
    plane.send(
        "POST",
        "/v1/channels",
        {"id": "hook", "kind": "slack", "url": "https://hooks.slack.example/T0/s3cret"},
    )
    (shown,) = plane.send("GET", "/v1/channels").json["channels"]
    assert (shown["kind"], shown["events"], shown["approvers"]) == ("slack", [], [])
    assert shown["url"] == "https://hooks.slack.example/…"


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"id": "Hook"}, "`id`"),
        ({"id": "dead-letters"}, "`dead-letters`"),
        ({"kind": "pager"}, "`kind`"),
        ({"url": "ftp://x"}, "https://"),
        ({"url": "http://hooks.example/s3cret"}, "allow_in_clear"),
        ({"url": "https://u:s3cret@hooks.example/"}, "no user name"),
        ({"secret": ""}, "whsec_"),
        ({"secret": "s3cret"}, "whsec_"),
        ({"kind": "slack"}, "no `secret`"),
        ({"events": ["approval_forgotten"]}, "`events.0`"),
        ({"approvers": ["treasury"]}, "`approvers.0`"),
        ({"host": "mail.example"}, "`host` is for kind `smtp`"),
        ({"kind": "smtp"}, "no `url`"),
        (SMTP | {"url": None}, "`url`"),
        (SMTP | {"recipients": []}, "needs `host`, `sender` and `recipients`"),
        (SMTP | {"recipients": ["a@b\r\nBcc: c@d"]}, "`recipients.0`"),
        (SMTP | {"sender": "cp@bank.example\n"}, "`sender`"),
        (SMTP | {"username": ""}, "come together"),
        (SMTP | {"tls": "none"}, "allow_in_clear"),
        (SMTP | {"port": 70_000}, "`port`"),
    ],
)
def test_what_makes_no_channel_is_refused_without_repeating_its_secrets(
    plane: InProcessPlane, there: Receiver, changes: dict[str, Any], says: str
) -> None:
    body = changes if changes.get("id") == "mail" else hook_body(there) | changes
    answer = plane.send("POST", "/v1/channels", body)
    assert answer.status == 400, answer
    assert says in answer.json["error"]["message"]
    assert "s3cret" not in answer.body.decode() and PASSWORD not in answer.body.decode()
    assert plane.send("GET", "/v1/channels").json["channels"] == []


def test_there_is_a_bound(plane: InProcessPlane, there: Receiver) -> None:
    for number in range(50):
        assert plane.send("POST", "/v1/channels", hook_body(there, id=f"hook-{number}")).status == 201
    assert plane.send("POST", "/v1/channels", hook_body(there)).code == "too_many_channels"
    assert plane.send("POST", "/v1/channels", hook_body(there, id="hook-7")).status == 201


def test_without_a_notifier_channels_are_listed_all_the_same(plane: InProcessPlane, there: Receiver) -> None:
    plane.send("POST", "/v1/channels", hook_body(there))
    plane.do(lambda: plane.end_actor(NOTIFIER))
    listed = plane.send("GET", "/v1/channels").json
    assert [one["id"] for one in listed["channels"]] == ["hook"] and NOTIFIER in listed["notifier"]
    assert plane.send("GET", "/v1/channels/hook/deliveries").status == 503
    assert plane.send("GET", "/v1/status").json["notifier"]["ready"] is False


@pytest.mark.parametrize("limit", ["0", "1001", "-1", "x", "1" * 30])
def test_a_log_is_asked_for_in_bounded_pieces(plane: InProcessPlane, limit: str) -> None:
    assert plane.send("GET", f"/v1/channels/hook/deliveries?limit={limit}").status == 400


def _soon(look: Any) -> list[dict[str, Any]]:
    """Look until there is something."""
    for _ in range(2_000):
        if found := look():
            return list(found)
    raise AssertionError("there is nothing")
