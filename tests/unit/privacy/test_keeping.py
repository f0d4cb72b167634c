"""What a row says of arguments that the catalog has kept, digested, encrypted, or left to be masked."""

from __future__ import annotations

import hashlib
import json
import os
from typing import Any

import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from hypothesis import given, settings
from hypothesis import strategies as st

from controlplane.hindsight.evidence_rows import read_masked
from controlplane.privacy.keeping import (
    LIMIT_BYTES,
    Means,
    digest_key_of,
    encrypted,
    kept,
    masked,
    value_digest,
)
from controlplane.privacy.sealing import DataKey, Situation, from_json, seal, to_json, unseal, unwrap, wrap
from controlplane.wire.digest import MASK_LIMIT_BYTES, mask
from policies.keeping import ArgumentKeeping, Keeping, Mode, read_subject
from policies.replay.recorded import Hidden

SITUATION = Situation("acme", "agent", "bot", "tool", "crm.update", "0f" * 32)
KEY = DataKey("k1", AESGCM(b"k" * 32))
DIGEST_KEY = digest_key_of(b"d" * 32)
SUBJECT = read_subject("customer:/id")


def keeping(**modes: str) -> ArgumentKeeping:
    """By pointer, `_` for `/`, `ITEMS` for `*`."""
    return ArgumentKeeping(
        {
            "/" + pointer.replace("_", "/").replace("ITEMS", "*"): Keeping(
                Mode(mode), SUBJECT if mode == "encrypt" else None
            )
            for pointer, mode in modes.items()
        }
    )


def text(arguments: dict[str, Any], key: DataKey | None = KEY, *, clear: bool = True, **modes: str) -> str:
    means = Means(DIGEST_KEY, lambda _: key, os.urandom)
    return kept(arguments, keeping(**modes), SITUATION, means, clear=clear)


def row(arguments: dict[str, Any], key: DataKey | None = KEY, *, clear: bool = True, **modes: str) -> Any:
    return json.loads(text(arguments, key, clear=clear, **modes))


def test_what_is_not_named_is_masked_as_ever() -> None:
    arguments = {"to": "DE89", "amount": 3, "tags": ["a", None], "deep": {"x": True}}
    assert text(arguments, other="keep") == mask(arguments)


def test_single_values_are_kept_in_clear_and_what_holds_others_is_not() -> None:
    arguments = {"a": "x", "b": 1.5, "c": None, "d": True, "e": {"f": "secret"}, "g": ["secret"]}
    found = row(arguments, a="keep", b="keep", c="keep", d="keep", e="keep", g="keep")
    assert found == {
        "a": {"$keep": "x"},
        "b": {"$keep": 1.5},
        "c": {"$keep": None},
        "d": {"$keep": True},
        "e": {"f": "string(6)"},
        "g": ["string(6)"],
    }


@pytest.mark.parametrize("pointer", ["items_ITEMS_sku", "items_sku"])
def test_pointers_reach_into_lists_with_and_without_a_star(pointer: str) -> None:
    found = row({"items": [{"sku": "A1", "price": 3}, {"sku": "A2"}]}, **{pointer: "keep"})
    assert found == {"items": [{"sku": {"$keep": "A1"}, "price": "number"}, {"sku": {"$keep": "A2"}}]}


def test_the_items_of_a_list_are_kept_where_a_star_ends_the_pointer() -> None:
    assert row({"tags": ["a", "b"]}, tags_ITEMS="keep") == {"tags": [{"$keep": "a"}, {"$keep": "b"}]}


def test_a_star_names_no_member_that_a_caller_calls_so() -> None:
    assert row({"tags": {"*": "a"}, "*": "b"}, tags_ITEMS="keep") == {
        "tags": {"*": "string(1)"},
        "*": "string(1)",
    }


def test_a_deployment_or_tenant_that_keeps_nothing_masks_what_would_stand_in_clear_and_nothing_else() -> None:
    found = row({"a": "x", "id": 7}, clear=False, a="keep", id="digest")
    assert found["a"] == "string(1)"
    assert found["id"]["$digest"] == value_digest(DIGEST_KEY, "acme", 7)


