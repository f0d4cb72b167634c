"""From texts to tokens: what in a text can be a value that an action is carried out with.

E-mail addresses, addresses of the web and their hosts, account and telephone numbers, dates, names of files and other
names are one token each, however they are written. All else is words.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import pairwise
from typing import Final, NamedTuple

from policies.origin.folding import fold

MAX_WHOLE: Final = 256
"""Characters of a text that is also known as a whole."""

_ENDS: Final = ".,;:!?)]}>\"'`*([{<|\\=~"
_EMAIL: Final = re.compile(r"[a-z0-9._%+'-]{1,64}@[a-z0-9-]{1,63}(?:\.[a-z0-9-]{1,63})+")
_ADDRESS: Final = re.compile(
    r"(?:[a-z][a-z0-9+.-]{1,15}://|www\.)[^\s<>\"'`|\\^{}]+"
    # A host without a scheme has a dot, and a last label of letters.
    r"|(?<![\w@.-])(?:[a-z0-9][a-z0-9-]{0,62}\.)+[a-z]{2,24}(?::[0-9]{1,5})?(?:[/?#][^\s<>\"'`|\\^{}]*)?(?![\w@-])"
)
_DATE: Final = re.compile(r"(?<![0-9-])[0-9]{4}-[0-9]{2}-[0-9]{2}(?![0-9-])")
# Begins at a digit, which few texts have many of; letters before it are looked for afterwards.
_GROUPS: Final = re.compile(r"[0-9][a-z0-9]*(?:[ ./()-]{1,2}[a-z0-9]*[0-9][a-z0-9]*)*")
_SEPARATOR: Final = re.compile(r"[^a-z0-9]+")
_SHORT: Final = re.compile(r"(?<![\w.,])#?([0-9]{1,4})(?![\w]|[.,][0-9])")
# Without a word before it that says what it is, a number of fewer than five digits is none that anything goes by.
_CUE: Final = re.compile(r"(?:#|\b(?:id|ids|no|nr|num|number|numbers|code|codes|pin)[\s_:=.#'\"-]{0,4})$")
_CUE_REACH: Final = 16
_WORD: Final = re.compile(r"[^\W_]+(?:['’][^\W_]+)*")
_FILE_ENDINGS: Final = frozenset(
    {
        "txt", "md", "pdf", "doc", "docx", "odt", "rtf", "xls", "xlsx", "csv", "tsv", "ppt", "pptx", "json", "yaml",
        "yml", "xml", "html", "htm", "zip", "gz", "tar", "png", "jpg", "jpeg", "gif", "svg", "eml", "ics", "log", "sql",
        "sh", "bat", "exe", "js", "ts", "py", "java", "c", "h", "cpp", "rs", "go", "rb", "php",
    }
)  # fmt: skip


class Tokens(NamedTuple):
    """What is in one text.

    Attributes:
        typed: addresses, numbers, dates and names, each in one form.
        words: each once.
        pairs: of adjacent words.
        whole: the whole text, if it is short enough; "" otherwise.
    """

    typed: tuple[str, ...]
    words: tuple[str, ...]
    pairs: tuple[str, ...]
    whole: str


def tokens_of(text: str, *, pairs: bool = True) -> Tokens:
    """Cost: about 30 ns a character, a third more with pairs."""
    folded = fold(text)
    typed: dict[str, None] = {}
    words: dict[str, None] = {}
    for chunk in dict.fromkeys(folded.split()):
        if chunk.isalpha():
            words[chunk] = None
            continue
        bare = chunk.strip(_ENDS)
        if bare.isalpha():
            words[bare] = None
            continue
        words.update(dict.fromkeys(_WORD.findall(bare)))
        typed.update(dict.fromkeys(_of_chunk(bare)))
    typed.update(dict.fromkeys(_numbers(folded)))
    in_order = _WORD.findall(folded) if pairs else ()
    return Tokens(
        tuple(typed),
        tuple([f"x:{word}" for word in words]),
        tuple(dict.fromkeys([f"p:{one} {other}" for one, other in pairwise(in_order)])),
        whole_of(folded),
    )


def whole_of(folded: str) -> str:
    """The token of a folded text as a whole, or ""."""
    if len(folded) > 2 * MAX_WHOLE:
        return ""
    bare = " ".join(folded.split()).strip(_ENDS + " ")
    return "w:" + bare if bare and len(bare) <= MAX_WHOLE else ""


def number_token(value: int | float) -> str:
    """A JSON number as a whole."""
    return f"w:{int(value) if isinstance(value, float) and value.is_integer() else value}"


def host_of(token: str) -> str:
    """The token of the host of an address of the web, or ""."""
    return "h:" + _SLASH.split(token[2:], maxsplit=1)[0].rpartition("@")[2] if token.startswith("u:") else ""


_SLASH: Final = re.compile(r"[/?#]")


def is_one(tokens: Tokens) -> str:
    """The typed token that a text is as a whole, or ""."""
    bare = tokens.whole[2:]
    for token in tokens.typed:
        text = token[2:]
        if text == bare or (token[0] == "a" and text == _SEPARATOR.sub("", bare)):
            return token
        if token[0] == "u" and bare.partition("://")[2].removeprefix("www.").rstrip("/") == text:
            return token
        if token[0] == "u" and bare.removeprefix("www.").rstrip("/") == text:
            return token
    return ""


def _of_chunk(bare: str) -> Iterator[str]:
    """The typed tokens of what stands between two spaces; numbers are found elsewhere."""
    rest = bare
    if "@" in bare:
        for email in _EMAIL.findall(bare):
            yield "e:" + email.strip(".'-")
        rest = _EMAIL.sub(" ", bare)
    if "." in rest or "://" in rest:
        for address in _ADDRESS.findall(rest):
            host = _SLASH.split(address, maxsplit=1)[0]
            is_file = host == address.rstrip(_ENDS) and host.rpartition(".")[2] in _FILE_ENDINGS
            if "://" in address or not is_file:
                yield from _address(address)
    if "-" in rest:
        for date in _DATE.findall(rest):
            yield "d:" + date
    if not rest.isdigit() and len(rest) <= MAX_WHOLE and "://" not in rest and " " not in rest:
        # A name: of a file, a channel, an account.
        yield "w:" + rest
        if "/" in rest.strip("/"):
            yield "w:" + rest.strip("/").rpartition("/")[2]


def _address(text: str) -> Iterator[str]:
    bare = text.rstrip(_ENDS)
    bare = (bare.partition("://")[2] or bare).removeprefix("www.").rstrip("/")
    if bare:
        token = "u:" + bare
        yield token
        yield host_of(token)


def _numbers(folded: str) -> Iterator[str]:
    for match in _GROUPS.finditer(folded):
        text = match[0]
        if len(text) < 5:
            continue
        start = match.start()
        while start and match.start() - start < 8 and folded[start - 1].isalpha():
            start -= 1
        yield from _account(folded[start : match.end()])
    for match in _SHORT.finditer(folded):
        before = folded[max(0, match.start() - _CUE_REACH) : match.start()]
        if match[0][0] == "#" or _CUE.search(before):
            yield "w:" + match[1]


def _account(text: str) -> Iterator[str]:
    """One number, if its groups are long enough together; groups join only if each has a digit."""
    groups = _SEPARATOR.split(text)
    joined = "".join(groups)
    if len(joined) <= 40 and sum(map(str.isdigit, joined)) >= 5:
        yield "a:" + joined
    if len(groups) > 1:
        yield from ("a:" + one for one in groups if len(one) <= 40 and sum(map(str.isdigit, one)) >= 5)
