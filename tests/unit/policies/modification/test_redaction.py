"""What `redact` finds, and how it is not to be dodged."""

from __future__ import annotations

import pytest

from policies.modification.apply import Applied, apply
from policies.modification.effort import Effort, TooMuchError
from policies.modification.operations import KINDS, Redact, read
from policies.modification.redaction import redacted

CARD = "4111111111111111"
IBAN = "DE89370400440532013000"


def of(kind: str, text: str, region: str | None = None) -> str:
    found, _ = redacted(text, (kind,), region, Effort())
    again, counts = redacted(found, (kind,), region, Effort())
    assert again == found
    assert not counts
    return found


CARDS = {
    "plain": (f"card {CARD}, please", "card [card number], please"),
    "in fours": ("4111 1111 1111 1111", "[card number]"),
    "with dashes": ("4111-1111-1111-1111", "[card number]"),
    "with dots": ("4111.1111.1111.1111", "[card number]"),
    "digit by digit": ("4-1-1-1-1-1-1-1-1-1-1-1-1-1-1-1", "[card number]"),
    "spread": ("4111  -  1111 - 1111 _ 1111", "[card number]"),
    "over lines": ("4111 1111\n1111 1111", "[card number]"),
    "no-break spaces": ("4111\u00a01111\u202f1111\u20091111", "[card number]"),
    "invisible characters": ("4111\u200b1111\u200d1111\u20601111\ufeff!", "[card number]!"),
    "full width": ("４１１１１１１１１１１１１１１１", "[card number]"),
    "arabic digits": ("٤١١١ ١١١١ ١١١١ ١١١١", "[card number]"),
    "mathematical digits": ("𝟒𝟏𝟏𝟏𝟏𝟏𝟏𝟏𝟏𝟏𝟏𝟏𝟏𝟏𝟏𝟏", "[card number]"),
    "keycaps": ("4\ufe0f\u20e3" + "1\ufe0f\u20e3" * 15, "[card number]"),
    "other dashes": ("4111‐1111–1111—1111", "[card number]"),
    "letters for digits": ("4lll-llll-1111-1111".replace("l", "1", 3) + "", "[card number]"),
    "an o and an l": ("5l05 lO51 0510 51O0", "[card number]"),
    "letters around": (f"x{CARD}y", "x[card number]y"),
    "american express": ("378282246310005", "[card number]"),
    "diners": ("3056 930902 5904", "[card number]"),
    "nineteen": ("6011000990139424000", "6011000990139424000"),
    "a year before": ("2026 4111 1111 1111 1111", "2026 [card number]"),
    "expiry and code behind": ("4111 1111 1111 1111 12/27 123", "[card number] 12/27 123"),
    "two": (f"{CARD} and 5500005555555559", "[card number] and [card number]"),
    "two in one run": ("4111 1111 1111 1111 5500 0055 5555 5559", "[card number] [card number]"),
    "a digit before": ("1 4 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1", "1 [card number]"),
    "a wrong check digit": ("4111111111111112", "4111111111111112"),
    "a time in milliseconds": ("1700000000004", "1700000000004"),
    "a decimal number": ("3.141592653589793", "3.141592653589793"),
    "too short": ("4111 1111 11", "4111 1111 11"),
    "zeros": ("0000000000000000", "0000000000000000"),
}


@pytest.mark.parametrize(("text", "expected"), CARDS.values(), ids=CARDS)
def test_card_numbers(text: str, expected: str) -> None:
    assert of("card-number", text) == expected


IBANS = {
    "plain": (f"to {IBAN}.", "to [iban]."),
    "in fours": ("DE89 3704 0044 0532 0130 00 please pay", "[iban] please pay"),
    "small": ("de89 3704 0044 0532 0130 00", "[iban]"),
    "with dashes": ("DE89-3704-0044-0532-0130-00", "[iban]"),
    "invisible characters": ("DE89\u200b3704\u200b0044\u200b0532\u200b0130\u200b00", "[iban]"),
    "look-alike letters": ("ВЕ68 5390 0754 7034", "[iban]"),
    "full width": ("ＤＥ８９３７０４００４４０５３２０１３０００", "[iban]"),
    "letters behind": (f"{IBAN}XYZ", "[iban]XYZ"),
    "letters before": (f"IBAN{IBAN}", "IBAN[iban]"),
    "letters in it": ("GB29 NWBK 6016 1331 9268 19", "[iban]"),
    "malta, 31": ("MT84MALT011000012345MTLCAST001S", "[iban]"),
    "norway, 15": ("NO93 8601 1117 947", "[iban]"),
    "two": (f"{IBAN} GB29NWBK60161331926819", "[iban] [iban]"),
    "a wrong check digit": ("DE88370400440532013000", "DE88370400440532013000"),
    "another country's length": ("FR89370400440532013000", "FR89370400440532013000"),
    "prose": (
        "in 2026 we have 12 mails and an EU27 meeting at 10",
        "in 2026 we have 12 mails and an EU27 meeting at 10",
    ),
}


