"""What one stretch of text without white space says: words, and names in the one form that they have.

A form is a plain word, or starts with what it is:

    m: e-mail address | u: URL, host or file name | a: account (letters and digits) | n: number | d: date | t: time
    i: any other identifier (user_42, /home/ann/x)
    w: one of the four above as it is written, beside it, where that is not ASCII: what looks like it is another

Everything is folded before (`policies.origin.folding`). Dates whose day and month could be either stay as written.
"""

from __future__ import annotations

import re
from functools import lru_cache
from string import ascii_lowercase
from typing import Final, NamedTuple
from urllib.parse import unquote

from policies.canonical_values import canonical
from policies.origin.folding import fold, unfolded

WRITTEN: Final = "w:"
_IDENTIFYING: Final = ("m:", "u:", "a:", "i:")
STRONG: Final = ("m:", "u:", "a:")  # names that say where something goes, whatever words stand around them
_MOST_REMEMBERED: Final = 16_384  # chunks; some 5 MB
_LONGEST_REMEMBERED: Final = 64
FEWEST_DIGITS: Final = 5  # a number with fewer is a name only after a cue
_FEWEST_IDENTIFYING: Final = 6  # letters and digits together
_UNSPACED: Final = re.compile(
    "([\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff])"
)
_DIGIT: Final = re.compile(r"\d")
AROUND: Final = ".,:;!?'\"`()[]{}<>*_-/\\#@$€£¥%|=&+~^…“”„«»•·"
_URL: Final = re.compile(r"(?:[a-z][a-z0-9+.-]{1,15}://|www\.)[^\s<>\"`|^{}\\]+")
_BETWEEN: Final = re.compile(
    r"[\s<>()\[\]{}\"`|;*=!?&^~…“”„«»•·$€£¥]+|,(?!\d{3}(?!\d))|(?<!\d),|(?<=\D):|(?<=[0-9]):(?![0-9]{2})"
)
_MAIL: Final = re.compile(r"[^@\s/]+@(?:[^@\s./]+\.)+(?:[^\W\d_]{2,}|xn--[\w-]+)")
_HOST: Final = re.compile(r"(?:[\w-]+\.)+[^\W\d_]{2,}(?::\d+)?(?:[/?#].*)?")
_ADDRESS_OF_HOST: Final = re.compile(r"\d{1,3}(?:\.\d{1,3}){3}(?::\d+)?(?:[/?#].*)?")
_PLAIN_HOST: Final = re.compile(r"(?!xn--)(?:[\w-]+\.(?!xn--))+\w+")
# Its own canonical form: no port, user, escape, capital, Punycode or dot segment.
_PLAIN_URL: Final = re.compile(
    r"https?://(?:www\.)?(((?!xn--|www\.)[a-z0-9-]+(?:\.(?!xn--)[a-z0-9-]+)+)(?:/[a-z0-9_~-][a-z0-9._~-]*)*(?:/|\?[a-z0-9._~=&-]*)?)"
)
_DATE: Final = re.compile(r"(\d{1,4})([-/.])(\d{1,2})\2(\d{1,4})(?:[t_](\d.*))?")
_TIME: Final = re.compile(r"(\d{1,2})(?::(\d{2})(?::(\d{2})(?:\.\d+)?)?)?([ap]\.?m)?(z|[+-]\d{2}:?\d{2})?")
_NUMBER: Final = re.compile(r"\d+(?:\.\d+)?|\d{1,3}(?:,\d{3})+(?:\.\d+)?|\d+,\d+")
_ORDINAL: Final = re.compile(r"(\d{1,2})(?:st|nd|rd|th)")
_AROUND_GROUPS: Final = ".,:;!?'\"[]<>*"
_BEFORE_GROUPS: Final = re.compile(r"[^\W\d_]+[:=#]+")  # IBAN:GB29
_GROUP: Final = re.compile(r"[(+]*[^\W_]{1,34}(?:[-()+]+[^\W_]{1,34})*\)?")
_GROUPS: Final = re.compile(r"[a-z0-9]+(?:[-()+]+[a-z0-9]+)*")
_GROUP_ENDS: Final = re.compile(r"[-()+]+")
_IBAN: Final = re.compile(r"[a-z]{2}\d{2}[a-z0-9]*")
_IBAN_CHARACTERS: Final = range(15, 35)
_IBAN_DIGITS: Final = {ord(letter): str(int(letter, 36)) for letter in ascii_lowercase}
_IBAN_IN_GROUPS: Final = re.compile(r"[a-z]{2}[-._/]?\d[-._/]?\d[-._/a-z0-9]{11,64}")
_BETWEEN_GROUPS: Final = re.compile(r"[-._/]+")
_MARKED: Final = re.compile(r"[_./\\@]")


class Spelled(NamedTuple):
    """What a stretch says.

    Attributes:
        words: in their order.
        beside: what is said beside them (a URL's host, a number after `#`).
        names: all that are names, of the words and beside them.
        small: the words that are small numbers.
    """

    words: tuple[str, ...]
    beside: tuple[str, ...]
    names: tuple[str, ...]
    small: tuple[str, ...]


