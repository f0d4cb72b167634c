from __future__ import annotations

from typing import Any

import pytest
from unit.evidence.s3_server import SECRET

from controlplane.errors import GovernanceError
from evidence.errors import EvidencePlaceError
from evidence.place import PlaceError, prefix_of
from evidence.storage import storage_at
from evidence.store_connection import Connection


@pytest.mark.parametrize(
    "place",
    [
        "s3://",
        "s3:/bucket/prefix",
        "S3://bucket/prefix",
        "s3://bucket",
        "s3://bucket/",
        "s3://Bucket/prefix",
        "s3://bucket//prefix",
        "s3://bucket/../prefix",
        "s3://bucket/a b",
        "s3://bucket/prefix?versionId=1",
        "s3://key:secret@bucket/prefix",
        "s3://bucket/" + "a/" * 400,
        "gs://bucket/prefix",
    ],
)
def test_what_names_no_place_is_refused(place: str) -> None:
    with pytest.raises(EvidencePlaceError) as caught:
        storage_at(place)
    assert isinstance(caught.value, GovernanceError)


def test_a_slash_at_the_end_changes_nothing() -> None:
    assert prefix_of("s3://bucket/a/b/") == prefix_of("s3://bucket/a/b")


@pytest.mark.parametrize(
    ("environ", "message"),
    [
        ({"AWS_ENDPOINT_URL": "http://127.0.0.1:9000"}, "AWS_ALLOW_HTTP=true"),
        ({"AWS_ENDPOINT_URL": "127.0.0.1:9000"}, "must be `https://host`"),
        ({"AWS_ENDPOINT_URL": "https://user:word@host"}, "must be `https://host`"),
        ({"AWS_ENDPOINT_URL": "https://host/path"}, "must end after its port"),
    ],
)
def test_an_endpoint_that_is_none_or_not_meant_is_refused(environ: dict[str, str], message: str) -> None:
    with pytest.raises(PlaceError, match=message) as caught:
        Connection.from_environment(environ)
    assert "word" not in str(caught.value)


def test_both_clients_are_told_the_same_and_neither_is_told_credentials() -> None:
    environ = {
        "AWS_ENDPOINT_URL": "https://elsewhere:1",
        "AWS_ENDPOINT_URL_S3": "https://store:9000/",
        "AWS_DEFAULT_REGION": "eu-north-1",
        "AWS_SECRET_ACCESS_KEY": SECRET,
    }
    connection = Connection.from_environment(environ)
    options: dict[str, Any] = connection.for_delta()
    assert (options["aws_endpoint"], options["aws_region"]) == ("https://store:9000", "eu-north-1")
    assert (options["aws_allow_http"], options["aws_conditional_put"]) == ("false", "etag")
    assert connection.for_arrow().region == "eu-north-1"
    assert SECRET not in repr(options) + repr(connection)
