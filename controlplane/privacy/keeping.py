"""The arguments as evidence keeps them: masked, but for what the catalog says is kept, digested or encrypted.

Each value that is not masked is an object with one mark: `{"$keep": value}`, `{"$digest": hex, "is": shape}` or
`{"$encrypt": {"key", "nonce", "text"}, "is": shape}`; `shape` is what masking would say of it. Names of the arguments
that begin with `$` get another `$` (see `controlplane.wire.digest.mask`), so that no caller can write a mark.
"""

from __future__ import annotations

import hmac
from collections.abc import Callable, Iterator, Mapping
from hashlib import blake2b
from typing import Any, Final, NamedTuple

import orjson

from controlplane.privacy.sealing import (
    NONCE_BYTES,
    DataKey,
    Sealed,
    Situation,
    from_json,
    seal,
    sealed_bytes,
    to_json,
)
from controlplane.wire.digest import (
    CONTAINER_BYTES,
    MASK_LIMIT_BYTES,
    canonical_json,
    mask,
    masked_value,
    own_bytes_of,
    shown_name,
)
from policies.action import Json
from policies.keeping import ITEMS, ArgumentKeeping, DataSubject, Keeping, Mode, Place, written

LIMIT_BYTES: Final = 16_384
"""Of a text in which something is kept."""
KEEP: Final = "$keep"
DIGEST: Final = "$digest"
ENCRYPT: Final = "$encrypt"
IS: Final = "is"

_SEALED_BYTES: Final = 160
"""Of a ciphertext's object, without the text and the shape."""


class Means(NamedTuple):
    """What values are digested and encrypted with.

    Args:
        digest_key: see `digest_key_of`.
        key_of: the data key of a subject; None = it cannot be had.
        random_bytes: for nonces.
    """

    digest_key: bytes
    key_of: Callable[[DataSubject], DataKey | None]
    random_bytes: Callable[[int], bytes]


def digest_key_of(key: bytes) -> bytes:
    """The key of the digests of single values, from the deployment's digest key."""
    return blake2b(key, person=b"cp evid values", digest_size=32).digest()


def value_digest(key: bytes, tenant: str, value: Json) -> str:
    """HMAC-SHA-256 of a tenant's value: equal values have equal digests, wherever they stand. Hexadecimal."""
    return hmac.digest(key, tenant.encode() + b"\0" + canonical_json(value), "sha256").hex()


def kept(
    arguments: Mapping[str, Json],
    keeping: ArgumentKeeping,
    situation: Situation,
    means: Means,
    *,
    clear: bool,
) -> str:
    """JSON text of the arguments as evidence keeps them; never longer than `LIMIT_BYTES`.

    What has no room, no data key, or is no single value where `keep` wants one, is masked.

    Args: clear: whether `keep` is obeyed; else it masks.
    Cost: that of `mask`, and 1 µs for each value that is kept, 3 µs digested, 8 µs encrypted.
    """
    writer = _Writer((situation, means), clear=clear)
    members, _ = writer.members(arguments, keeping.root, LIMIT_BYTES - CONTAINER_BYTES, ())
    return orjson.dumps(members).decode()


def masked(arguments: Mapping[str, Json], keeping: ArgumentKeeping | None) -> str:
    """`mask`, for rows and people for whom nothing is kept: of what is to be digested or encrypted, the names inside it
    are left out, too."""
    if keeping is None:
        return mask(arguments)
    members, _ = _Writer(None, clear=False).members(
        arguments, keeping.root, MASK_LIMIT_BYTES - CONTAINER_BYTES, ()
    )
    return orjson.dumps(members).decode()