def spell(chunk: str) -> Spelled:
    """Cost: 2 µs for a word, 3 to 10 µs for anything else; 0.1 µs for what was spelled lately, as most values of
    arguments stood in a result or in the task a moment ago."""
    return _spelled_lately(chunk) if len(chunk) <= _LONGEST_REMEMBERED else _spelled(chunk)


def _spelled(chunk: str) -> Spelled:
    words, beside = _said(chunk)
    if not chunk.isascii():
        beside = (*beside, *_written(chunk, words))
    if len(words) == 1 and not beside:  # nearly all
        return Spelled(words, (), words if is_name(words[0]) else (), words if is_small(words[0]) else ())
    return Spelled(
        words, beside, (*filter(is_name, words), *beside), tuple(word for word in words if is_small(word))
    )


_spelled_lately = lru_cache(maxsize=_MOST_REMEMBERED)(_spelled)


def _written(chunk: str, words: tuple[str, ...]) -> list[str]:
    if not any(word[:2] in _IDENTIFYING for word in words):
        return []
    pieces = [piece.strip(AROUND).removeprefix("www.") for piece in _BETWEEN.split(unfolded(chunk))]
    return [f"{WRITTEN}{piece}" for piece in pieces if piece and not piece.isascii()]


def _said(chunk: str) -> tuple[tuple[str, ...], tuple[str, ...]]:
    bare = chunk.strip(AROUND)
    if bare.isascii() and bare.isalnum() and "#" not in chunk:
        return (_of_alphanumeric(bare.lower()),), ()
    if bare.isascii() and bare[:1].isdigit() and "#" not in chunk and (found := _digits_first(bare.lower())):
        return tuple(found), ()
    words: list[str] = []
    beside: list[str] = []
    _spell(fold(chunk), words, beside)
    return tuple(words), tuple(beside)


def group_of(chunk: str) -> str:
    """The chunk, folded, if it could be a group of an account or number that is written in groups; else ""."""
    if not _DIGIT.search(chunk) and chunk.isascii():
        return ""
    group = bare_group(chunk)
    return group if _GROUP.fullmatch(group) and any(map(str.isdigit, group)) else ""


def bare_group(chunk: str) -> str:
    """What may be a group of an account, folded, without what stands around and before it."""
    bare = fold(chunk).strip(_AROUND_GROUPS)
    before = _BEFORE_GROUPS.match(bare)
    return bare if before is None else bare[before.end() :].lstrip(_AROUND_GROUPS)


def forget() -> None:
    """What was spelled lately is spelled anew: for whoever measures."""
    _spelled_lately.cache_clear()


def is_name(form: str) -> bool:
    return form[1:2] == ":"


def is_small(form: str) -> bool:
    """Whether it is a number that is no name where no cue stands before it."""
    return form[:1].isdigit() and form.replace(".", "", 1).isdigit()


def joined(groups: list[str]) -> str | None:
    """The name that groups of letters and digits make together, each of which has a digit; None: they make none."""
    together = "".join(groups)
    if len(together) < 7 or not together.isalnum():
        return None
    if together.isdigit():
        return f"n:{together}"
    return f"a:{together}" if len(_DIGIT.findall(together)) >= FEWEST_DIGITS else None


def is_iban(text: str) -> bool:
    """Whether a folded text without separators is an IBAN, by its check digits."""
    if len(text) not in _IBAN_CHARACTERS or not text.isascii() or not _IBAN.fullmatch(text):
        return False
    return int((text[4:] + text[:4]).translate(_IBAN_DIGITS)) % 97 == 1


def _of_alphanumeric(text: str) -> str:
    if text.isalpha():
        return text
    if text.isdigit():
        return f"n:{text}" if len(text) >= FEWEST_DIGITS else text
    if text[0].isdigit() and (found := _digits_first(text)):
        return found[0]
    return joined([text]) or (f"i:{text}" if len(text) >= _FEWEST_IDENTIFYING else text)


def _spell(text: str, words: list[str], beside: list[str]) -> None:
    if "mailto:" in text:
        text = text.replace("mailto:", " ")
    place = 0
    if "/" in text or "www." in text:
        for url in _URL.finditer(text):
            _spell_pieces(text[place : url.start()], words, beside)
            rest = _add_url(url[0], words, beside)
            if rest:  # of the URL, without the last bracket: shorter each time, and at most two such times
                _spell(rest, words, beside)
            place = url.end()
    _spell_pieces(text[place:], words, beside)


def _spell_pieces(text: str, words: list[str], beside: list[str]) -> None:
    for piece in _BETWEEN.split(text):
        bare = piece.strip(AROUND)
        if not bare:
            continue
        if bare.isalpha():
            # Where words are not set apart, each letter is one, so that a phrase is found inside a sentence.
            if bare.isascii() or not _UNSPACED.search(bare):
                words.append(bare)
            else:
                words += [part for part in _UNSPACED.split(bare) if part]
            continue
        before = len(words)
        _classify(bare, words, beside)
        if "#" in piece and piece.lstrip("'\"").startswith("#"):
            beside += [f"n:{word}" for word in words[before:] if is_small(word)]


