"""Where do callers wait until they say something?

Connections come in by the thousand when somebody wants them to, and most of those say nothing. So
one that has just come is a socket here and no more: no task, no handshake. Who speaks is asked in,
or told that there is no time for it. Of the silent the latest are kept, for a while.
"""

from __future__ import annotations

import contextlib
import select
import socket
from collections.abc import Sequence
from functools import partial
from typing import Protocol

import trio

from weave_py.loop.accept import Patience, waiting
from weave_py.loop.main_loop import Loop
from weave_py.model.names import Endpoint, endpoint

MAX_SILENT = 256
SILENT_SECONDS = 10.0
"""At least; at most half as long again."""
FIRST_WORDS = 4096  # bytes: more than an honest caller says before it is answered


class Household(Protocol):
    """Who decides on callers."""

    def has_time_for(self, remote: Endpoint) -> bool:
        """Whether somebody who speaks may come in from there now."""

    def come_in(self, connection: socket.socket, remote: Endpoint) -> None:
        """Serve it, and close it in the end. There is something to read; this does not block."""

    def came_to_nothing(self, remote: Endpoint) -> None:
        """It went without a word."""


class Door:
    """The connections that have said nothing yet."""

    def __init__(self, household: Household, loop: Loop, no_time: bytes) -> None:
        """`no_time`: what a caller is told that there is no time for."""
        self._household = household
        self._loop = loop
        self._no_time = no_time
        self._silent: dict[socket.socket, tuple[Endpoint, float]] = {}
        """Whose, and since when; in that order."""

    async def run(self, listeners: Sequence[socket.socket]) -> None:
        """Take what comes until cancelled. The listeners are ours from now on."""
        try:
            async with trio.open_nursery() as nursery:
                for listener in listeners:
                    listener.setblocking(False)
                    nursery.start_soon(self._listen, listener)
                while True:
                    await trio.sleep(SILENT_SECONDS / 2)
                    self._drop(trio.current_time() - SILENT_SECONDS)
        finally:
            self._drop(float("inf"))

    async def _listen(self, listener: socket.socket) -> None:
        patience = Patience()
        with listener:
            while True:
                trouble = _Trouble()
                on_ready = partial(self._take, listener, trouble)
                self._loop.watch(listener.fileno(), select.EPOLLIN, on_ready)
                try:
                    error = await trouble.wait()
                finally:
                    self._loop.unwatch(listener.fileno())
                await patience.bear(error)

    def _drop(self, before: float) -> None:
        """Those that have been silent since then, or longer."""
        for connection, (_, since) in list(self._silent.items()):
            if since > before:
                return
            self._leave(connection).close()

    def _leave(self, connection: socket.socket) -> socket.socket:
        del self._silent[connection]
        self._loop.unwatch(connection.fileno())
        return connection

    # --- called by the loop --------------------------------------------------------------

    def _take(self, listener: socket.socket, trouble: _Trouble, _events: int) -> None:
        try:
            for connection, address in waiting(listener):
                self._greet(connection, endpoint(address[0], address[1]))
        except OSError as error:
            trouble.befell(error)

    def _greet(self, connection: socket.socket, remote: Endpoint) -> None:
        """Most have spoken already when we come to the door."""
        connection.setblocking(False)
        words = _first_words(connection)
        if words is not None:
            self._answer(connection, remote, words)
            return
        self._silent[connection] = (remote, trio.current_time())
        self._loop.watch(connection.fileno(), select.EPOLLIN, partial(self._ready, connection))
        if len(self._silent) > MAX_SILENT:
            self._leave(next(iter(self._silent))).close()

    def _ready(self, connection: socket.socket, _events: int) -> None:
        words = _first_words(connection)
        if words is not None:
            remote, _ = self._silent[connection]
            self._answer(self._leave(connection), remote, words)

    def _answer(self, connection: socket.socket, remote: Endpoint, words: bytes) -> None:
        if not words:
            connection.close()
            self._household.came_to_nothing(remote)
        elif self._household.has_time_for(remote):
            self._household.come_in(connection, remote)
        else:
            self._refuse(connection)

    def _refuse(self, connection: socket.socket) -> None:
        with connection, contextlib.suppress(OSError):
            connection.send(self._no_time)
            # What is left unread makes of the end a reset, which would overtake our word.
            connection.recv(FIRST_WORDS)


def _first_words(connection: socket.socket) -> bytes | None:
    """Something of what it has said, which stays to be read; nothing if it has gone; None: it has
    said nothing yet."""
    try:
        return connection.recv(1, socket.MSG_PEEK)
    except BlockingIOError:
        return None
    except OSError:
        return b""


class _Trouble:
    """What is wrong with a listener: told between two steps of trio, waited for by a task."""

    def __init__(self) -> None:
        self._event = trio.Event()
        self._error: OSError | None = None

    def befell(self, error: OSError) -> None:
        self._error = error
        self._event.set()

    async def wait(self) -> OSError:
        await self._event.wait()
        assert self._error is not None
        return self._error