@pytest.mark.parametrize(("text", "expected"), IBANS.values(), ids=IBANS)
def test_ibans(text: str, expected: str) -> None:
    assert of("iban", text) == expected


EMAILS = {
    "plain": ("write to ann.lee+x@mail.example.com!", "write to [email]!"),
    "named": ("Ann <ann@example.com>, Bob <bob@example.com>", "Ann <[email]>, Bob <[email]>"),
    "in a query": ("?to=ann@example.com&x=1", "?to=[email]&x=1"),
    "full width": ("ann＠example．com", "[email]"),
    "invisible characters": ("ann\u200b@exam\u00adple.com", "[email]"),
    "look-alike letters": ("аnn@exаmple.com", "[email]"),
    "international": ("anna@bücher.example", "[email]"),
    "punycode": ("a@xn--bcher-kva.example", "[email]"),
    "no host": ("ann@home and @ann", "ann@home and @ann"),
    "at twice": ("a@@b.example", "a@@b.example"),
}


@pytest.mark.parametrize(("text", "expected"), EMAILS.values(), ids=EMAILS)
def test_emails(text: str, expected: str) -> None:
    assert of("email", text) == expected


PHONES = {
    "international": ("call +49 30 901820 now", None, "call [phone] now"),
    "brackets": ("+49 (0) 30 / 901820", None, "[phone]"),
    "american": ("+1 (202) 456-1414.", None, "[phone]."),
    "full width": ("＋４９ ３０ ９０１８２０", None, "[phone]"),
    "invisible characters": ("+4\u200b9 30 9018\u200b20", None, "[phone]"),
    "digits behind": ("+49 30 901820, 2026", None, "[phone], 2026"),
    "national without region": ("call 030 901820", None, "call 030 901820"),
    "national": ("call 030 901820", "DE", "call [phone]"),
    "national elsewhere": ("call (202) 456-1414", "US", "call [phone]"),
    "both": ("030 901820 or +1 202 456 1414", "DE", "[phone] or [phone]"),
    "no number": ("+1 and +2 make +3", "DE", "+1 and +2 make +3"),
}


@pytest.mark.parametrize(("text", "region", "expected"), PHONES.values(), ids=PHONES)
def test_phones(text: str, region: str | None, expected: str) -> None:
    assert of("phone", text, region) == expected


GITHUB = "ghp_" + "a1B2" * 9
SECRETS = {
    "aws": ("key AKIAIOSFODNN7EXAMPLE ok", "key [secret] ok"),
    "github": (f"use {GITHUB}", "use [secret]"),
    "slack": ("xoxb-" + "1234567890-abcdef", "[secret]"),
    "stripe": ("sk_" + "live_4eC39HqLyjWDarjtT1zdp7dc", "[secret]"),
    "a model's": ("sk-ant-api03-abcdefghijklmnopqrst", "[secret]"),
    "ours": ("cp_abcdefghijklmnopqrstuvwx", "[secret]"),
    "a token of claims": ("eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.abc-_1", "[secret]"),
    "invisible characters": ("AKIA\u200bIOSFODNN7EXAMPLE", "[secret]"),
    "a private key": (
        "-----BEGIN RSA PRIVATE KEY-----\nMIIE\n-----END RSA PRIVATE KEY-----\nbye",
        "[secret]\nbye",
    ),
    "a private key without end": ("see -----BEGIN PRIVATE KEY-----\nMIIE", "see [secret]"),
    "a password": ("password=hunter2x", "password=[secret]"),
    "in quotes": ('DB_PASSWORD = "a b c", next', 'DB_PASSWORD = "[secret]", next'),
    "json": ('{"api_key": "abcd", "x": 1}', '{"api_key": "[secret]", "x": 1}'),
    "yaml": ("clientSecret: s3cr3t!\nname: x", "clientSecret: [secret]\nname: x"),
    "bearer": ("Authorization: Bearer abcdefghijklmnop1234", "Authorization: Bearer [secret]"),
    "a token": ("token: Bearer abcdefghijklmnop1234", "token: Bearer [secret]"),
    "in a url": ("https://ann:hunter2@db.example/x", "https://ann:[secret]@db.example/x"),
    "prose": (
        "the password policy is strict; a secret is kept",
        "the password policy is strict; a secret is kept",
    ),
}


