"""A channel as a body, what its fields do not take, and a dead letter of it: for tests of every door."""

from __future__ import annotations

from itertools import count
from typing import Any

from unit.actors.notifications.samples import SECRET, notice
from unit.service.in_process_plane import InProcessPlane

from actors.notifications.attempt import Attempt
from actors.notifications.delivery_journal import delivery_id

_NUMBERS = count(1)

WRONG: dict[str, list[Any]] = {
    "id": ["", "-a", "A", "a b", "a/b", "x" * 64, "dead-letters", 1, True, None, [], {}],
    "kind": ["", "pager", "Webhook", 1, True, None, [], {}],
    "url": [
        "",
        "x",
        "ftp://a",
        "https://",
        "https://a:b@c",
        "https://a/" + "x" * 2048,
        1,
        None,
        [],
        {},
    ],
    "secret": ["", "x", "whsec_", "whsec_AAAA", "ä", "a\n", "x" * 513, 1, True, None, [], {}],
    "host": ["a b", "-a", "a_b", "ä", "x" * 254, 1, True, None, [], {}],
    "port": [-1, 65_536, 1.5, "25", True, None, [], {}],
    "tls": ["", "ssl", 1, True, None, [], {}],
    "username": ["ä", "a\n", "x" * 257, 1, True, None, [], {}],
    "sender": ["a", "a@", "@b", "a@b\n", "a b@c", "A <a@b>", "x" * 255 + "@b", 1, True, None, [], {}],
    "recipients": ["a@b", 1, None, {}, [1], [""], ["a"], ["a@b\nBcc: c@d"], ["a@b"] * 21],
    "events": ["approval_requested", 1, None, {}, [""], ["all"], [1], ["approval_requested"] * 21],
    "approvers": ["role:a", 1, None, {}, [""], ["treasury"], [":a"], ["a:"], [1], ["role:a"] * 101],
    "allow_in_clear": ["true", "", 1, 0, None, [], {}],
}


def a_body() -> dict[str, Any]:
    return {
        "id": "hook",
        "kind": "webhook",
        "url": "http://127.0.0.1:9/",
        "secret": SECRET,
        "events": ["approval_requested"],
        "approvers": ["role:treasury"],
        "allow_in_clear": False,
    }


def a_channel(plane: InProcessPlane) -> str:
    return str(plane.send("POST", "/v1/channels", a_body()).json["id"])


def a_dead_letter(plane: InProcessPlane) -> str:
    """A delivery to that channel which was given up, as the notifier's journal has it."""
    a_channel(plane)
    plane.run(plane.notifier._follow_channels())

    def give_up() -> str:
        notifier = plane.notifier._notifier
        assert notifier is not None
        told = notice(seq=next(_NUMBERS))
        notifier.deliveries.take([told], list(notifier._channels.values()), now_us=1)
        found = notifier.deliveries.one(delivery_id(told.id, "default/hook"))
        assert found is not None
        notifier.deliveries.note(found, Attempt(delivered=False), now_us=1, next_us=None)
        return found.id

    return plane.do(give_up)
