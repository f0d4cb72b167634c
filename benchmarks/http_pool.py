"""The leanest HTTP client that a benchmark can do with: keep-alive connections, POST, JSON in and out."""

from __future__ import annotations

import asyncio
import re

_LENGTH = re.compile(rb"content-length: *(\d+)", re.IGNORECASE)


class _Connection(asyncio.Protocol):
    def __init__(self) -> None:
        self._buffer = b""
        self.answer: asyncio.Future[tuple[int, bytes]] | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        head = self._buffer.find(b"\r\n\r\n")
        found = _LENGTH.search(self._buffer, 0, head) if head >= 0 else None
        if found is None or len(self._buffer) < (end := head + 4 + int(found.group(1))):
            return
        status, body = int(self._buffer[9:12]), self._buffer[head + 4 : end]
        self._buffer = self._buffer[end:]
        if self.answer is not None and not self.answer.done():
            self.answer.set_result((status, body))

    def connection_lost(self, exc: Exception | None) -> None:
        if self.answer is not None and not self.answer.done():
            self.answer.set_exception(ConnectionResetError())


class HttpPool:
    """At most `size` connections to one server; whoever finds none free waits.

    Args:
        key: sent as a bearer.
    """

    def __init__(self, port: int, key: str, *, size: int) -> None:
        self._port = port
        self._head = f"Host: 127.0.0.1\r\nAuthorization: Bearer {key}\r\nContent-Type: application/json\r\n"
        self._free: list[_Connection] = []
        self._places = asyncio.Semaphore(size)

    async def post(self, path: str, body: bytes) -> tuple[int, bytes]:
        """(status, body). Raises: OSError: the connection broke."""
        async with self._places:
            connection = self._free.pop() if self._free else await self._connect()
            connection.answer = answer = asyncio.get_running_loop().create_future()
            head = f"POST {path} HTTP/1.1\r\n{self._head}Content-Length: {len(body)}\r\n\r\n"
            connection.transport.write(head.encode() + body)  # type: ignore[attr-defined]
            result: tuple[int, bytes] = await answer
            self._free.append(connection)
            return result

    def close(self) -> None:
        for connection in self._free:
            connection.transport.close()

    async def _connect(self) -> _Connection:
        loop = asyncio.get_running_loop()
        _, connection = await loop.create_connection(_Connection, "127.0.0.1", self._port)
        return connection
