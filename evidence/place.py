"""Names of places for evidence: a directory, or a prefix of a bucket as `s3://bucket/prefix`. Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

SCHEME: Final = "s3://"
_BUCKET: Final = re.compile(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]", re.ASCII)
# No character that S3 asks to avoid or that one of the clients would encode in its own way.
_PART: Final = re.compile(r"[A-Za-z0-9!_.*'()=-]{1,255}", re.ASCII)
_MOST_KEY_BYTES: Final = 700  # of the 1024 that a key has; Delta's own names need the rest


def is_object_uri(place: str) -> bool:
    return place.lower().startswith("s3:")


class PlaceError(ValueError):
    """A name of no place, or an endpoint that is none."""

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.message = message


@dataclass(frozen=True, slots=True, kw_only=True)
class Prefix:
    """Where in an object store: `key` has no slash at its ends and is never empty."""

    bucket: str
    key: str

    def __str__(self) -> str:
        return f"{SCHEME}{self.bucket}/{self.key}"

    @property
    def path(self) -> str:
        """As Arrow writes it."""
        return f"{self.bucket}/{self.key}"


def prefix_of(uri: str) -> Prefix:
    """Parse `s3://bucket/prefix`. Raises: PlaceError."""
    rest = uri[len(SCHEME) :] if uri.startswith(SCHEME) else ""
    bucket, _, key = rest.partition("/")
    parts = key.removesuffix("/").split("/")
    if not _BUCKET.fullmatch(bucket) or not all(map(_PART.fullmatch, parts)) or {".", ".."} & {*parts}:
        raise PlaceError(
            f"`{uri[:300]}` names no place in an object store; give `s3://bucket/prefix`, the bucket's name in lower "
            f"case and the prefix of letters, digits and !_.*'()=-"
        )
    if len("/".join(parts)) > _MOST_KEY_BYTES:
        raise PlaceError(f"the prefix of `{uri[:300]}` is longer than {_MOST_KEY_BYTES} bytes")
    return Prefix(bucket=bucket, key="/".join(parts))


def checked_place(text: str) -> str:
    """A place in the form in which it is remembered; a path stays as it is.

    Raises: PlaceError: it looks like a URI and names no place in an object store.
    """
    if is_object_uri(text):
        return str(prefix_of(text))
    if "://" in text:
        raise PlaceError(
            f"`{text[:300]}` is no place for evidence; give a directory, or `s3://bucket/prefix`"
        )
    return text