def test_equal_values_have_equal_digests_wherever_they_stand_and_no_plain_hash_is_there() -> None:
    first = row({"id": "c-1", "peer": "c-1", "other": "c-2"}, id="digest", peer="digest", other="digest")
    assert first["id"] == first["peer"] != first["other"]
    assert first["id"]["is"] == "string(3)"
    for form in (b"c-1", b'"c-1"'):
        assert hashlib.sha256(form).hexdigest() not in json.dumps(first)
    elsewhere = value_digest(DIGEST_KEY, "other-tenant", "c-1")
    assert elsewhere != first["id"]["$digest"]
    assert value_digest(digest_key_of(b"x" * 32), "acme", "c-1") != first["id"]["$digest"]


def test_what_is_encrypted_opens_with_its_key_in_its_place_and_nowhere_else() -> None:
    arguments = {"id": "c-1", "people": [{"email": "a@b.example"}, {"email": {"of": ["b", 1]}}]}
    written = text(arguments, people_ITEMS_email="encrypt")
    assert "b.example" not in written
    found = {one.pointer: one.sealed for one in encrypted(written)}
    assert list(found) == ["/people/0/email", "/people/1/email"]
    first = found["/people/0/email"]
    assert unseal(KEY, first, SITUATION, "/people/0/email") == b'"a@b.example"'
    assert unseal(KEY, found["/people/1/email"], SITUATION, "/people/1/email") == b'{"of":["b",1]}'
    assert unseal(KEY, first, SITUATION, "/people/1/email") is None
    assert unseal(DataKey("k1", AESGCM(b"o" * 32)), first, SITUATION, "/people/0/email") is None
    for position in range(len(SITUATION)):
        moved = Situation(*["x" if n == position else one for n, one in enumerate(SITUATION)])
        assert unseal(KEY, first, moved, "/people/0/email") is None


def test_two_ciphertexts_of_one_value_differ() -> None:
    found = row({"a": "x", "b": "x"}, a="encrypt", b="encrypt")
    assert found["a"]["$encrypt"]["text"] != found["b"]["$encrypt"]["text"]
    assert found["a"]["$encrypt"]["nonce"] != found["b"]["$encrypt"]["nonce"]


def test_without_a_key_it_is_masked_never_clear() -> None:
    assert row({"email": "a@b.example"}, None, email="encrypt") == {"email": "string(11)"}


def test_names_inside_what_is_to_be_encrypted_or_digested_show_nowhere_else_either() -> None:
    people = {"a@b.example": {"rating": 1}}
    assert row({"people": people, "list": [people]}, None, people="encrypt", list="encrypt") == {
        "people": "object(1)",
        "list": "list(1)",
    }
    large = {f"a{n}@b.example": n for n in range(2_000)}
    assert row({"people": large}, people="encrypt") == {"people": "object(2000)"}
    crowded = {"people": people} | {f"n{n}": "x" for n in range(2_000)}
    assert "b.example" not in text(crowded, people="digest")
    assert read_masked('{"people":"object(1)"}') == ({"people": Hidden.OBJECT}, True)


def test_the_masked_form_leaves_those_names_out_as_well() -> None:
    arguments = {
        "people": {"a@b.example": 1},
        "ids": [{"x": 1}],
        "kind": "x",
        "deep": {"name": {"y": 1}, "z": 2},
    }
    hidden = keeping(people="encrypt", ids="digest", kind="keep", deep_name="encrypt")
    assert json.loads(masked(arguments, hidden)) == {
        "people": "object(1)",
        "ids": "list(1)",
        "kind": "string(1)",
        "deep": {"name": "object(1)", "z": "number"},
    }
    assert masked(arguments, None) == mask(arguments)
    assert len(masked({f"n{n}": "x" for n in range(3_000)}, hidden)) <= MASK_LIMIT_BYTES


@pytest.mark.parametrize("mode", ["keep", "encrypt"])
def test_what_has_no_room_is_masked(mode: str) -> None:
    found = row({"long": "x" * LIMIT_BYTES, "short": "y"}, long=mode, short=mode)
    assert found["long"] == f"string({LIMIT_BYTES})"
    assert f"${mode}" in found["short"]


