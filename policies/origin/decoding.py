"""What a text says when what is encoded in it is read: a value in disguise is the same value."""

from __future__ import annotations

import base64
import binascii
import html
import re
from typing import Final
from urllib.parse import unquote

_MAX_DECODED: Final = 4_096
_BASE64: Final = re.compile(r"[A-Za-z0-9+/_-]{11,}={0,2}")
_HEX: Final = re.compile(r"(?:0x)?((?:[0-9a-fA-F]{2}){8,})")
_ESCAPED: Final = re.compile(r"%[0-9A-Fa-f]{2}|&(?:#[0-9]|#x|[A-Za-z])|\\[ux][0-9A-Fa-f]{2}")
_BACKSLASHED: Final = re.compile(r"\\u([0-9A-Fa-f]{4})|\\x([0-9A-Fa-f]{2})")


def decoded(text: str) -> str:
    """Base64, hexadecimal, percent-encoding, character references and backslash escapes, read; "" where there is none.

    Reads the first few kB of what is encoded. Cost: a scan for what is not.
    """
    found: list[str] = []
    size = 0
    for chunk in dict.fromkeys(text.split()) if len(text) > 10 else ():
        if len(chunk) < 11 or size > 4 * _MAX_DECODED:
            continue
        for match in _BASE64.finditer(chunk):
            size += len(match[0])
            found.append(_unbase64(match[0]))
        for match in _HEX.finditer(chunk):
            found.append(_printable(bytes.fromhex(match[1][: 2 * _MAX_DECODED])))
    if _ESCAPED.search(text):
        part = text[: 4 * _MAX_DECODED]
        read = html.unescape(unquote(part))
        read = _BACKSLASHED.sub(lambda one: chr(int(one[1] or one[2], 16)), read)
        if read != part:
            found.append(read)
    return "\n".join(filter(None, found))


def _unbase64(text: str) -> str:
    bare = text.rstrip("=").replace("-", "+").replace("_", "/")
    if len(bare) % 4 == 1 or bare.isdigit() or (bare.isalpha() and (bare.islower() or bare.istitle())):
        return ""
    try:
        return _printable(base64.b64decode(bare + "=" * (-len(bare) % 4), validate=True)[:_MAX_DECODED])
    except (binascii.Error, ValueError):
        return ""


def _printable(raw: bytes) -> str:
    try:
        text = raw.decode()
    except UnicodeDecodeError:
        return ""
    return text if len(text) >= 4 and all(one.isprintable() or one.isspace() for one in text) else ""
