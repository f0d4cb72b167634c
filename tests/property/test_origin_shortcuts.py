"""What is read by a shortcut is what the long way says of it."""

from __future__ import annotations

import re

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from policies.origin import TokenHasher, decoding, spelling
from policies.origin.tokens import as_one_name, read
from policies.origin.units import units_of

_HASHER = TokenHasher(b"the key of all replicas")
_PIECES = (
    "a", "b1", "www", "www.", "example", "xn--p1ai", "x.y", "-", ".", "..", "/", "//", "?", "=", "&", "~", "_", "com",
    "q=1", "index.html", ":80", "%41", "#f", "@", ")", "(", "10.0.0.1", "",
)  # fmt: skip
_STARTS = st.sampled_from(
    ("http://", "https://", "https://www.", "http://example.com", "https://a.b/c", "ftp://")
)
_URLS = st.tuples(_STARTS, st.lists(st.sampled_from(_PIECES), max_size=6)).map(
    lambda two: two[0] + "".join(two[1])
)
_WORDS = st.lists(st.sampled_from(("May", "march", "no", "id", "Ann", "x", "of")), min_size=1, max_size=6)


@given(_URLS)
def test_a_plain_url_is_spelled_as_its_canonical_form_is(url: str) -> None:
    with pytest.MonkeyPatch.context() as patch:
        short = spelling._said(url)
        patch.setattr(spelling, "_PLAIN_URL", re.compile(r"(?!)"))
        long = spelling._said(url)

    assert (short[0], set(short[1])) == (long[0], set(long[1]))


@given(
    st.one_of(st.binary(max_size=12), st.text(max_size=8).map(lambda text: text.encode("utf-8", "replace")))
)
def test_what_is_told_at_a_glance_to_be_no_text_does_not_decode(data: bytes) -> None:
    assume(decoding._NO_TEXT.search(data))
    try:
        text = data.decode()
    except UnicodeDecodeError:
        return

    assert not text.translate(decoding._BLANKS).isprintable()


@given(_WORDS, st.sampled_from((" ", "  ")))
def test_letters_alone_are_their_words(words: list[str], blank: str) -> None:
    text = blank.join(words)
    (unit,) = units_of({"to": text}, None, _HASHER)
    long = read(text)

    assert as_one_name(text) is None
    assert not long.names
    if len(words) > 1:
        assert unit.words == tuple(_HASHER.words(long.words)[word] for word in long.words)
        assert (unit.names, unit.beside, unit.runs) == ((), (), ((0, len(words)),))