def _add_url(url: str, words: list[str], beside: list[str]) -> str:
    """Add a URL; what follows it is returned, where it ended at a bracket that it had not opened."""
    rest = ""
    for opening, closing in ("()", "[]"):
        if closing in url and url.count(closing) > url.count(opening):
            place = url.rindex(closing)
            url, rest = url[:place], url[place + 1 :] + " " + rest
    bare = url.rstrip(".,:;!?'\"*_-…")
    if (plain := _PLAIN_URL.fullmatch(bare)) is not None:
        address, host = plain[1].rstrip("/?"), plain[2]
        words.append(f"u:{address}")
        if host != address:
            beside.append(f"u:{host}")
        return rest
    scheme, found, address = bare.partition("://")
    address = address if found else scheme
    if scheme == "data":
        return rest
    whole = (canonical(f"https://{address}", "url") or b"")[1:].decode("utf-8", "replace")
    address = fold(unquote(whole.partition("://")[2])).removeprefix("www.").rstrip("/?#")
    if not address:
        return rest
    words.append(f"u:{address}")
    host = re.split(r"[/?#]", address, maxsplit=1)[0]
    for part in {host, host.rpartition("@")[2], host.rpartition("@")[2].partition(":")[0]} - {address, ""}:
        beside.append(f"u:{part}")
    return rest


def _classify(bare: str, words: list[str], beside: list[str]) -> None:
    if "@" in bare and _MAIL.fullmatch(bare):
        # Folded as it is, only a host in Punycode has another canonical form.
        puny = "xn--" in bare
        words.append("m:" + (fold((canonical(bare, "email") or b"")[1:].decode()) if puny else bare))
    elif "." in bare and (_HOST.fullmatch(bare) or _ADDRESS_OF_HOST.fullmatch(bare)):
        if _PLAIN_HOST.fullmatch(bare):
            words.append(f"u:{bare.removeprefix('www.')}")
        else:
            _add_url(bare, words, beside)
    elif bare[0].isdigit() and (found := _digits_first(bare)):
        words += found
    elif bare.endswith("'s") and bare[:-2].isalpha():
        words.append(bare[:-2])
    elif _IBAN_IN_GROUPS.fullmatch(bare) and is_iban(iban := _BETWEEN_GROUPS.sub("", bare)):
        words.append(f"a:{iban}")
    elif _GROUPS.fullmatch(bare) and (name := _account(bare)):
        words.append(name)
    elif bare.count("/") == 1 and bare.replace("/", "").isalpha():  # and/or
        words += bare.split("/")
    elif _MARKED.search(bare) or (len(bare) >= _FEWEST_IDENTIFYING and _DIGIT.search(bare)):
        words.append(f"i:{bare}")
    else:
        words.append(bare)


def _digits_first(bare: str) -> list[str]:
    """A number, date or time; empty for what is none of them."""
    if _NUMBER.fullmatch(bare):
        return [_number(bare)]
    if (ordinal := _ORDINAL.fullmatch(bare)) is not None:
        return [ordinal[1]]
    if (date := _DATE.fullmatch(bare)) is not None and (day := _date(date[1], date[3], date[4])):
        time = date[5]
        return [day, *([t] if time and (t := _time(time)) else [])]
    return [time] if (time := _time(bare)) else []


def _number(text: str) -> str:
    if "," in text:
        whole, _, rest = text.rpartition(",")
        thousands = "." in rest or len(rest) == 3
        text = text.replace(",", "") if thousands else f"{whole}.{rest}"
    if "." in text:
        text = text.rstrip("0").rstrip(".")
    return f"n:{text}" if sum(map(str.isdigit, text)) >= FEWEST_DIGITS else text


def _date(first: str, second: str, third: str) -> str:
    """`d:` and year-month-day; as written where day and month could be either; "" for what is no date."""
    if len(first) == 4 and len(third) <= 2:
        year, month, day = first, second, third
    elif len(third) == 4 and len(first) <= 2:
        year, month, day = third, second, first
        if int(month) > 12:
            month, day = day, month
        elif int(day) <= 12 and day != month:
            return f"d:{int(first)}/{int(second)}/{third}"
    else:
        return ""
    return f"d:{year}-{int(month):02}-{int(day):02}" if 1 <= int(month) <= 12 and 1 <= int(day) <= 31 else ""


def _time(text: str) -> str:
    found = _TIME.fullmatch(text)
    if found is None or not (found[2] or found[4]) or int(found[1]) > 24:
        return ""
    hour = int(found[1])
    if found[4]:
        hour = hour % 12 + (12 if found[4][0] == "p" else 0)
    seconds = f":{found[3]}" if found[3] and found[3] != "00" else ""
    return f"t:{hour:02}:{found[2] or '00'}{seconds}"


def _account(bare: str) -> str | None:
    groups = _GROUP_ENDS.split(bare)
    return joined(groups) if all(any(map(str.isdigit, group)) for group in groups) else None
