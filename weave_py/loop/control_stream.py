"""How do control streams reach the engine? Sockets served by the main loop, bounded buffers.

A stream has a task, which owns the socket and sleeps until the stream ends: bytes come and go in
callbacks of `loop.main_loop`.
"""

from __future__ import annotations

import contextlib
import os
import select
import socket
import struct
from collections.abc import Callable, Iterable

import trio

from weave_py.loop.main_loop import Loop
from weave_py.model.names import Endpoint, Target, endpoint

DIAL_SECONDS = 5.0
RESOLVE_SECONDS = 5.0
TEMPORARY = (socket.EAI_AGAIN, socket.EAI_FAIL, socket.EAI_MEMORY, socket.EAI_SYSTEM)
"""Troubles of the resolver, not of the name."""
FLUSH_SECONDS = 1.0
"""How long the last bytes of a closing stream may take."""
RECEIVE_BYTES = 65_536
MAX_UNSENT_BYTES = 128 * 1024
"""So much the kernel takes of what it cannot send yet. What is on its way does not count."""
_NO_LINGER = struct.pack("ii", 1, 0)
TCP_NOTSENT_LOWAT = 25  # linux/tcp.h; the socket module has it since Python 3.12
MAX_QUEUED_BYTES = 4 * 1024 * 1024
"""A peer that takes nothing for so long is cut off; gossip repairs what it missed."""


class ControlStream:
    """A TCP connection. `send` and `close` never block; `run` lives as long as it does."""

    def __init__(self, stream: trio.SocketStream, loop: Loop) -> None:
        self._stream = stream
        self._loop = loop
        self._fd = -1
        """What the loop watches; −1: nothing (yet, or any more)."""
        self._events = 0
        self._queue: list[bytes | memoryview] = []
        self._queued = 0
        self._is_flush_due = False
        self._is_full = False
        """Whether the kernel takes no more for now."""
        self._is_closing = False
        self._is_deaf = False
        """Whether the peer has said its last word."""
        self._reason = "the peer takes no bytes"
        """Why it ends, if it is us who end it."""
        self._scope = trio.CancelScope()
        self._ended = trio.Event()
        self._end_reason = ""
        self._failure: Exception | None = None
        self._on_bytes: Callable[[bytes], None] = self._ignore
        self._on_writable: Callable[[bool], None] = self._ignore
        self._was_writable = True

    @property
    def waiting(self) -> int:
        """Bytes that the kernel has not taken yet."""
        return self._queued

    def send(self, data: bytes) -> None:
        """Write in order, at the end of the loop's turn."""
        self._queue.append(data)
        self._queued += len(data)
        if self._queued > MAX_QUEUED_BYTES:
            self._scope.cancel()
        self._flush_soon()

    def close(self) -> None:
        """Close as soon as everything is written, or FLUSH_SECONDS from now."""
        self._is_closing = True
        self._scope.deadline = trio.current_time() + FLUSH_SECONDS
        self._flush_soon()

    def abort(self) -> None:
        """Close it at once by a reset (RST).

        An orderly end waits behind all data that the peer has not acknowledged; a peer that hears
        us while we do not hear it would not know of the end before its own patience is over.
        """
        self._is_closing = True
        with contextlib.suppress(OSError):  # it has broken already
            self._stream.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _NO_LINGER)
        self._scope.cancel()

    @property
    def local_host(self) -> str | None:
        """The address of our end, as `Endpoint.host` has it; None if the connection is gone."""
        try:
            address = self._stream.socket.getsockname()
        except OSError:
            return None
        return endpoint(address[0], address[1]).host

    @property
    def remote_host(self) -> str | None:
        """That of the other end, likewise."""
        try:
            return remote_of(self._stream).host
        except OSError:
            return None

    def cut(self, reason: str) -> None:
        """End it at once, without a last word to the peer."""
        self._reason = reason
        self._scope.cancel()

    async def run(
        self,
        on_bytes: Callable[[bytes], None],
        on_end: Callable[[str], None],
        on_writable: Callable[[bool], None],
    ) -> None:
        """Read and write until the stream ends. `on_end` is told why, unless we closed it;
        `on_writable` that something waits, as the kernel takes no more, or that nothing does again.

        What `on_bytes` and `on_writable` raise, a bug, is raised here.
        """
        self._on_bytes, self._on_writable = on_bytes, on_writable
        async with self._stream:
            self._fd = self._stream.socket.fileno()
            self._watch()
            self._flush_soon()
            try:
                with self._scope:
                    await self._ended.wait()
            finally:
                self._unwatch()
        if self._failure is not None:
            raise self._failure
        if not self._is_closing:
            on_end(self._reason if self._scope.cancelled_caught else self._end_reason)

    # --- inside: called by the loop ------------------------------------------------------

    def _ready(self, events: int) -> None:
        try:
            if not self._is_deaf:
                if events & ~select.EPOLLOUT:
                    self._read()
            elif events & (select.EPOLLERR | select.EPOLLHUP):
                self._end("")  # the peer does not listen any more either
            if events & select.EPOLLOUT and self._fd >= 0:
                self._is_full = False
                self._flush()
        except OSError as error:
            self._end(why(error))
        except Exception as error:
            self._failure = error
            self._end("")

    def _read(self) -> None:
        try:
            data = os.read(self._fd, RECEIVE_BYTES)
        except BlockingIOError:
            return
        if data:
            self._on_bytes(data)
            return
        self._is_deaf = True
        if self._is_closing:
            self._watch()
        else:
            self._end("connection closed by the peer")

    def _flush(self) -> None:
        self._is_flush_due = False
        if self._fd < 0 or self._is_full:
            return
        try:
            self._write()
        except OSError as error:
            self._end(why(error))
            return
        self._watch()
        if self._is_closing:
            if not self._queue:
                self._end("")
        elif self._was_writable == self._is_full:
            self._was_writable = not self._is_full
            self._on_writable(self._was_writable)

    def _write(self) -> None:
        """As much as the kernel takes."""
        while self._queue:
            data = self._queue[0] if len(self._queue) == 1 else b"".join(self._queue)
            try:
                written = os.write(self._fd, data)
            except BlockingIOError:
                written = 0
            self._queued -= written
            if written == len(data):
                self._queue = []
            else:
                self._queue = [memoryview(data)[written:]]
            self._is_full = not written
            if self._is_full:
                return

    def _flush_soon(self) -> None:
        if not self._is_flush_due:
            self._is_flush_due = True
            self._loop.soon(self._flush)

    def _watch(self) -> None:
        """For what we wait for now."""
        events = select.EPOLLIN * (not self._is_deaf) | select.EPOLLOUT * self._is_full
        if events != self._events:
            self._events = events
            self._loop.watch(self._fd, events, self._ready)

    def _unwatch(self) -> None:
        if self._fd >= 0:
            self._loop.unwatch(self._fd)
            self._fd = -1

    def _end(self, reason: str) -> None:
        self._unwatch()
        self._end_reason = reason
        self._ended.set()

    @staticmethod
    def _ignore(news: object) -> None:
        """Nobody listens before `run`."""


