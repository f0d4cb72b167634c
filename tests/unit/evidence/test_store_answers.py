"""What an object store answers to those whom it does not let in repeats their request, credentials among it."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from deltalake.exceptions import DeltaError

from evidence.delta.shape import told
from evidence.delta.table import EvidenceTable
from evidence.errors import EvidenceUnavailableError

KEY_ID, TOKEN = "ASIA-KEY-SEEN-NOWHERE", "token-seen-nowhere"
ANSWER = f"""<?xml version="1.0" encoding="UTF-8"?>
<Error><Code>SignatureDoesNotMatch</Code><Message>The signature does not match</Message>
<AWSAccessKeyId>{KEY_ID}</AWSAccessKeyId><CanonicalRequest>GET
x-amz-security-token:{TOKEN}
</CanonicalRequest><Token-0>{TOKEN}</Token-0></Error>"""


class _Refuses(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(403)
        self.send_header("content-length", str(len(ANSWER)))
        self.end_headers()
        self.wfile.write(ANSWER.encode())

    do_PUT = do_GET

    def log_message(self, *_: object) -> None:
        """Quiet."""


@pytest.fixture
def place(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Refuses)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{server.server_port}")
    monkeypatch.setenv("AWS_ALLOW_HTTP", "true")
    monkeypatch.setenv("AWS_REGION", "eu-central-1")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", KEY_ID)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    monkeypatch.setenv("AWS_SESSION_TOKEN", TOKEN)
    yield "s3://evidence-bucket/fleet/decisions"
    server.shutdown()
    server.server_close()
    thread.join()


def test_an_error_tells_the_stores_code_and_message_and_no_credential(place: str) -> None:
    with pytest.raises(EvidenceUnavailableError) as refused:
        EvidenceTable.open_or_create(place)
    assert "SignatureDoesNotMatch: The signature does not match" in str(refused.value)
    assert KEY_ID not in str(refused.value) and TOKEN not in str(refused.value)


@pytest.mark.parametrize("cut", [len(ANSWER), 140, 60])
def test_nor_does_an_answer_that_was_cut(cut: int) -> None:
    said = told(DeltaError(f"403 Forbidden: {ANSWER[:cut]}"))
    assert said.startswith("403 Forbidden:") and KEY_ID not in said and TOKEN not in said


def test_other_errors_stay_as_they_are_in_one_line() -> None:
    assert told(OSError("\x1b[31mno <room>\x1b[0m\n left")) == "no <room> left"