class _Writer:
    """One text. Rooms are as in `masked_value`: the masked form of a value always has the room that it takes."""

    def __init__(self, means: tuple[Situation, Means] | None, *, clear: bool) -> None:
        """Args: means: None = everything is masked."""
        self._means = means
        self._clear = clear

    def members(
        self, value: Mapping[str, Json], place: Place, room_bytes: int, at: tuple[str | int, ...]
    ) -> tuple[dict[str, Any], int]:
        found: dict[str, Any] = {}
        for position, (key, child) in enumerate(value.items()):
            inner = None if key == ITEMS else place.steps.get(key)
            name, name_bytes = shown_name(key, position, found, cut=inner is None)
            room_left = room_bytes - name_bytes - 4 - own_bytes_of(child)
            if room_left < 0:
                found["…"] = f"{len(value) - position} more"
                break
            found[name], room_bytes = self._value(child, inner, room_left, (*at, key))
        return found, room_bytes

    def _items(
        self, value: list[Json], place: Place, room_bytes: int, at: tuple[str | int, ...]
    ) -> tuple[list[Any], int]:
        found: list[Any] = []
        for position, child in enumerate(value):
            room_left = room_bytes - 1 - own_bytes_of(child)
            if room_left < 0:
                found.append(f"… {len(value) - position} more")
                break
            item, room_bytes = self._value(child, place.items, room_left, (*at, position))
            found.append(item)
        return found, room_bytes

    def _value(
        self, value: Json, place: Place | None, room_bytes: int, at: tuple[str | int, ...]
    ) -> tuple[Any, int]:
        if place is None:
            return masked_value(value, room_bytes)
        if place.keeping is not None:
            room_left = room_bytes + own_bytes_of(value)
            form = self._form(value, place.keeping, room_left, at)
            if form is not None and len(form) <= room_left:
                return orjson.Fragment(form), room_left - len(form)
            # INVARIANT (never clear): what cannot be kept as it should be is masked; of what nobody was to read, the
            # names inside it are left out as well, as they are beside its digest or ciphertext.
            if place.keeping.mode in (Mode.DIGEST, Mode.ENCRYPT):
                return _shape(value), room_bytes
            return masked_value(value, room_bytes)
        if isinstance(value, dict):
            return self.members(value, place, room_bytes, at)
        if isinstance(value, list):
            return self._items(value, place, room_bytes, at)
        return masked_value(value, room_bytes)

    def _form(
        self, value: Json, keeping: Keeping, room_bytes: int, at: tuple[str | int, ...]
    ) -> bytes | None:
        if self._means is None:
            return None
        situation, means = self._means
        match keeping.mode:
            case Mode.MASK:
                return None
            case Mode.KEEP:
                if not self._clear or isinstance(value, dict | list):
                    return None
                return b'{"%s":%s}' % (KEEP.encode(), orjson.dumps(value))
            case Mode.DIGEST:
                digest = value_digest(means.digest_key, situation.tenant, value)
                return orjson.dumps({DIGEST: digest, IS: _shape(value)})
            case Mode.ENCRYPT:
                key = None if keeping.subject is None else means.key_of(keeping.subject)
                if key is None:
                    return None
                plain = orjson.dumps(value)
                if sealed_bytes(len(plain)) + _SEALED_BYTES > room_bytes:
                    return None
                nonce = means.random_bytes(NONCE_BYTES)
                sealed = seal(key, plain, situation, written(at), nonce=nonce)
                return orjson.dumps({ENCRYPT: to_json(sealed), IS: _shape(value)})


def _shape(value: Json) -> Json:
    if isinstance(value, dict):
        return f"object({len(value)})"
    if isinstance(value, list):
        return f"list({len(value)})"
    return masked_value(value, 0)[0]


class Found(NamedTuple):
    """A ciphertext in a row's arguments."""

    pointer: str
    sealed: Sealed


def encrypted(arguments: str) -> Iterator[Found]:
    """The ciphertexts in a text that `kept` wrote. Cost: that of reading it as JSON."""
    yield from _encrypted(orjson.loads(arguments), ())


def _encrypted(value: Json, at: tuple[str | int, ...]) -> Iterator[Found]:
    if isinstance(value, dict):
        sealed = from_json(value.get(ENCRYPT))
        if sealed is not None:
            yield Found(written(at), sealed)
            return
        for name, child in value.items():
            yield from _encrypted(child, (*at, argument_name(name)))
    elif isinstance(value, list):
        for position, child in enumerate(value):
            yield from _encrypted(child, (*at, position))


def argument_name(shown: str) -> str:
    """The argument's own name, of one in such a text."""
    return shown[1:] if shown.startswith("$$") else shown
