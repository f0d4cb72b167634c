"""The bodies that receivers of HTTP take: ours, Slack's and Teams'. Pure.

Whatever comes from an agent or a person stands in fields that are shown as they are: Slack's `plain_text` and Teams'
`TextRun` know no mentions, no links and no markup.
"""

from __future__ import annotations

from typing import Any, Final, assert_never

import orjson

from actors.notifications.channels import HttpKind
from actors.notifications.message import Message, message
from actors.notifications.notice import Notice

_SLACK_HEADER: Final = 150
_SLACK_TEXT: Final = 2_900  # 3 000 is the most that a block takes
_SLACK_BLOCKS: Final = 20
_TEAMS_TEXT: Final = 1_000
_TEAMS_BYTES: Final = 20_000  # 28 kB is the most that a hook takes


def body(kind: HttpKind, notice: Notice) -> bytes:
    """What is posted. Cost: microseconds; at most some 20 kB."""
    match kind:
        case "webhook":
            return orjson.dumps(_own(notice))
        case "slack":
            return orjson.dumps(_slack(message(notice)))
        case "teams":
            return _teams(message(notice))
        case _:
            assert_never(kind)


def _own(notice: Notice) -> dict[str, Any]:
    """As Standard Webhooks recommends: `type`, `timestamp`, `data`."""
    told = notice.to_json()
    data = {name: told[name] for name in ("tenant", "task", "to", "actor", "comment")}
    words = message(notice)
    return {
        "type": notice.event,
        "timestamp": notice.at,
        "data": data | {"summary": words.subject, "decide": words.decide},
    }


def _slack(words: Message) -> dict[str, Any]:
    facts = [_slack_block(f"{name}: {value}") for name, value in words.facts]
    if words.decide:
        facts.append(_slack_block(f"Look at it and decide: {words.decide}"))
    return {
        # What phones show. Slack reads it as markup: escaped it is none, and `<!channel>` mentions nobody.
        "text": slack_escaped(words.subject),
        "unfurl_links": False,
        "unfurl_media": False,
        "blocks": [
            {"type": "header", "text": _slack_plain(words.subject, _SLACK_HEADER)},
            *facts[: _SLACK_BLOCKS - 1],
        ],
    }


def _slack_block(text: str) -> dict[str, Any]:
    return {"type": "section", "text": _slack_plain(text, _SLACK_TEXT)}


def _slack_plain(text: str, characters: int) -> dict[str, Any]:
    return {"type": "plain_text", "text": _cut(text, characters), "emoji": False}


def slack_escaped(text: str) -> str:
    """The three characters that Slack's markup begins with, as its documentation escapes them."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def _teams(words: Message) -> bytes:
    for characters in (_TEAMS_TEXT, _TEAMS_TEXT // 8):
        facts = [_teams_fact(name, _cut(value, characters)) for name, value in words.facts]
        if words.decide:
            facts.append(_teams_fact("Look at it and decide", words.decide))
        card = {
            "$schema": "http://adaptivecards.io/schemas/adaptive-card.json",
            "type": "AdaptiveCard",
            "version": "1.4",
            "body": [_teams_line([{"text": words.subject, "size": "medium", "weight": "bolder"}]), *facts],
        }
        attachment = {
            "contentType": "application/vnd.microsoft.card.adaptive",
            "contentUrl": None,
            "content": card,
        }
        made = orjson.dumps({"type": "message", "attachments": [attachment]})
        if len(made) <= _TEAMS_BYTES:
            break
    return made


def _teams_fact(name: str, value: str) -> dict[str, Any]:
    return _teams_line([{"text": f"{name}: ", "weight": "bolder"}, {"text": value}])


def _teams_line(runs: list[dict[str, Any]]) -> dict[str, Any]:
    return {"type": "RichTextBlock", "inlines": [{"type": "TextRun", **run} for run in runs]}


def _cut(text: str, characters: int) -> str:
    return text if len(text) <= characters else text[: characters - 1] + "…"
