"""Ids say where to look, and nobody but us can make a session id."""

from __future__ import annotations

from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from actors.ids import (
    MAX_ORDINAL,
    BindingToken,
    agent_key,
    approval_id,
    approval_ordinal,
    binding_token,
    bound_decision,
    decision_id,
    delegation_ordinal,
    delegation_token,
    ordinal_of_decision,
    read_binding_token,
    read_delegation_token,
    read_session_id,
    session_id,
    session_ordinal,
    subject_of_key,
)

KEY = b"k" * 32
SUBJECT = "default/agent/treasury-bot"


def make(subject: str = SUBJECT, *, key: bytes = KEY, ordinal: int = 3, expires_us: int = 9_000_000) -> str:
    return session_id(key=key, subject=subject, ordinal=ordinal, expires_us=expires_us, random=b"123456789")


@given(
    now_us=st.integers(0, (1 << 48) * 1000 - 1),
    ordinal=st.integers(0, MAX_ORDINAL),
    random=st.integers(0, 1 << 48),
)
def test_a_decision_id_is_a_uuid7_that_carries_its_logs_ordinal(
    now_us: int, ordinal: int, random: int
) -> None:
    text = decision_id(now_us=now_us, ordinal=ordinal, random=random)
    assert UUID(text).version == 7
    assert UUID(text).int >> 80 == now_us // 1000
    assert ordinal_of_decision(text) == ordinal


def test_decision_ids_of_later_events_sort_later() -> None:
    ids = [
        decision_id(now_us=us, ordinal=1, random=5)
        for us in range(1_700_000_000_000_000, 1_700_000_000_010_000, 97)
    ]
    assert ids == sorted(ids)


@pytest.mark.parametrize(
    "text", ["", "x", "0190", "0190A000-0000-7000-8000-000000000000", "{" + "0" * 36 + "}"]
)
def test_what_is_no_decision_id_has_no_ordinal(text: str) -> None:
    assert ordinal_of_decision(text) is None


ID = st.from_regex(r"[A-Za-z0-9][A-Za-z0-9._:/@-]{0,8}", fullmatch=True)


@given(first=st.tuples(ID, ID), second=st.tuples(ID, ID))
def test_no_two_subjects_share_a_key(first: tuple[str, str], second: tuple[str, str]) -> None:
    assert (agent_key("t", *first) == agent_key("t", *second)) == (first == second)
    assert subject_of_key(agent_key("t", *first)) == ("t", *first)


def test_a_slash_in_a_type_does_not_make_two_subjects_one() -> None:
    assert agent_key("t", "a", "b/c") != agent_key("t", "a/b", "c")


def test_a_session_id_is_read_back_by_whom_it_was_minted_for() -> None:
    found = read_session_id(make(), key=KEY, subject=SUBJECT)
    assert found is not None
    assert (found.ordinal, found.expires_us) == (3, 9_000_000)
    assert session_ordinal(make()) == 3


def test_a_session_id_works_for_nobody_else() -> None:
    assert read_session_id(make(), key=KEY, subject="default/agent/other") is None
    assert read_session_id(make(), key=b"x" * 32, subject=SUBJECT) is None
    assert read_session_id(make(), key=KEY, subject="other/agent/treasury-bot") is None


@given(position=st.integers(4, 46), letter=st.sampled_from("ABCxyz019-_"))
def test_a_session_id_with_one_other_character_is_forged(position: int, letter: str) -> None:
    genuine = make()
    forged = genuine[:position] + letter + genuine[position + 1 :]
    if forged != genuine:
        assert read_session_id(forged, key=KEY, subject=SUBJECT) is None


@given(st.text(max_size=60))
def test_reading_any_text_as_a_session_id_never_fails(text: str) -> None:
    assert read_session_id("ses_" + text, key=KEY, subject=SUBJECT) is None


def token(*, key: bytes = KEY, tenant: str = "default") -> tuple[str, str]:
    return delegation_token(key=key, tenant=tenant, ordinal=3, expires_us=9_999_999, random=b"123456789")


def test_a_delegation_token_is_read_back_in_its_tenant_alone() -> None:
    identity, text = token()
    found = read_delegation_token(text, key=KEY, tenant="default")
    assert found is not None
    assert (found.id, found.ordinal, found.expires_us) == (identity, 3, 9_000_000)
    assert delegation_ordinal(text) == 3 and identity not in text
    assert read_delegation_token(text, key=KEY, tenant="acme") is None
    assert read_delegation_token(text, key=b"x" * 32, tenant="default") is None


@given(position=st.integers(4, 46), letter=st.sampled_from("ABCxyz019-_"))
def test_a_delegation_token_with_one_other_character_is_forged(position: int, letter: str) -> None:
    _, genuine = token()
    forged = genuine[:position] + letter + genuine[position + 1 :]
    if forged != genuine:
        assert read_delegation_token(forged, key=KEY, tenant="default") is None


def test_a_token_is_no_session_and_a_session_no_token() -> None:
    _, text = token(tenant=SUBJECT)
    assert read_session_id("ses_" + text[4:], key=KEY, subject=SUBJECT) is None
    assert read_delegation_token("dlg_" + make()[4:], key=KEY, tenant=SUBJECT) is None
    assert session_ordinal(text) is None and delegation_ordinal(make()) is None


@given(st.text(max_size=60))
def test_reading_any_text_as_a_delegation_token_never_fails(text: str) -> None:
    assert read_delegation_token("dlg_" + text, key=KEY, tenant="default") is None


DECISION = decision_id(now_us=1_790_000_000_000_000, ordinal=3, random=77)


def binding(tenant: str = "default") -> str:
    return binding_token(key=KEY, tenant=tenant, decision=DECISION, expires_us=9_000_001)


def test_a_binding_token_is_read_back_in_its_tenant_alone() -> None:
    found = read_binding_token(binding(), key=KEY, tenant="default")
    assert found == BindingToken(decision=DECISION, expires_us=9_000_000)
    assert bound_decision(binding()) == DECISION
    assert read_binding_token(binding(), key=KEY, tenant="acme") is None
    assert read_binding_token(binding(), key=b"x" * 32, tenant="default") is None


@given(position=st.integers(4, 51), letter=st.sampled_from("ABCxyz019-_+/= "))
def test_a_binding_token_with_one_other_character_is_forged(position: int, letter: str) -> None:
    genuine = binding()
    forged = genuine[:position] + letter + genuine[position + 1 :]
    if forged != genuine:
        assert read_binding_token(forged, key=KEY, tenant="default") is None


@given(st.text(max_size=60))
def test_reading_any_text_as_a_binding_token_or_an_approval_never_fails(text: str) -> None:
    assert read_binding_token("esc_" + text, key=KEY, tenant="default") is None
    assert approval_ordinal("apr_" + text) is None


def test_an_approval_says_which_log_has_it() -> None:
    assert approval_ordinal(approval_id(DECISION)) == 3
    assert approval_ordinal(DECISION) is None
