"""AES-256-GCM, twice: a value under its subject's data key, and that key under the deployment's wrapping key. Pure.

Nonces are random, 12 bytes, drawn by whoever calls. What a ciphertext is bound to (associated data) is the RFC 8785
form of a JSON array, so that none can be moved to another place and still open.
"""

from __future__ import annotations

import base64
import binascii
from typing import Final, NamedTuple

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from controlplane.wire.digest import canonical_json

KEY_BYTES: Final = 32
NONCE_BYTES: Final = 12
_TAG_BYTES: Final = 16
_ARGUMENT: Final = "controlplane evidence argument"
_DATA_KEY: Final = "controlplane data key"


class Situation(NamedTuple):
    """The action that arguments belong to: what a ciphertext is bound to, beside its pointer.

    Args: arguments_digest: the keyed digest in its row, hexadecimal: no other row of the same agent and tool has it,
        unless its arguments are the same.
    """

    tenant: str
    subject_type: str
    subject_id: str
    resource_type: str
    resource_id: str
    arguments_digest: str


class DataKey(NamedTuple):
    """A data subject's key, ready for use; `id` names it beside each ciphertext."""

    id: str
    cipher: AESGCM


class Sealed(NamedTuple):
    """A ciphertext as it stands in a row: `key`: the data key's id; `text` ends with the 16 bytes of the tag."""

    key: str
    nonce: bytes
    text: bytes


def seal(key: DataKey, plain: bytes, situation: Situation, pointer: str, *, nonce: bytes) -> Sealed:
    """Cost: about 3 µs for 100 bytes."""
    return Sealed(key.id, nonce, key.cipher.encrypt(nonce, plain, _bound(situation, pointer)))


def unseal(key: DataKey, sealed: Sealed, situation: Situation, pointer: str) -> bytes | None:
    """The plain bytes; None: this key does not open it, or it was sealed in another place."""
    try:
        return key.cipher.decrypt(sealed.nonce, sealed.text, _bound(situation, pointer))
    except InvalidTag:
        return None


def sealed_bytes(plain_bytes: int) -> int:
    """How many characters of base64 the ciphertext of so many bytes takes."""
    return (plain_bytes + _TAG_BYTES + 2) // 3 * 4


def to_json(sealed: Sealed) -> dict[str, str]:
    nonce, text = base64.b64encode(sealed.nonce).decode(), base64.b64encode(sealed.text).decode()
    return {"key": sealed.key, "nonce": nonce, "text": text}


def from_json(value: object) -> Sealed | None:
    """None: no ciphertext of ours."""
    if not isinstance(value, dict) or value.keys() != {"key", "nonce", "text"}:
        return None
    try:
        nonce, text = (base64.b64decode(value[name], validate=True) for name in ("nonce", "text"))
    except (binascii.Error, TypeError, ValueError):
        return None
    if not isinstance(value["key"], str) or len(nonce) != NONCE_BYTES or len(text) < _TAG_BYTES:
        return None
    return Sealed(value["key"], nonce, text)


def wrap(wrapping_key: bytes, key: bytes, *, identity: str, tenant: str, subject: str, nonce: bytes) -> bytes:
    """nonce ‖ ciphertext ‖ tag, 60 bytes. Args: subject: the subject's keyed digest."""
    return nonce + AESGCM(wrapping_key).encrypt(nonce, key, _key_bound(identity, tenant, subject))


def unwrap(
    wrapping_key: bytes, wrapped: bytes, *, identity: str, tenant: str, subject: str
) -> DataKey | None:
    """None: it was wrapped under another key, or is another subject's."""
    nonce, text = wrapped[:NONCE_BYTES], wrapped[NONCE_BYTES:]
    try:
        key = AESGCM(wrapping_key).decrypt(nonce, text, _key_bound(identity, tenant, subject))
    except (InvalidTag, ValueError):
        return None
    return DataKey(identity, AESGCM(key))


def _bound(situation: Situation, pointer: str) -> bytes:
    return canonical_json([_ARGUMENT, 1, *situation, pointer])


def _key_bound(identity: str, tenant: str, subject: str) -> bytes:
    return canonical_json([_DATA_KEY, 1, tenant, subject, identity])
