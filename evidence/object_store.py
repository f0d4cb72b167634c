"""A prefix of a bucket in an S3-compatible object store as a place for evidence.

delta-rs and Arrow each bring an S3 client. Both read credentials where the AWS SDKs do (environment, profile files,
web identity, the machine's or container's role); everything else is read here once and told to both, so that they
cannot differ about it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Final
from urllib.parse import urlsplit

import pyarrow.fs as fs

from evidence.errors import EvidenceDamagedError, EvidencePlaceError
from evidence.place import Prefix

_CONNECT_TIMEOUT_S: Final = 5
_REQUEST_TIMEOUT_S: Final = 30
_ATTEMPTS: Final = 5
_GIVE_UP_S: Final = 30


@dataclass(frozen=True, slots=True, kw_only=True)
class Connection:
    """How the object store is reached, without credentials.

    Attributes:
        endpoint: `https://host:port` of another store than AWS's own; None: AWS.
        region: None: as the clients find it.
        virtual_hosted: the bucket stands in the host's name, where there is an endpoint (at AWS it always does).
    """

    endpoint: str | None = None
    region: str | None = None
    virtual_hosted: bool = False

    @classmethod
    def from_environment(cls, environ: Mapping[str, str]) -> Connection:
        """Read AWS_ENDPOINT_URL_S3 or AWS_ENDPOINT_URL, AWS_ALLOW_HTTP, AWS_REGION or AWS_DEFAULT_REGION, and
        AWS_VIRTUAL_HOSTED_STYLE_REQUEST.

        Raises: EvidencePlaceError: the endpoint is no URL, or is plain HTTP and AWS_ALLOW_HTTP does not say `true`.
        """
        endpoint = environ.get("AWS_ENDPOINT_URL_S3") or environ.get("AWS_ENDPOINT_URL") or None
        if endpoint is not None:
            endpoint = endpoint.removesuffix("/")
            parts = urlsplit(endpoint)
            if parts.scheme not in ("http", "https") or not parts.hostname or parts.username is not None:
                raise EvidencePlaceError(
                    "the endpoint of the object store (AWS_ENDPOINT_URL) must be `https://host` or `https://host:port`"
                )
            if parts.path or parts.query or parts.fragment:
                raise EvidencePlaceError(
                    f"the endpoint of the object store, `https://{parts.hostname}…`, must end after its port"
                )
            if parts.scheme == "http" and not _true(environ.get("AWS_ALLOW_HTTP")):
                raise EvidencePlaceError(
                    f"the object store at `{endpoint}` is reached without TLS; say AWS_ALLOW_HTTP=true if that is meant"
                )
        return cls(
            endpoint=endpoint,
            region=environ.get("AWS_REGION") or environ.get("AWS_DEFAULT_REGION") or None,
            virtual_hosted=_true(environ.get("AWS_VIRTUAL_HOSTED_STYLE_REQUEST")),
        )

    def for_delta(self) -> dict[str, str]:
        """As delta-rs is told."""
        options = {
            # INVARIANT (one winner): a commit is a PUT on the condition that there is none of its version.
            "aws_conditional_put": "etag",
            "aws_s3_allow_unsafe_rename": "false",
            "aws_virtual_hosted_style_request": str(self.endpoint is None or self.virtual_hosted).lower(),
            "connect_timeout": f"{_CONNECT_TIMEOUT_S}s",
            "timeout": f"{_REQUEST_TIMEOUT_S}s",
            "max_retries": str(_ATTEMPTS - 1),
            # Landing is tried again anyway, and owners keep their rows meanwhile.
            "retry_timeout": f"{_GIVE_UP_S}s",
        }
        if self.endpoint is not None:
            options["aws_endpoint"] = self.endpoint
            options["aws_allow_http"] = str(self.endpoint.startswith("http:")).lower()
        if self.region is not None:
            options["aws_region"] = self.region
        return options

    def for_arrow(self) -> fs.S3FileSystem:
        """As Arrow is told."""
        parts = urlsplit(self.endpoint or "")
        return fs.S3FileSystem(
            region=self.region,
            scheme=parts.scheme or "https",
            endpoint_override=parts.netloc or None,
            force_virtual_addressing=self.virtual_hosted,
            connect_timeout=_CONNECT_TIMEOUT_S,
            request_timeout=_REQUEST_TIMEOUT_S,
            retry_strategy=fs.AwsStandardS3RetryStrategy(max_attempts=_ATTEMPTS),
            # Small files in one PUT, which is whole or not there, rather than as an upload of parts.
            allow_delayed_open=True,
        )


def _true(text: str | None) -> bool:
    return (text or "").strip().lower() in ("true", "1")


@dataclass(frozen=True)  # no slots: they leave no room for what is cached
class ObjectPrefix:
    """See `evidence.storage.Storage`."""

    place: Prefix
    connection: Connection = field(default_factory=Connection)

    @property
    def uri(self) -> str:
        return str(self.place)

    def __str__(self) -> str:
        return self.uri

    @property
    def options(self) -> dict[str, str]:
        return self.connection.for_delta()

    @cached_property
    def files(self) -> fs.FileSystem:
        return fs.SubTreeFileSystem(self.place.path, self.connection.for_arrow())

    def beside(self, name: str) -> ObjectPrefix:
        above = self.place.key.rpartition("/")[0]
        key = f"{above}/{name}" if above else name
        return ObjectPrefix(place=Prefix(bucket=self.place.bucket, key=key), connection=self.connection)

    def prepare(self) -> None:
        """A prefix needs no making."""

    def names(self, folder: str = "") -> list[str]:
        return sorted(info.base_name for info in self._listed(folder))

    def read(self, name: str) -> bytes:
        with self.files.open_input_stream(name) as stream:
            content: bytes = stream.read()
        return content

    def create(self, name: str, text: str) -> bool:
        """Looks, writes, and reads again: Arrow's client knows no conditional PUT.

        Whoever writes here has won the name before, by a Delta commit (which is conditional); against those who have
        not, the bucket's versions and object lock keep what was written first.
        """
        if self._exists(name):
            return False
        with self.files.open_output_stream(name) as stream:
            stream.write(text.encode())
        return True

    def check_sizes(self, sizes: Mapping[str, int]) -> None:
        folders = {name.rpartition("/")[0] for name in sizes}
        there = {info.path: info.size for folder in folders for info in self._listed(folder)}
        for name, expected in sizes.items():
            found = there.get(name, -1)
            if found != expected:
                what = "is missing" if found < 0 else f"has {found} bytes instead of {expected}"
                raise EvidenceDamagedError(
                    f"evidence file `{name}` {what}; restore it from a copy or an earlier version of the object, "
                    f"nothing is written until then",
                    file=name,
                    expected=expected,
                    found=found,
                )

    # INVARIANT (trim): a PUT that S3 has confirmed is durable, and delta-rs waits for that.

    def sync_versions(self, first: int, last: int) -> None:
        """What delta-rs has written is durable."""

    def sync_files(self, names: Iterable[str]) -> None:
        """What delta-rs has written is durable."""

    def sync_log(self, first: int) -> None:
        """What delta-rs has written is durable."""

    def _exists(self, name: str) -> bool:
        there: bool = self.files.get_file_info(name).type != fs.FileType.NotFound
        return there

    def _listed(self, folder: str) -> list[fs.FileInfo]:
        found: list[fs.FileInfo] = self.files.get_file_info(fs.FileSelector(folder, allow_not_found=True))
        return found