@pytest.mark.parametrize(("text", "expected"), SECRETS.values(), ids=SECRETS)
def test_secrets(text: str, expected: str) -> None:
    assert of("secret", text) == expected


def test_kinds_are_told_apart_and_counted() -> None:
    text = f"{CARD} {IBAN} ann@example.com +49 30 901820 {GITHUB}"
    found, counts = redacted(text, KINDS, None, Effort())
    assert found == "[card number] [iban] [email] [phone] [secret]"
    assert counts == dict.fromkeys(KINDS, 1)


def test_what_is_two_kinds_at_once_is_replaced_once() -> None:
    found, counts = redacted(f"password={CARD}", KINDS, None, Effort())
    assert found == "password=[card number]"
    assert sum(counts.values()) == 1
    assert "hunter2" not in redacted("https://ann:hunter2@db.example/x", KINDS, None, Effort())[0]


def test_numbers_names_and_what_is_below_are_redacted() -> None:
    operation = Redact(at="/a", kinds=("card-number", "secret"))
    before = {
        "a": [int(CARD), {CARD: 1, "n": float(CARD), "password": "x", "token": 7, "secret": None, "pwd": ""}],
        "b": CARD,
    }
    found = apply(before, (operation,))
    assert isinstance(found, Applied)
    assert found.arguments == {
        "a": [
            "[card number]",
            {
                "[card number]": 1,
                "n": "[card number]",
                "password": "[secret]",
                "token": "[secret]",
                "secret": None,
                "pwd": "",
            },
        ],
        "b": CARD,
    }
    assert {change.operation: change.times for change in found.changes} == {
        "redact card-number": 3,
        "redact secret": 2,
    }
    assert apply(found.arguments, (operation,)) == Applied(found.arguments, ())


def test_a_secret_is_told_by_its_name_in_a_list_and_where_the_rule_points_at_it() -> None:
    operation = Redact(at="/b", kinds=("secret",))
    found = apply({"b": {"password": ["hunter2", ["x", {"note": "y"}], None]}}, (operation,))
    assert isinstance(found, Applied)
    assert found.arguments == {"b": {"password": ["[secret]", ["[secret]", {"note": "y"}], None]}}
    assert apply(found.arguments, (operation,)) == Applied(found.arguments, ())
    pointed = apply({"login": {"password": "hunter2"}}, (Redact(at="/login/password", kinds=("secret",)),))
    assert isinstance(pointed, Applied)
    assert pointed.arguments == {"login": {"password": "[secret]"}}


def test_what_would_take_too_long_to_look_through_is_refused() -> None:
    text = "+1 202 456 1414 " * 2_500
    with pytest.raises(TooMuchError):
        redacted(text, ("phone",), None, Effort())
    refused = apply({"a": text}, read([{"at": "/a", "redact": ["phone"]}]))
    assert refused == ("/a", "redact", "there is too much in it to look through")


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    "piece",
    [
        "1 ",
        "4 ",
        "41",
        "+1 ",
        "a@",
        "@",
        "a.b@c.d",
        "eyJ",
        "eyJ.",
        "DE8",
        "password=",
        "://a:",
        "-----BEGIN ",
        "l0",
        "é1 ",
    ],
)
def test_a_hostile_text_is_looked_through_or_refused(kind: str, piece: str) -> None:
    text = piece * (20_000 // len(piece))
    found = apply({"a": text}, read([{"at": "/a", "redact": [kind]}]))
    if isinstance(found, Applied):
        assert apply(found.arguments, read([{"at": "/a", "redact": [kind]}])) == (found.arguments, ())
