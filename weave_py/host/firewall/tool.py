"""How is a command of the host's firewall run, so that it can neither stall nor flood us?"""

from __future__ import annotations

import os
import selectors
import shutil
import subprocess
import time
from collections.abc import Sequence
from typing import Final

from weave_py.model.errors import HostError

SECONDS: Final = 5.0
MOST_BYTES: Final = 4 << 20
"""Of output: ten thousand rules in one chain."""


def find(command: str) -> str | None:
    """Its path; the places of system programs count even if PATH leaves them out."""
    path = os.pathsep.join([os.environ.get("PATH", os.defpath), "/usr/sbin", "/sbin"])
    return shutil.which(command, path=path)


def run(words: Sequence[str], stdin: str = "") -> str:
    """What the command prints. HostError if it is missing, fails, takes long or prints too much.

    `stdin`: less than a pipe holds (64 KiB).
    """
    program = find(words[0])
    if program is None:
        raise HostError(f"{words[0]} is missing")
    try:
        process = subprocess.Popen(
            [program, *words[1:]],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env={**os.environ, "LC_ALL": "C"},
        )
    except OSError as error:
        raise HostError(f"{words[0]} did not run: {error.strerror}") from None
    with process:
        try:
            output, complaint = _carry(process, stdin.encode(), words[0])
            status = process.wait(SECONDS)
        except subprocess.TimeoutExpired:
            raise HostError(f"{words[0]} did not end within {SECONDS:g} s") from None
        finally:
            process.kill()
    if status != 0:
        lines = complaint.decode(errors="replace").strip().splitlines()
        why = lines[0][:200] if lines else f"exit status {status}"
        raise HostError(why if why.startswith(words[0]) else f"{words[0]}: {why}")
    return output.decode(errors="replace")


def _carry(process: subprocess.Popen[bytes], stdin: bytes, name: str) -> tuple[bytes, bytes]:
    """Feed it, and read both of its outputs to their ends."""
    assert process.stdin is not None
    assert process.stdout is not None
    assert process.stderr is not None
    try:
        process.stdin.write(stdin)
        process.stdin.close()
    except BrokenPipeError:
        pass  # it will say why
    read = {process.stdout.fileno(): bytearray(), process.stderr.fileno(): bytearray()}
    deadline = time.monotonic() + SECONDS
    with selectors.DefaultSelector() as ready:
        for fd in read:
            ready.register(fd, selectors.EVENT_READ)
        while ready.get_map():
            left = deadline - time.monotonic()
            if left <= 0:
                raise HostError(f"{name} did not end within {SECONDS:g} s")
            for key, _ in ready.select(left):
                piece = os.read(key.fd, 1 << 16)
                read[key.fd] += piece
                if not piece:
                    ready.unregister(key.fd)
            if sum(map(len, read.values())) > MOST_BYTES:
                raise HostError(f"{name} prints more than {MOST_BYTES >> 20} MiB")
    output, complaint = read.values()
    return bytes(output), bytes(complaint)
