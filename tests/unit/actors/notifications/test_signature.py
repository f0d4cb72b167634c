"""Signatures are those of Standard Webhooks."""

from __future__ import annotations

import pytest
from unit.actors.notifications.samples import SECRET

from actors.notifications.signature import headers, new_secret, read_secret
from controlplane.errors import InputError


def test_the_vector_of_standard_webhooks_own_libraries() -> None:
    made = headers(
        SECRET,
        delivery="msg_p5jXN8AQM9LWM0D4loKWxJek",
        now_s=1614265330,
        body=b'{"test": 2432232314}',
    )
    assert made == {
        "webhook-id": "msg_p5jXN8AQM9LWM0D4loKWxJek",
        "webhook-timestamp": "1614265330",
        "webhook-signature": "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=",
    }


def test_a_new_secret_is_one() -> None:
    assert read_secret(new_secret(bytes(range(32)))) == bytes(range(32))


@pytest.mark.parametrize(
    "text",
    [
        "",
        "whsec_",
        "whsec_AAAA",
        "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
        "whsec_!!!!" + "A" * 40,
        "whsec_" + "A" * 400,
    ],
)
def test_what_is_no_secret_is_refused_and_not_repeated(text: str) -> None:
    with pytest.raises(InputError) as caught:
        read_secret(text)
    assert not text.removeprefix("whsec_") or text.removeprefix("whsec_") not in caught.value.message
