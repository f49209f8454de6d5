"""Who reads the log may stand still: lines are left out and counted, and nobody waits (t62)."""

from __future__ import annotations

import fcntl
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from weave_py.lab.commands import environment
from weave_py.observe.log_writer import LogWriter

LINE = "x" * 99 + "\n"
PIPE_BYTES = 4096
MAX_QUEUED = 1000
PATIENCE = 10.0


@pytest.fixture
def pipe() -> Iterator[tuple[int, int]]:
    """A small one."""
    reader, writer = os.pipe()
    fcntl.fcntl(writer, fcntl.F_SETPIPE_SZ, PIPE_BYTES)
    yield reader, writer
    os.close(reader)
    os.close(writer)


def make(fd: int) -> LogWriter:
    return LogWriter(fd, lambda count: f"left out {count}\n", MAX_QUEUED)


def read_to_confession(fd: int) -> bytes:
    """All up to the line that says how many were left out."""
    got = b""
    while b"left out" not in got or not got.endswith(b"\n"):
        got += os.read(fd, PIPE_BYTES)
    return got


def stuff(log: LogWriter, lines: int) -> None:
    """More than a pipe takes."""
    number = 0
    while number < lines and log.flush(0.01):
        log.put(f"{number:<99}\n")
        number += 1
    for rest in range(number, lines):
        log.put(f"{rest:<99}\n")


def test_lines_come_out_in_order(pipe: tuple[int, int]) -> None:
    log = make(pipe[1])
    log.put("one\n")
    log.put("two ")
    log.put("")
    log.put("three \udcff\n")
    assert log.flush(PATIENCE)
    assert os.read(pipe[0], PIPE_BYTES) == b"one\ntwo three \\udcff\n"


def test_a_reader_that_stands_still_keeps_nobody_waiting(pipe: tuple[int, int]) -> None:
    """t62: a thousand lines into a pipe for forty. All come back, or are counted, once."""
    log = make(pipe[1])
    stuff(log, 1000)
    lines = read_to_confession(pipe[0])
    kept = lines.count(b"\n") - 1
    assert kept * 100 >= PIPE_BYTES
    assert lines.splitlines()[-1] == f"left out {1000 - kept}".encode()
    assert [int(line) for line in lines.splitlines()[:-1]] == list(range(kept))

    log.put("back\n")
    assert log.flush(PATIENCE)
    assert os.read(pipe[0], PIPE_BYTES) == b"back\n"


def test_each_standstill_is_told(pipe: tuple[int, int]) -> None:
    log = make(pipe[1])
    for _ in range(2):
        stuff(log, 200)
        read_to_confession(pipe[0])


def test_a_text_longer_than_the_queue_is_not_lost(pipe: tuple[int, int]) -> None:
    """A traceback."""
    log = make(pipe[1])
    log.put(LINE * 100)
    got = b""
    while len(got) < 10_000:
        got += os.read(pipe[0], PIPE_BYTES)
    assert got == LINE.encode() * 100


def test_a_descriptor_that_somebody_made_non_blocking_is_waited_for(pipe: tuple[int, int]) -> None:
    os.set_blocking(pipe[1], False)
    log = make(pipe[1])
    log.put(LINE * 100)
    got = b""
    while len(got) < 10_000:
        got += os.read(pipe[0], PIPE_BYTES)
    assert got == LINE.encode() * 100
    assert log.flush(PATIENCE)
    assert not os.get_blocking(pipe[1])


def test_a_reader_that_has_gone_is_no_trouble() -> None:
    reader, writer = os.pipe()
    os.close(reader)
    log = make(writer)
    stuff(log, 100)
    assert log.flush(PATIENCE)
    os.close(writer)


def test_what_a_full_disk_did_not_take_is_told_when_it_does(tmp_path: Path) -> None:
    full = os.open("/dev/full", os.O_WRONLY)
    log = make(full)
    log.put("lost\n")
    log.put("lost\n")
    assert log.flush(PATIENCE)
    file = os.open(tmp_path / "log", os.O_WRONLY | os.O_CREAT)
    os.dup2(file, full)
    log.put("found\n")
    assert log.flush(PATIENCE)
    assert (tmp_path / "log").read_text() == "found\nleft out 2\n"
    os.close(full)
    os.close(file)


def test_a_line_written_while_one_is_put_does_no_harm(pipe: tuple[int, int]) -> None:
    """A destructor's error may be logged at any moment, in the same thread."""
    log = make(pipe[1])

    class Sly(str):
        def encode(self, encoding: str = "utf-8", errors: str = "strict") -> bytes:
            log.put("inner\n")
            return super().encode(encoding, errors)

    log.put(Sly("outer\n"))
    with log._changed:  # as if in the middle of it
        log.put("middle\n")
    assert log.flush(PATIENCE)
    assert os.read(pipe[0], PIPE_BYTES) == b"inner\nouter\nmiddle\n"


CRASH = """
import sys, logging
from weave_py.observe.log import take_stderr, configure, event
take_stderr()
configure("info")
for number in range({lines}):
    logging.getLogger("weave_py").warning("line of the log %d", number)
    logging.getLogger("other").warning("a library's, by the handler of last resort")
print("a print", file=sys.stderr)
raise RuntimeError("the crash")
"""


def crash(lines: int, stderr: int) -> subprocess.Popen[bytes]:
    words = [sys.executable, "-c", CRASH.format(lines=lines)]
    return subprocess.Popen(words, stderr=stderr, env=environment())


def test_the_traceback_of_a_crash_comes_out(tmp_path: Path) -> None:
    with (tmp_path / "log").open("wb") as file:
        assert crash(1, file.fileno()).wait(PATIENCE) == 1
    text = (tmp_path / "log").read_text()
    assert text.startswith("WARNING ")
    assert "last resort\na print\nTraceback" in text
    assert text.endswith("\nRuntimeError: the crash\n")


def test_a_process_whose_log_nobody_reads_ends_all_the_same(pipe: tuple[int, int]) -> None:
    """t62: not even the traceback, or what libraries write past our log, waits for ever."""
    assert crash(1000, pipe[1]).wait(PATIENCE * 3) == 1


FLOOD = """
import logging
from weave_py.observe.log import take_stderr, configure
take_stderr()
configure("info")
for number in range(9000):
    logging.getLogger("weave_py").info("line %d", number)
print("done", flush=True)
input()
"""


def test_what_was_left_out_is_a_line_of_the_log(pipe: tuple[int, int]) -> None:
    words = [sys.executable, "-c", FLOOD]
    with subprocess.Popen(
        words,
        env=environment(),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=pipe[1],
    ) as process:
        assert process.stdout is not None
        assert process.stdin is not None
        assert process.stdout.readline() == b"done\n"  # it did not wait for us
        text = read_to_confession(pipe[0])
        process.stdin.close()
        last = text.splitlines()[-1].decode()
        kept = text.count(b"\n") - 1
        pattern = rf"WARNING \S+Z log lines left out: nobody read them lines={9000 - kept}"
        assert re.fullmatch(pattern, last)
