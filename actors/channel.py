"""The short way between a replica and an owner on the same machine: a Unix socket that carries calls.

Ray places, names, restarts and fences owners, and a call through Ray always works; but it crosses five threads and
costs a millisecond of CPU. What agents wait for therefore takes this way where there is one (docs/adr/0004).

Frames are four bytes of length and a `marshal` of plain values: it is twice as fast as pickle and, unlike it, runs no
code. Both ends are processes of one control plane and of one user, in a folder that only this user can enter,
and each end asks the kernel who the other is.
"""

from __future__ import annotations

import asyncio
import logging
import marshal
import os
import socket
import stat
import struct
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

from controlplane import errors
from controlplane.errors import GovernanceError, OverloadedError, UnavailableError

log = logging.getLogger(__name__)

# A batch is at most a few thousand requests; whatever announces more is no frame of ours.
MAX_FRAME_BYTES = 1 << 30
MAX_CALLS = 4_000
"""That wait for one owner's answer at a time."""
MAX_UNSENT_BYTES = 64 << 20
"""That an owner has not taken yet."""

_LENGTH = struct.Struct("<I")
_CREDENTIALS = struct.Struct("3i")  # process, user, group
_ANSWERED, _FAILED = 0, 1
_PLAIN = (str, int, float, bool, type(None))

Handle = Callable[[Any], Any]


def channel_path(folder: Path, owner: str) -> Path:
    """Where an owner listens."""
    return folder / f"{owner}.sock"


class NoChannelError(Exception):
    """There is no channel to this owner now: nothing was sent. The caller takes the way through Ray."""


class _Frames(asyncio.Protocol):
    """Cuts a stream of bytes into frames. Cost: no copy for a frame that comes in one piece."""

    def __init__(self) -> None:
        self._transport: asyncio.Transport | None = None
        self._buffer = bytearray()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's are no subclass of it
        # INVARIANT (own processes): neither end talks to a process of another user, however it came to the socket.
        if _user_of(self._transport) != os.getuid():
            log.error("a process of another user is at the other end of an owner's socket; it is cut off")
            self.abort()

    def data_received(self, data: bytes) -> None:
        if not self.open:
            return
        self._buffer += data
        while len(self._buffer) >= _LENGTH.size:
            (size,) = _LENGTH.unpack_from(self._buffer)
            end = _LENGTH.size + size
            if size > MAX_FRAME_BYTES:
                log.error("a frame of %d bytes was announced; the connection is closed", size)
                self.abort()
                return
            if len(self._buffer) < end:
                return
            frame = bytes(self._buffer[_LENGTH.size : end])
            del self._buffer[:end]
            self.frame_received(frame)

    def frame_received(self, frame: bytes) -> None:
        raise NotImplementedError

    def send(self, frame: bytes) -> None:
        assert self._transport is not None
        self._transport.write(_LENGTH.pack(len(frame)) + frame)

    @property
    def open(self) -> bool:
        """Whether frames can still be sent."""
        return self._transport is not None and not self._transport.is_closing()

    @property
    def unsent_bytes(self) -> int:
        return 0 if self._transport is None else self._transport.get_write_buffer_size()

    def abort(self) -> None:
        if self._transport is not None:
            self._transport.abort()


class _Server(_Frames):
    """One connection of one replica. Calls are answered in the order in which they came: answers need no number."""

    def __init__(self, handle: Handle) -> None:
        super().__init__()
        self._handle = handle

    def frame_received(self, frame: bytes) -> None:
        try:
            # Synchronous on purpose: the owner's state has one thread, and nothing may come between.
            value = marshal.loads(frame)  # noqa: S302 - from a process of our own
            result = self._handle(value)
        except GovernanceError as error:
            answer = marshal.dumps(_as_values(error))
        except Exception as error:
            log.exception("a call failed")
            failed = UnavailableError(f"{type(error).__name__}: {error}", code="owner_failed")
            answer = marshal.dumps(_as_values(failed))
        else:
            answer = _frame_of(result)
        if self.open:  # else nobody waits any more: what was decided is durable, and was told to nobody
            self.send(answer)


def _frame_of(result: Any) -> bytes:
    try:
        return marshal.dumps((_ANSWERED, result))
    except ValueError:
        # What was done is done: nobody may take this for an owner that rolled it back.
        log.exception("an answer cannot be sent as plain values")
        failed = UnavailableError("the owner's answer cannot be sent", code="protocol_error")
        return marshal.dumps(_as_values(failed))


def _as_values(error: GovernanceError) -> tuple[Any, ...]:
    """An error as plain values: the kind on the first level of its tree, which is what callers tell apart."""
    kind = next(kind for kind in type(error).__mro__ if kind.__module__ == errors.__name__)
    fields = {name: value if type(value) in _PLAIN else str(value) for name, value in error.fields.items()}
    return (_FAILED, kind.__name__, error.message, error.code, fields)


