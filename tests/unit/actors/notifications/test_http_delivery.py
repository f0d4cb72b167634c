"""One POST to a real receiver: signed, judged, never redirected."""

from __future__ import annotations

import asyncio
import json
import logging
import ssl
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import pytest
from unit.actors.notifications.receiver import Receiver, receiver
from unit.actors.notifications.samples import SECRET, hook, notice

from actors.notifications.attempt import Attempt
from actors.notifications.channels import HttpTarget
from actors.notifications.http_delivery import ADDRESSES_TRIED, ANSWER_S, CONNECT_S, HttpDelivery
from actors.notifications.signature import headers

NOW_S = 1_800_000_000


@pytest.fixture
def there() -> Iterator[Receiver]:
    with receiver() as found:
        yield found


def sent(target: HttpTarget, names: dict[str, Sequence[str]] | None = None) -> Attempt:
    async def resolve(host: str, port: int) -> Sequence[str]:
        return (names or {"127.0.0.1": ["127.0.0.1"]})[host]

    async def send() -> Attempt:
        delivery = HttpDelivery(resolve, ssl.create_default_context())
        try:
            return await delivery.send(target, notice(), delivery="msg_1", now_s=NOW_S)
        finally:
            await delivery.close()

    return asyncio.run(send())


def target(there: Receiver, **changes: Any) -> HttpTarget:
    found = hook(url=there.url).target
    assert isinstance(found, HttpTarget)
    return replace(found, **changes)


def test_what_arrives_is_what_was_signed(there: Receiver) -> None:
    assert sent(target(there)) == Attempt(delivered=True, status=204)
    ((path, found, body),) = there.received
    assert path == "/hook?key=s3cret"
    assert found["content-type"] == "application/json"
    signed = headers(SECRET, delivery="msg_1", now_s=NOW_S, body=body)
    assert {name: found[name] for name in signed} == signed
    assert json.loads(body)["data"]["task"]["id"] == "apr_1"


def test_the_connection_goes_to_the_judged_address_under_the_name_of_the_url(there: Receiver) -> None:
    port = there.url.split(":")[2].split("/")[0]
    named = target(there, url=f"http://hooks.example:{port}/a")
    assert sent(named, {"hooks.example": ["127.0.0.1"]}).delivered
    assert there.received[0][1]["host"] == f"hooks.example:{port}"


def test_a_second_address_is_tried_where_the_first_takes_no_connection(there: Receiver) -> None:
    port = there.url.split(":")[2].split("/")[0]
    named = target(there, url=f"http://hooks.example:{port}/a")
    assert sent(named, {"hooks.example": ["::1", "127.0.0.1"]}).delivered


def test_addresses_that_say_nothing_leave_time_for_the_last_one() -> None:
    assert CONNECT_S * (ADDRESSES_TRIED - 1) < ANSWER_S


def test_a_redirect_is_a_failure_and_is_not_followed(there: Receiver) -> None:
    there.answers.append((307, {"location": there.url}))
    assert sent(target(there)) == Attempt(delivered=False, status=307, error="answered 307")
    assert len(there.received) == 1


def test_no_cookie_is_kept_for_whoever_else_answers_at_the_address(there: Receiver) -> None:
    async def resolve(host: str, port: int) -> Sequence[str]:
        return ["127.0.0.1"]

    async def send() -> None:
        delivery = HttpDelivery(resolve, ssl.create_default_context())
        for url in (there.url, other.url, there.url):
            channel = hook(url=url).target
            assert isinstance(channel, HttpTarget)
            await delivery.send(channel, notice(), delivery="msg_1", now_s=NOW_S)
        await delivery.close()

    there.answers.append((204, {"set-cookie": "session=s3cret; Path=/"}))
    with receiver() as other:
        asyncio.run(send())
    received = there.received + other.received
    assert len(received) == 3 and not any("cookie" in found for _, found, _ in received)


@pytest.mark.parametrize(
    ("status", "retry_after", "for_good", "asked_s"),
    [(500, None, False, None), (429, "120", False, 120), (404, None, False, None), (410, None, True, None)],
)
def test_a_refusal_says_whether_and_when_to_come_back(
    there: Receiver, status: int, retry_after: str | None, for_good: bool, asked_s: int | None
) -> None:
    there.answers.append((status, {"retry-after": retry_after} if retry_after else {}))
    attempt = sent(target(there))
    assert (attempt.delivered, attempt.status, attempt.for_good, attempt.retry_after_s) == (
        False,
        status,
        for_good,
        asked_s,
    )


@pytest.mark.parametrize("address", ["169.254.169.254", "::ffff:169.254.169.254", "fd00:ec2::254"])
def test_a_name_that_stands_for_metadata_is_refused_for_good_and_nothing_is_sent(
    there: Receiver, address: str
) -> None:
    named = target(there, url="https://hooks.example/a")
    attempt = sent(named, {"hooks.example": ["127.0.0.1", address]})
    assert not attempt.delivered and attempt.for_good and "hooks.example" in attempt.error
    assert there.received == []


def test_http_to_another_machine_is_refused(there: Receiver) -> None:
    attempt = sent(target(there, url="http://hooks.example/a"), {"hooks.example": ["10.0.0.5"]})
    assert attempt.for_good and "allow_in_clear" in attempt.error


def test_nothing_of_a_url_is_told_in_errors_or_logs(
    there: Receiver, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    assert sent(target(there)).delivered
    refused = sent(target(there, url="https://127.0.0.1:1/s3cret"))
    assert refused == Attempt(
        delivered=False,
        error="ConnectError: no connection: nobody listens there, its name is not known, or TLS failed",
    )
    ours = [record.getMessage() for record in caplog.records if not record.name.startswith("httpcore")]
    assert not any("s3cret" in text for text in ours)
    assert "s3cret" not in repr(target(there))


def test_a_name_that_nobody_knows_fails_and_is_tried_again(there: Receiver) -> None:
    attempt = sent(target(there, url="http://hooks.example/a"), {})
    assert not attempt.delivered and not attempt.for_good
