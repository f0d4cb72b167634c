"""Keys: what they look like, and for whom they speak."""

from __future__ import annotations

import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from actors.api_keys import Caller, hash_of, mint, split, verify


def caller(role: str = "gateway", agents: tuple[str, ...] = (), subjects: tuple[str, ...] = ()) -> Caller:
    return Caller(
        key_id="k",
        tenant="default",
        role=role,
        agents=agents,
        subjects=subjects,
        grants=frozenset({"workflows"}),
    )


def test_a_minted_key_is_split_into_its_id_and_the_hash_that_is_kept() -> None:
    identity, key = mint(os.urandom)
    assert split(key) == (identity, hash_of(key))
    assert identity in key


@given(st.text(max_size=200))
def test_no_text_breaks_the_splitting(text: str) -> None:
    parts = split(text)
    assert parts is None or text.startswith("cp_")


@pytest.mark.parametrize(
    ("entry", "expected"),
    [
        ({"hash": "h", "revoked_us": None, "expires_us": None}, None),
        ({"hash": "h", "revoked_us": None, "expires_us": 101}, None),
        ({"hash": "h", "revoked_us": None, "expires_us": 100}, "expired"),
        ({"hash": "h", "revoked_us": 5, "expires_us": None}, "revoked"),
        ({"hash": "other", "revoked_us": None, "expires_us": None}, "unknown"),
    ],
)
def test_a_key_is_good_only_when_its_hash_fits_and_it_is_neither_revoked_nor_expired(
    entry: dict[str, object], expected: str | None
) -> None:
    assert verify(entry, "h", now_us=100) == expected


@pytest.mark.parametrize(
    ("speaker", "subject", "expected"),
    [
        (caller(agents=("treasury-bot",)), ("agent", "treasury-bot"), True),
        (caller(agents=("treasury-bot",)), ("agent", "treasury-bot2"), False),
        (caller(agents=("treasury-*",)), ("agent", "treasury-bot"), True),
        (caller(agents=("treasury-*",)), ("agent", "mail"), False),
        (caller(agents=("*",)), ("user", "rick"), False),
        (caller(agents=("a*b*c",)), ("agent", "axxbyyc"), True),
        (caller(agents=("a*b*b",)), ("agent", "ab"), False),
        (caller(agents=("ab*ba",)), ("agent", "aba"), False),
        (caller(subjects=("user:*",)), ("user", "rick@the-citadel.com"), True),
        (caller(subjects=("user:*",)), ("agent", "rick"), False),
        (caller(subjects=("user:*",)), ("user:admin", "x"), False),
        (caller(subjects=("svc:db:reader",)), ("svc", "db:reader"), True),
        (caller(subjects=("svc:db:reader",)), ("svc:db", "reader"), False),
        (caller(role="operator"), ("agent", "anybody"), True),
    ],
)
def test_a_key_speaks_only_for_whom_it_was_issued(
    speaker: Caller, subject: tuple[str, str], expected: bool
) -> None:
    assert speaker.may_speak_for(*subject) is expected
