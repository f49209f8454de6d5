"""What does an unprivileged user of this host say when he is taken for a router?

Run as a program (by root, in any namespace) it becomes user 65534, listens, tells where, and
answers everybody like a router; what it was asked it repeats. So it needs nothing but Python.
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

NOBODY = 65534
BODY = b'{"Router": {"Bridge": "weave", "MTU": 1376, "StateDir": "/etc"}}'


@contextmanager
def lying_server(
    kind: str,
    directory: Path,
    *,
    port: int = 0,
    accepts: bool = True,
    enter: Callable[[Sequence[str]], list[str]] = list,
) -> Iterator[tuple[str, Callable[[], str]]]:
    """Where it listens (`kind`: tcp, unix in `directory`), and what it was asked by now.

    `enter` makes a command line run elsewhere, as `Lab.enter` does.
    """
    words = [sys.executable, "-I", __file__, kind, str(directory), str(port), str(int(accepts))]
    process = subprocess.Popen(enter(words), stdout=subprocess.PIPE)
    assert process.stdout is not None
    try:
        place = process.stdout.readline().decode().strip()

        def asked() -> str:
            assert process.stdout is not None
            os.set_blocking(process.stdout.fileno(), False)
            return (process.stdout.read() or b"").decode()

        yield place, asked
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


def main(kind: str, directory: str, port: str, accepts: str) -> None:
    if kind == "unix":
        os.mkdir(f"{directory}/his")
        os.chown(f"{directory}/his", NOBODY, NOBODY)
        os.chdir(f"{directory}/his")
    os.setgroups([])
    os.setgid(NOBODY)
    os.setuid(NOBODY)
    if kind == "unix":
        server = socket.socket(socket.AF_UNIX)
        server.bind("api.sock")
        server.listen()
        print(f"{directory}/his/api.sock", flush=True)
    else:
        server = socket.create_server(("127.0.0.1", int(port)))
        print(f"127.0.0.1:{server.getsockname()[1]}", flush=True)
    while accepts == "0":
        signal.pause()
    head = f"HTTP/1.1 200 OK\r\nServer: weave-py\r\nContent-Length: {len(BODY)}\r\n\r\n".encode()
    while True:
        stream, _ = server.accept()
        with stream:
            if request := stream.recv(65536):
                print(request.decode(), flush=True)
                stream.sendall(head + BODY)


if __name__ == "__main__":
    main(*sys.argv[1:])