def _as_error(kind: str, message: str, code: str, fields: dict[str, Any]) -> GovernanceError:
    made: GovernanceError = getattr(errors, kind)(message, code=code, **fields)
    return made


def _user_of(transport: asyncio.Transport) -> int:
    """The user id of the process at the other end."""
    # uvloop's transports show a socket without `getsockopt`: ask through a descriptor of our own.
    with socket.socket(fileno=os.dup(transport.get_extra_info("socket").fileno())) as own:
        _, uid, _ = _CREDENTIALS.unpack(
            own.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
        )
    return int(uid)


def private_folder(folder: Path) -> None:
    """Make sure that nobody but us can put a socket where owners listen.

    Raises: OSError: the folder cannot be made. PermissionError: it is somebody else's, or open to others.
    """
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    found = folder.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid() or found.st_mode & 0o077:
        raise PermissionError(f"`{folder}` is not a folder of our own with mode 0700")


async def serve(path: Path, handle: Handle) -> asyncio.AbstractServer:
    """Answer whoever connects to `path`, which whoever held it before loses.

    Args:
        handle: from one frame's value to its answer's; both made of plain values (tuples, lists, str, bytes, int,
            float, bool, None). An exception becomes an UnavailableError at the other end.
    Raises: OSError: the folder is not there or not ours, or the path is too long for a socket (107 bytes).
    """
    path.unlink(missing_ok=True)  # noqa: ASYNC240 - once, before there is anybody to wait
    server = await asyncio.get_running_loop().create_unix_server(lambda: _Server(handle), str(path))
    path.chmod(0o600)  # noqa: ASYNC240
    return server


class _Client(_Frames):
    """The caller's end. `waiting`: whoever waits for an answer, in the order of their calls."""

    def __init__(self) -> None:
        super().__init__()
        self.waiting: deque[asyncio.Future[Any]] = deque()

    def frame_received(self, frame: bytes) -> None:
        if not self.waiting:
            log.error("an owner answered what nobody had asked; the connection is closed")
            self.abort()
            return
        # INVARIANT (in order): the oldest call is the one that is answered, also when its caller has given up; so no
        # answer is ever taken for another's.
        answered = self.waiting.popleft()
        if not answered.done():
            answered.set_result(marshal.loads(frame))  # noqa: S302 - as above

    def connection_lost(self, exc: Exception | None) -> None:
        self._transport = None
        while self.waiting:
            answered = self.waiting.popleft()
            if not answered.done():
                answered.set_exception(ConnectionResetError())


class Channel:
    """A replica's end of the way to one owner. Any number of calls may be under way; they are answered in order.

    Args:
        path: where the owner listens, if it lives on this machine.
    """

    def __init__(self, path: Path) -> None:
        self._path = str(path)
        self._client: _Client | None = None
        self._connecting = asyncio.Lock()

    async def call(self, value: Any, *, timeout_s: float) -> Any:
        """Send one frame and wait for its answer.

        Raises: NoChannelError: there is no way; nothing was sent. GovernanceError: the owner raised it, or failed
            (`owner_failed`: it rolled everything back), or went away or silent in between (`owner_unreachable`,
            `owner_timeout`): the call may have run, so whatever it would have permitted stays unanswered.
        """
        frame = marshal.dumps(value)
        client = self._client
        if client is None or not client.open:
            client = await self._connected()
        if len(client.waiting) >= MAX_CALLS or client.unsent_bytes > MAX_UNSENT_BYTES:
            raise OverloadedError(f"{len(client.waiting)} calls wait for this owner; try again later")
        loop = asyncio.get_running_loop()
        answered = loop.create_future()
        client.waiting.append(answered)
        timer = loop.call_later(timeout_s, _time_out, answered)
        try:
            client.send(frame)
            tag, *content = await answered
        except ConnectionError:
            raise UnavailableError("the owner went away", code="owner_unreachable") from None
        finally:
            timer.cancel()
        if tag == _ANSWERED:
            return content[0]
        raise _as_error(*content)

    async def _connected(self) -> _Client:
        """The one connection, made by whoever comes first."""
        async with self._connecting:
            if self._client is None or not self._client.open:
                self._client = await self._connect()
            return self._client

    async def _connect(self) -> _Client:
        try:
            _, client = await asyncio.get_running_loop().create_unix_connection(_Client, self._path)
        except OSError:
            raise NoChannelError(self._path) from None
        if not client.open:
            raise NoChannelError(self._path)
        return client


def _time_out(answered: asyncio.Future[Any]) -> None:
    if not answered.done():
        answered.set_exception(UnavailableError("the owner did not answer in time", code="owner_timeout"))