class UnknownName(OSError):
    """The name server says that there is no such name: it is not likely to say otherwise soon."""


def _unresolved(host: str, error: OSError | UnicodeError) -> OSError:
    """One line; UnknownName if it is not only for now."""
    text = error.strerror if isinstance(error, OSError) else str(error)
    if isinstance(error, socket.gaierror) and error.errno in TEMPORARY:
        return OSError(f"cannot resolve {host!r} now: {text}")
    return UnknownName(f"cannot resolve {host!r}: {text}")


async def dial(host: str, port: int, local: str | None) -> trio.SocketStream:
    """Connect to a host name or address; OSError says what went wrong in one line."""
    try:
        with trio.fail_after(DIAL_SECONDS):
            return await trio.open_tcp_stream(host, port, local_address=local)
    except trio.TooSlowError:
        raise OSError(f"no answer from {host} within {DIAL_SECONDS:g} s") from None
    except (socket.gaierror, UnicodeError) as error:  # (the latter: no name at all, like `a..b`)
        raise _unresolved(host, error) from None
    except OSError as error:
        raise OSError(f"cannot connect to {host} port {port}: {why(error)}") from None


async def unresolvable(targets: Iterable[Target]) -> dict[str, str]:
    """What is wrong with the host names of these targets: target → one line. All at a time."""
    trouble: dict[str, str] = {}

    async def look_up(target: Target) -> None:
        try:
            with trio.fail_after(RESOLVE_SECONDS):
                await trio.socket.getaddrinfo(target.host, target.port, type=socket.SOCK_STREAM)
            return
        except trio.TooSlowError:
            error = OSError(f"cannot resolve {target.host!r} now: no answer from the name server")
        except (OSError, UnicodeError) as problem:
            error = _unresolved(target.host, problem)
        advice = "check the name; " if isinstance(error, UnknownName) else ""
        trouble[target.text] = f"{error}: {advice}it stays a target, and is tried again"

    async with trio.open_nursery() as nursery:
        for target in targets:
            nursery.start_soon(look_up, target)
    return trouble


def remote_of(stream: trio.SocketStream) -> Endpoint:
    """The other end of a TCP connection."""
    address = stream.socket.getpeername()
    return endpoint(address[0], address[1])


def tune(stream: trio.SocketStream) -> None:
    """Heartbeats are small and should not wait for each other, nor behind much else."""
    stream.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, True)
    stream.setsockopt(socket.IPPROTO_TCP, TCP_NOTSENT_LOWAT, MAX_UNSENT_BYTES)


def why(error: BaseException) -> str:
    """The operating system's words for what is behind an error, in lower case."""
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, BaseExceptionGroup):
            cause = cause.exceptions[0]
        elif isinstance(cause, OSError) and cause.errno and cause.errno > 0:
            text = os.strerror(cause.errno)  # trio puts its own words in front, in `strerror`
            return text[0].lower() + text[1:]
        else:
            cause = cause.__cause__ or cause.__context__
    return str(error) or type(error).__name__
