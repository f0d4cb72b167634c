"""Where notices may go, and where never."""

from __future__ import annotations

import pytest

from actors.notifications.addresses import TargetRefusedError, read_url, refuse
from controlplane.errors import InputError


@pytest.mark.parametrize(
    ("text", "origin", "at"),
    [
        (
            "https://hooks.example/T0/secret?x=1",
            "https://hooks.example",
            "https://203.0.113.9:443/T0/secret?x=1",
        ),
        ("https://hooks.example:8443", "https://hooks.example:8443", "https://203.0.113.9:8443/"),
        ("http://[::1]:9/a", "http://[::1]:9", "http://203.0.113.9:9/a"),
    ],
)
def test_a_url_in_its_parts(text: str, origin: str, at: str) -> None:
    url = read_url(text)
    assert (url.origin, url.at("203.0.113.9")) == (origin, at)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "hooks.example/secret",
        "ftp://hooks.example/secret",
        "file:///etc/secret",
        "https:///secret",
        "https://user:secret@hooks.example/",
        "https://hooks.example/#secret",
        "https://hooks.example\\@evil.example/secret",
        "https://hooks.example/se cret",
        "https://hooks.example/secret\r\nx: y",
        "https://hooks.example:99999/secret",
        "https://hooks.example/secret" + "x" * 3_000,
        "https://hööks.example/secret",
        "https://[::1/secret",
    ],
)
def test_what_is_no_url_is_refused_and_not_repeated(text: str) -> None:
    with pytest.raises(InputError) as caught:
        read_url(text)
    assert "secret" not in caught.value.message


@pytest.mark.parametrize(
    "address",
    [
        "169.254.169.254",
        "fe80::1",
        "fe80::1%eth0",
        "fd00:ec2::254",
        "fd00:ec2::23",
        "fd20:ce::254",
        "100.100.100.200",
        "168.63.129.16",
        "192.0.0.192",
        "0.0.0.0",
        "::",
        "224.0.0.1",
        "ff02::1",
        "255.255.255.255",
        "240.0.0.1",
        "::ffff:169.254.169.254",
        "64:ff9b::a9fe:a9fe",
        "2002:a9fe:a9fe::1",
    ],
)
def test_nothing_is_sent_to_metadata_however_it_is_written(address: str) -> None:
    with pytest.raises(TargetRefusedError):
        refuse(["203.0.113.9", address], host="hooks.example", in_clear=False, allow_in_clear=True)


@pytest.mark.parametrize("address", ["203.0.113.9", "10.0.0.5", "2001:db8::1", "127.0.0.1", "::1", "fd12::1"])
def test_with_tls_any_machine_s_address_will_do(address: str) -> None:
    refuse([address], host="hooks.example", in_clear=False, allow_in_clear=False)


@pytest.mark.parametrize(("address", "refused"), [("127.0.0.1", False), ("::1", False), ("10.0.0.5", True)])
def test_in_clear_only_this_machine_will_do_unless_the_channel_says_more(address: str, refused: bool) -> None:
    refuse([address], host="mail.example", in_clear=True, allow_in_clear=True)
    if refused:
        with pytest.raises(TargetRefusedError, match="allow_in_clear"):
            refuse([address], host="mail.example", in_clear=True, allow_in_clear=False)
    else:
        refuse([address], host="mail.example", in_clear=True, allow_in_clear=False)


def test_a_name_that_stands_for_nothing_is_refused() -> None:
    with pytest.raises(TargetRefusedError):
        refuse([], host="mail.example", in_clear=False, allow_in_clear=False)
