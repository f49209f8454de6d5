"""What if nobody reads the log? The thread that carries packets goes on; lines are left out.

A pipe or terminal takes no more when its reader stands still, and a write to it then waits, for
ever perhaps. So only a thread of its own writes, from a bounded queue. When that is full, further
lines are counted instead of kept, until the reader has read all there is; then one line tells how
many. (Not O_NONBLOCK: the open file is shared with other processes, which rely on it.)
"""

from __future__ import annotations

import atexit
import io
import os
import select
import sys
import threading
import time
from collections import deque
from collections.abc import Callable
from contextlib import suppress

MAX_QUEUED_BYTES = 1 << 18
"""More than any log says at once, unless at level debug."""
LAST_WORDS_SECONDS = 1.0
"""How long the end of a process waits for its reader."""


class LogWriter:
    """Writes texts to a descriptor, in order. `put` never waits for the reader."""

    def __init__(
        self, fd: int, lost: Callable[[int], str], max_bytes: int = MAX_QUEUED_BYTES
    ) -> None:
        """`lost`: the line that says that so many were left out."""
        self._fd = fd
        self._lost = lost
        self._max_bytes = max_bytes
        self._texts: deque[bytes] = deque()
        self._bytes = 0
        self._left_out = 0
        """Lines, since that was said last."""
        self._is_full = False
        self._is_writing = False
        # Of the kind that may be taken twice: a destructor's error may be logged in between.
        self._changed = threading.Condition(threading.RLock())
        threading.Thread(target=self._run, name="log", daemon=True).start()

    def put(self, text: str) -> None:
        """Have it written soon, or leave it out."""
        data = text.encode(errors="backslashreplace")
        if not data:
            return
        with self._changed:
            # What is longer than all the queue (a traceback) has its turn in an empty one.
            if self._texts and self._bytes + len(data) > self._max_bytes:
                self._is_full = True
            if self._is_full:
                self._left_out += data.count(b"\n")
                return
            self._texts.append(data)
            self._bytes += len(data)
            self._changed.notify_all()

    def flush(self, within: float) -> bool:
        """Wait until all is written, at most so many seconds; whether it is."""
        deadline = time.monotonic() + within
        with self._changed:
            while self._texts or self._is_writing:
                left = deadline - time.monotonic()
                if left <= 0:
                    return False
                self._changed.wait(left)
        return True

    # --- inside: the thread --------------------------------------------------------------

    def _run(self) -> None:
        while True:
            text = self._next()
            if not self._write(text):
                self._miss(text.count(b"\n"))
            self._confess()

    def _next(self) -> bytes:
        with self._changed:
            self._is_writing = False
            self._changed.notify_all()
            while not self._texts:
                self._changed.wait()
            self._is_writing = True
            text = self._texts.popleft()
            self._bytes -= len(text)
            return text

    def _miss(self, lines: int) -> None:
        with self._changed:
            self._left_out += lines

    def _confess(self) -> None:
        """Once all is read that was kept, say what was not. If that cannot be written (a full
        disk), it is said after the next line that can."""
        with self._changed:
            if self._texts or not self._left_out:
                return
            count, self._left_out, self._is_full = self._left_out, 0, False
        if not self._write(self._lost(count).encode()):
            self._miss(count)

    def _write(self, data: bytes) -> bool:
        view = memoryview(data)
        try:
            while view:
                try:
                    view = view[os.write(self._fd, view) :]
                except BlockingIOError:  # somebody who shares it has made it so
                    poll = select.poll()
                    poll.register(self._fd, select.POLLOUT)
                    poll.poll()
        except OSError:
            return False
        return True


class LogStream(io.TextIOBase):
    """A LogWriter in the place of sys.stderr."""

    def __init__(self, fd: int, writer: LogWriter) -> None:
        self._fd = fd
        self._writer = writer

    def write(self, text: str) -> int:
        self._writer.put(text)
        return len(text)

    def writable(self) -> bool:
        return True

    def fileno(self) -> int:
        return self._fd

    def isatty(self) -> bool:
        return os.isatty(self._fd)


def never_wait_for_stderr(lost: Callable[[int], str]) -> None:
    """From now on nothing in this process that writes to `sys.stderr` (the log, a library's
    warning, the traceback of a crash) waits for who reads it; the end waits a second at most."""
    try:
        fd = sys.stderr.fileno()
    except (AttributeError, OSError):  # there is none, or it is no file
        return
    with suppress(OSError, ValueError):
        sys.stderr.flush()
    writer = LogWriter(fd, lost)
    sys.stderr = LogStream(fd, writer)
    atexit.register(writer.flush, LAST_WORDS_SECONDS)
