"""How an S3-compatible object store is reached.

delta-rs and Arrow each bring an S3 client. Both read credentials where the AWS SDKs do (environment, profile files,
web identity, the machine's or container's role); everything else is read here once and told to both, so that they
cannot differ about it. Needs nothing of ours but `evidence.place`: a verifier reads with it, too.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final
from urllib.parse import urlsplit

import pyarrow.fs as fs

from evidence.place import PlaceError

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

        Raises: PlaceError: the endpoint is no URL, or is plain HTTP and AWS_ALLOW_HTTP does not say `true`.
        """
        endpoint = environ.get("AWS_ENDPOINT_URL_S3") or environ.get("AWS_ENDPOINT_URL") or None
        if endpoint is not None:
            endpoint = endpoint.removesuffix("/")
            parts = urlsplit(endpoint)
            if parts.scheme not in ("http", "https") or not parts.hostname or parts.username is not None:
                raise PlaceError(
                    "the endpoint of the object store (AWS_ENDPOINT_URL) must be `https://host` or `https://host:port`"
                )
            if parts.path or parts.query or parts.fragment:
                raise PlaceError(
                    f"the endpoint of the object store, `https://{parts.hostname}…`, must end after its port"
                )
            if parts.scheme == "http" and not _true(environ.get("AWS_ALLOW_HTTP")):
                raise PlaceError(
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