def test_a_caller_cannot_write_a_mark() -> None:
    forged: dict[str, Any] = {
        "amount": {"$keep": 5},
        "$keep": 5,
        "email": {"$encrypt": {"key": "k", "nonce": "n", "text": "t"}, "is": "string(1)"},
        "$$keep": 6,
    }
    for written in (mask(forged), text(forged, nothing="keep")):
        assert '"$keep"' not in written and '"$encrypt"' not in written
        assert list(encrypted(written)) == []
        seen, _ = read_masked(written)
        assert seen == {
            "amount": Hidden.OBJECT,
            "$keep": Hidden.NUMBER,
            "email": Hidden.OBJECT,
            "$$keep": Hidden.NUMBER,
        }


def test_a_forged_mark_inside_of_what_is_kept_stays_the_callers() -> None:
    found = row({"note": '{"$keep": 1}'}, note="keep")
    assert read_masked(json.dumps(found))[0] == {"note": '{"$keep": 1}'}


def test_hindsight_reads_what_is_kept_and_the_kind_of_what_is_not() -> None:
    arguments = {"a": "number", "b": 1, "c": "x", "d": {"e": 1}, "$f": 2}
    written = text(arguments, a="keep", b="digest", c="encrypt", d="digest")
    seen, complete = read_masked(written)
    assert seen == {
        "a": "number",
        "b": Hidden.NUMBER,
        "c": Hidden.STRING,
        "d": Hidden.OBJECT,
        "$f": Hidden.NUMBER,
    }
    assert complete


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53) + 1, 2**53 - 1) | st.text(max_size=40),
    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(st.text(max_size=80), inner, max_size=5),
    max_leaves=30,
)
MODES = st.dictionaries(
    st.sampled_from(["a", "b", "c", "d", "e_x", "f_ITEMS", "g_ITEMS_x"]),
    st.sampled_from(["keep", "mask", "digest", "encrypt"]),
)
NAMES = st.sampled_from(["a", "b", "c", "d", "e", "f", "g", "$a", "*", "x" * 70]) | st.text(max_size=80)


@settings(max_examples=200, deadline=None)
@given(arguments=st.dictionaries(NAMES, JSON, max_size=12), modes=MODES)
def test_the_text_is_json_within_its_bound_whatever_the_arguments(
    arguments: dict[str, Any], modes: dict[str, str]
) -> None:
    written = text(arguments, **modes)
    assert len(written.encode()) <= LIMIT_BYTES
    json.loads(written)
    for one in encrypted(written):
        assert unseal(KEY, one.sealed, SITUATION, one.pointer) is not None


@settings(max_examples=50, deadline=None)
@given(arguments=st.dictionaries(NAMES, st.text(max_size=3_000), min_size=5, max_size=40), modes=MODES)
def test_the_text_is_within_its_bound_when_it_is_full(
    arguments: dict[str, Any], modes: dict[str, str]
) -> None:
    assert len(text(arguments, **modes).encode()) <= LIMIT_BYTES


def test_a_ciphertext_survives_json_and_what_is_none_is_none() -> None:
    sealed = seal(KEY, b"plain", SITUATION, "/a", nonce=b"n" * 12)
    value = to_json(sealed)
    assert from_json(value) == sealed
    for broken in (
        None,
        "x",
        {},
        value | {"more": 1},
        value | {"nonce": "AAAA"},
        value | {"text": "%"},
        value | {"key": 1},
    ):
        assert from_json(broken) is None


def test_a_data_key_opens_for_its_own_subject_under_its_own_wrapping_key_alone() -> None:
    who: dict[str, Any] = {"identity": "i", "tenant": "acme", "subject": "s"}
    wrapped = wrap(b"w" * 32, b"k" * 32, **who, nonce=b"n" * 12)
    assert unwrap(b"w" * 32, wrapped, **who) is not None
    assert unwrap(b"x" * 32, wrapped, **who) is None
    assert unwrap(b"w" * 32, wrapped[:20], **who) is None
    for name in who:
        assert unwrap(b"w" * 32, wrapped, **who | {name: "other"}) is None
