"""A workflow's origins as bytes: small, and sealed, so that nobody sees which workflows met the same value.

    version (1) | tag (16) | sealed: flags (1) | source of what was cut (1) | sources | awaited | names | words | pairs

each a count (2) and its entries: sources and awaited 16 bytes, names 8 + 2, words and pairs 4 + 2. The tag is a keyed
digest of the plain bytes, and what the stream that covers them starts from: equal states give equal bytes, different
ones never the same stream.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass, field
from hashlib import blake2b, shake_256
from hmac import compare_digest
from typing import Final

from controlplane.errors import GovernanceError
from policies.origin.known import Known

_VERSION: Final = 1
_TAG_BYTES: Final = 16
_SOURCE_BYTES: Final = 16


class GarbledOrigins(GovernanceError):
    """The bytes are no origins of this workflow."""

    code = "garbled_origins"


@dataclass(slots=True, kw_only=True)
class Remembered:
    """What `Origins` keeps. `sources`: source → its number, from 1; `awaited`: an ordered set."""

    flags: int = 0
    cut_source: int = 0
    sources: dict[int, int] = field(default_factory=dict)
    awaited: dict[int, None] = field(default_factory=dict)
    names: Known = field(default_factory=Known)
    words: Known = field(default_factory=Known)
    pairs: Known = field(default_factory=Known)


def encode(state: Remembered, key: bytes) -> bytes:
    parts = [bytes((state.flags, state.cut_source))]
    for several in (state.sources, state.awaited):
        parts.append(len(several).to_bytes(2, "little"))
        parts += [source.to_bytes(_SOURCE_BYTES, "little") for source in several]
    for code, known in (("Q", state.names), ("I", state.words), ("I", state.pairs)):
        count = len(known.of)
        parts.append(struct.pack(f"<H{count}{code}", count, *known.of))
        parts.append(struct.pack(f"<{count}H", *known.of.values()))
    return sealed(b"".join(parts), key)


def decode(data: bytes, key: bytes) -> Remembered:
    """Raises: GarbledOrigins."""
    plain = opened(data, key)
    state = Remembered(flags=plain[0], cut_source=plain[1])
    sources, place = _sources(plain, 2)
    awaited, place = _sources(plain, place)
    state.sources = {source: number for number, source in enumerate(sources, start=1)}
    state.awaited = dict.fromkeys(awaited)
    for code, size, known in (("Q", 8, state.names), ("I", 4, state.words), ("I", 4, state.pairs)):
        (count,) = struct.unpack_from("<H", plain, place)
        digests = struct.unpack_from(f"<{count}{code}", plain, place + 2)
        place += 2 + count * size
        known.of = dict(zip(digests, struct.unpack_from(f"<{count}H", plain, place), strict=True))
        place += count * 2
    return state


def sealed(plain: bytes, key: bytes) -> bytes:
    """Bytes that show nothing without the workflow's key. Cost: about 5 µs, and 5 ns a byte."""
    tag = _tag(plain, key)
    return bytes((_VERSION,)) + tag + _covered(plain, tag, key)


def opened(data: bytes, key: bytes) -> bytes:
    """What `sealed` was given. Raises: GarbledOrigins: not with this key, or something was changed."""
    if data[:1] != bytes((_VERSION,)):
        raise GarbledOrigins(f"origins of version {data[0] if data else None}, expected {_VERSION}")
    tag = data[1 : 1 + _TAG_BYTES]
    plain = _covered(data[1 + _TAG_BYTES :], tag, key)
    if not compare_digest(_tag(plain, key), tag):
        raise GarbledOrigins("the bytes are no origins of this workflow: the tag differs")
    return plain


def _sources(plain: bytes, place: int) -> tuple[list[int], int]:
    count = int.from_bytes(plain[place : place + 2], "little")
    place += 2
    end = place + count * _SOURCE_BYTES
    return [
        int.from_bytes(plain[at : at + _SOURCE_BYTES], "little") for at in range(place, end, _SOURCE_BYTES)
    ], end


def _tag(plain: bytes, key: bytes) -> bytes:
    return blake2b(plain, key=key, digest_size=_TAG_BYTES, person=b"origins tag").digest()


def _covered(data: bytes, tag: bytes, key: bytes) -> bytes:
    start = blake2b(tag, key=key, person=b"origins cover").digest()
    stream = shake_256(start).digest(len(data))
    return (int.from_bytes(data, "little") ^ int.from_bytes(stream, "little")).to_bytes(len(data), "little")
