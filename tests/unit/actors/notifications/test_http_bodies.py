"""What receivers of HTTP get: fields that are shown as they are, within the limits of each service."""

from __future__ import annotations

import json
from typing import Any

import pytest
from unit.actors.notifications.samples import notice

from actors.notifications.http_bodies import body
from actors.notifications.message import message, unlinked

HOSTILE = "<!channel> <https://evil.example|log in> *bold* [x](https://evil.example) <at>all</at> & @here"


def texts(value: Any) -> list[tuple[str, str]]:
    """(type of the object that holds it, text) of all texts in a body."""
    if isinstance(value, list):
        return [found for each in value for found in texts(each)]
    if not isinstance(value, dict):
        return []
    own = [(str(value.get("type")), value["text"])] if isinstance(value.get("text"), str) else []
    return own + [found for each in value.values() for found in texts(each)]


def test_ours_has_type_timestamp_and_data() -> None:
    sent = json.loads(body("webhook", notice()))
    assert sent.keys() == {"type", "timestamp", "data"}
    assert (sent["type"], sent["timestamp"]) == ("approval_requested", "2026-11-24T12:00:00Z")
    assert sent["data"]["task"]["rules"][0]["by"] == ["role:treasury"]
    assert sent["data"]["to"] == ["role:treasury"]
    assert sent["data"]["decide"] == "controlplane approvals show apr_1"
    assert sent["data"]["summary"] == "Approval needed: treasury-bot wants to call tool:payments.transfer"


def test_slack_gets_nothing_that_it_takes_for_markup() -> None:
    sent = json.loads(body("slack", notice(agent=HOSTILE, justification=HOSTILE)))
    assert "<" not in sent["text"] and "&lt;!channel&gt;" in sent["text"]
    in_blocks = texts(sent["blocks"])
    assert any(unlinked(HOSTILE) in text for _, text in in_blocks)
    assert {kind for kind, _ in in_blocks} == {"plain_text"}
    assert sent["unfurl_links"] is False


def test_teams_gets_nothing_that_it_takes_for_markup() -> None:
    sent = json.loads(body("teams", notice(agent=HOSTILE, justification=HOSTILE)))
    (attachment,) = sent["attachments"]
    assert attachment["contentType"] == "application/vnd.microsoft.card.adaptive"
    runs = texts(attachment["content"])
    assert any(unlinked(HOSTILE) in text for _, text in runs)
    assert {kind for kind, _ in runs} == {"TextRun"}
    assert {block["type"] for block in attachment["content"]["body"]} == {"RichTextBlock"}


@pytest.mark.parametrize("kind", ["slack", "teams"])
def test_a_chat_says_what_must_be_decided_and_how(kind: Any) -> None:
    said = " ".join(text for _, text in texts(json.loads(body(kind, notice()))))
    for word in (
        "2 of role:treasury",
        "given: user:anna",
        "/to DE…00",
        "controlplane approvals show apr_1",
        "12:28",
    ):
        assert word in said


@pytest.mark.parametrize(
    ("text", "seen"),
    [
        ("see https://evil.example/login", "see https[:]//evil[.]example/login"),
        ("or www.evil.example, ask a@evil.example", "or www[.]evil[.]example, ask a@evil[.]example"),
        ("mailto:a@b", "mailto[:]a@b"),
        ("12.500 for 3.1.2026. Thanks.", "12.500 for 3.1.2026. Thanks."),
    ],
)
def test_no_program_makes_a_link_of_an_agent_s_words(text: str, seen: str) -> None:
    assert unlinked(text) == seen
    for kind in ("slack", "teams"):
        assert seen in body(kind, notice(justification=text)).decode()  # type: ignore[arg-type]


def test_no_program_makes_a_link_of_a_resource_s_id() -> None:
    for name in ("https://evil.example/login", "www.evil.example/login"):
        words = message(notice(resource={"type": "page", "id": name})).as_text()
        assert "://" not in words and "evil.example" not in words


def test_no_program_makes_a_link_of_an_argument_s_name() -> None:
    rule = {"rule": "r", "values": [{"at": "/www.evil.example", "shown": "DE…00"}]}
    masked = {"https://evil.example/login": "number"}
    words = message(notice(masked_arguments=masked, rules=[rule])).as_text()
    assert "://" not in words and "evil.example" not in words


def test_the_longest_notice_fits_every_service() -> None:
    rules = [
        {
            "rule": "ü" * 900,
            "because": "ü" * 900,
            "by": ["user:" + "ü" * 300] * 30,
            "quorum": 9,
            "approvals": [],
        }
    ] * 30
    long = notice(agent="ü" * 900, justification="ü" * 900, masked_arguments="ü" * 9_000, rules=rules)
    slack = json.loads(body("slack", long))
    assert len(slack["blocks"]) <= 50
    assert len(slack["blocks"][0]["text"]["text"]) <= 150
    assert all(len(text) <= 3_000 for _, text in texts(slack["blocks"]))
    assert len(body("teams", long)) <= 28_000
    assert len(body("webhook", long)) <= 256_000


@pytest.mark.parametrize(
    ("event", "state", "said"),
    [
        ("approval_denied", "denied", "Denied by user:anna"),
        ("approval_expired", "expired", "Expired, and so denied"),
        ("approval_reminded", "partial", "Still waiting"),
        ("approval_of_a_later_version", "pending", "approval_of_a_later_version"),
        ("{0.__class__}", "pending", "{0.__class__}"),
    ],
)
def test_each_event_has_its_words(event: str, state: str, said: str) -> None:
    words = message(notice(event=event, state=state))
    assert said in words.subject
    assert bool(words.decide) == (state in ("pending", "partial"))
