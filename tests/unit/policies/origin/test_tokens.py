"""Values that a tool would treat alike are one token, however they are written."""

from __future__ import annotations

import pytest

from policies.origin import spelling
from policies.origin.folding import fold
from policies.origin.tokens import Spellings, as_one_name, read

SAID: list[tuple[str, set[str]]] = [
    ("write to <Bob.X@Example.COM>, please", {"m:bob.x@example.com"}),
    ("mailto:bob@example.com;carol@example.org", {"m:bob@example.com", "m:carol@example.org"}),
    ("x@xn--bcher-kva.example", {"m:x@bucher.example"}),
    ("see https://www.Example.com/a/?q=1).", {"u:example.com/a?q=1", "u:example.com"}),
    ("[here](http://example.com/x) or www.example.org", {"u:example.com/x", "u:example.com", "u:example.org"}),
    ("http://ann@example.com:8080/a%62", {"u:ann@example.com:8080/ab", "u:ann@example.com:8080",
                                          "u:example.com:8080", "u:example.com"}),
    ("IBAN:DE89370400440532013000.", {"a:de89370400440532013000"}),
    ("to DE89-3704-0044-0532-0130-00", {"a:de89370400440532013000"}),
    ("call 555-123-4567", {"n:5551234567"}),
    ("$12,500.00 or 12500.0", {"n:12500"}),
    ("12.50 euros, 7 of them", set()),
    ("file id 13, no. 7, number: 4, code 1234, #42", {"n:13", "n:7", "n:4", "n:1234", "n:42"}),
    ("user_id 9", {"i:user_id", "n:9"}),
    ("on 2024-05-15 at 10:00:00", {"d:2024-05-15", "t:10:00"}),
    ("2024-05-15T22:30Z", {"d:2024-05-15", "t:22:30"}),
    ("15 May 2024, May 15th, 2024, 15/05/2024, 5/15/2024, 2024/5/15", {"d:2024-05-15"}),
    ("10pm", {"t:22:00"}),
    ("report_final.pdf by user_42 in /home/ann/x", {"u:report_final.pdf", "i:user_42", "i:home/ann/x"}),
    ("report.pdf", {"u:report.pdf"}),
]  # fmt: skip


@pytest.mark.parametrize(("text", "names"), SAID, ids=[text for text, _ in SAID])
def test_a_text_says_these_names(text: str, names: set[str]) -> None:
    assert read(text).names == names


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("pay DE89 3704 0044 0532 0130 00 today", "a:de89370400440532013000"),
        ("pay 12 times to DE89 3704 0044 0532 0130 00 until 2024", "a:de89370400440532013000"),
        ("pay NL91 ABNA 0417 1643 00, 50 euros", "a:nl91abna0417164300"),
        ("pay US13 3000 0001 2121 2121 212", "a:us133000000121212121212"),
        ("IBAN:GB29 NWBK 6016 1331 9268 19", "a:gb29nwbk60161331926819"),
        ("Our IBAN=GB29 NWBK 6016 1331 9268 19", "a:gb29nwbk60161331926819"),
        ("(GB29 NWBK 6016 1331 9268 19)", "a:gb29nwbk60161331926819"),
        ("**GB29** **NWBK** 6016 1331 9268 19", "a:gb29nwbk60161331926819"),
        ("GB29 NW\u200bBK 6016 13\u200b31 9268 19", "a:gb29nwbk60161331926819"),
        ("GB\u0662\u0669 NWBK 6016 1331 9268 19", "a:gb29nwbk60161331926819"),
        ("GB29-NWBK-6016-1331-9268-19", "a:gb29nwbk60161331926819"),
        ("GB29.NWBK.6016.1331.9268.19", "a:gb29nwbk60161331926819"),
        ("GB29/NWBK/6016/1331/9268/19", "a:gb29nwbk60161331926819"),
        ("GB29_NWBK_6016_1331_9268_19", "a:gb29nwbk60161331926819"),
        ("call +1 (555) 123-4567 now", "n:15551234567"),
        ("account 1234 5678 9012", "n:123456789012"),
    ],
)
def test_spaced_groups_are_one_name(text: str, name: str) -> None:
    assert name in read(text).names


def test_words_without_digits_never_join_an_account() -> None:
    assert as_one_name("Mister DE89 Smith 12345") is None
    assert as_one_name("2024-05-15 10:00") is None
    assert not any("smith" in name for name in read("room B12 Smith 4455 66").names)


@pytest.mark.parametrize("text", ["¹²³⁴ ⁵⁶⁷⁸ ⁹⁰", "１２３４ ５６７８ ９０", "①②③④ ⑤⑥⑦⑧ ⑨0"])
def test_digits_of_any_look_make_one_number(text: str) -> None:
    assert as_one_name(text) == "n:1234567890"
    assert "n:1234567890" in read(f"pay to {text} now").names


def test_dates_beside_each_other_keep_the_words_between_them() -> None:
    said = read("5 May 2024, 6 may or 7 and May 8 then 40 may, march 9")
    assert said.names == {"d:2024-05-05", "d:--05-06", "d:--05-08", "d:--03-09"}
    assert said.words == [
        "d:2024-05-05", "d:--05-06", "or", "7", "and", "d:--05-08", "then", "40", "may", "d:--03-09",
    ]  # fmt: skip


def test_what_was_spelled_before_says_the_same_again() -> None:
    text = "May 5: mail <Bob@example.com> of #42, plain words and DE89 3704 0044 0532 0130 00"
    spelling.forget()
    first, again = read(text), read(text)
    assert first == again
    assert first == read(text, Spellings())


def test_words_keep_their_order_and_lose_what_surrounds_them() -> None:
    assert read("“Alice’s” note: (well-known) and/or #general!").words == [
        "alice", "note", "well-known", "and", "or", "general",
    ]  # fmt: skip


@pytest.mark.parametrize(
    "text",
    [
        "m\u0430llory",
        "MALLORY",
        "ｍａｌｌｏｒｙ",
        "mal\u200blory",
        "mall\u0301ory",
        "m\u00adallory",
        "mаllοry",
        "𝐦allory",
    ],
)
def test_look_alikes_fold_to_one_spelling(text: str) -> None:
    assert fold(text) == "mallory"
    assert read(text).words == ["mallory"]
