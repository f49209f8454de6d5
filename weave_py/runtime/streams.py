"""How do control streams reach the engine? Sockets, one nursery task each way, bounded buffers."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable, Iterable

import trio

from weave_py.model.names import Endpoint, Target, endpoint

DIAL_SECONDS = 5.0
RESOLVE_SECONDS = 5.0
FLUSH_SECONDS = 1.0
"""How long the last bytes of a closing stream may take."""
RECEIVE_BYTES = 65_536
MAX_UNSENT_BYTES = 128 * 1024
"""So much the kernel takes of what it cannot send yet. What is on its way does not count."""
TCP_NOTSENT_LOWAT = 25  # linux/tcp.h; the socket module has it since Python 3.12
MAX_QUEUED_BYTES = 4 * 1024 * 1024
"""A peer that takes nothing for so long is cut off; gossip repairs what it missed."""


class ControlStream:
    """A TCP connection. `send` and `close` never block; `run` does the work."""

    def __init__(self, stream: trio.SocketStream) -> None:
        self._stream = stream
        self._queue: list[bytes] = []
        self._queued = 0
        self._sending = 0
        self._wake = trio.Event()
        self._is_closing = False
        self._reason = "the peer takes no bytes"
        """Why it ends, if it is us who end it."""
        self._scope = trio.CancelScope()

    @property
    def waiting(self) -> int:
        """Bytes that the kernel has not taken yet."""
        return self._queued + self._sending

    def send(self, data: bytes) -> None:
        """Write in order, some time soon."""
        self._queue.append(data)
        self._queued += len(data)
        if self._queued > MAX_QUEUED_BYTES:
            self._scope.cancel()
        self._wake.set()

    def close(self) -> None:
        """Close as soon as everything is written, or FLUSH_SECONDS from now."""
        self._is_closing = True
        self._scope.deadline = trio.current_time() + FLUSH_SECONDS
        self._wake.set()

    @property
    def local_host(self) -> str | None:
        """The address of our end, as `Endpoint.host` has it; None if the connection is gone."""
        try:
            address = self._stream.socket.getsockname()
        except OSError:
            return None
        return endpoint(address[0], address[1]).host

    def cut(self, reason: str) -> None:
        """End it at once, without a last word to the peer."""
        self._reason = reason
        self._scope.cancel()

    async def run(self, on_bytes: Callable[[bytes], None], on_end: Callable[[str], None]) -> None:
        """Read and write until the stream ends. `on_end` is told why, unless we closed it."""
        reason = ""
        async with self._stream:
            with self._scope:
                reason = await self._carry(on_bytes)
            if self._scope.cancelled_caught:
                reason = self._reason
        if not self._is_closing:
            on_end(reason)

    async def _carry(self, on_bytes: Callable[[bytes], None]) -> str:
        reason = "connection closed by the peer"
        async with trio.open_nursery() as nursery:

            async def read() -> None:
                nonlocal reason
                try:
                    while data := await self._stream.receive_some(RECEIVE_BYTES):
                        on_bytes(data)
                except trio.BrokenResourceError as error:
                    reason = why(error)
                if not self._is_closing:
                    nursery.cancel_scope.cancel()

            nursery.start_soon(read, name="control stream reader")
            try:
                await self._write()
            except trio.BrokenResourceError as error:
                reason = why(error)
            nursery.cancel_scope.cancel()
        return reason

    async def _write(self) -> None:
        """Until there is nothing more to write and `close` was called."""
        while True:
            while self._queue:
                data, self._queue = b"".join(self._queue), []
                self._queued, self._sending = 0, len(data)
                await self._stream.send_all(data)
                self._sending = 0
            if self._is_closing:
                return
            await self._wake.wait()
            self._wake = trio.Event()


async def dial(host: str, port: int, local: str | None) -> trio.SocketStream:
    """Connect to a host name or address; OSError says what went wrong in one line."""
    try:
        with trio.fail_after(DIAL_SECONDS):
            return await trio.open_tcp_stream(host, port, local_address=local)
    except trio.TooSlowError:
        raise OSError(f"no answer from {host} within {DIAL_SECONDS:g} s") from None
    except socket.gaierror as error:
        raise OSError(f"cannot resolve {host!r}: {error.strerror}") from None
    except UnicodeError as error:  # no name at all, like `a..b`
        raise OSError(f"cannot resolve {host!r}: {error}") from None
    except OSError as error:
        raise OSError(f"cannot connect to {host} port {port}: {why(error)}") from None


async def unresolvable(targets: Iterable[Target]) -> dict[str, str]:
    """What is wrong with the host names of these targets: target → one line. All at a time."""
    trouble: dict[str, str] = {}

    async def look_up(target: Target) -> None:
        try:
            with trio.fail_after(RESOLVE_SECONDS):
                await trio.socket.getaddrinfo(target.host, target.port, type=socket.SOCK_STREAM)
        except trio.TooSlowError:
            trouble[target.text] = f"cannot resolve {target.host!r}: no answer from the name server"
        except (OSError, UnicodeError) as error:
            text = error.strerror if isinstance(error, OSError) else str(error)
            trouble[target.text] = f"cannot resolve {target.host!r}: {text}"

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
