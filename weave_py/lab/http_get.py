"""What does the router on this loopback say at a URL? Run inside a namespace, as a script.

`python -I -S http_get.py PORT PATH SECONDS` asks until there is an answer or the time is up.
Only `socket` is imported, because a lab of ten hosts starts this dozens of times.
"""

import socket
import sys
import time

EXIT_NO_ANSWER = 3


def get(port: int, path: str, seconds: float) -> tuple[int, bytes]:
    """Status and body; OSError when nothing answered in time, ValueError for no HTTP."""
    deadline = time.monotonic() + seconds
    while True:
        try:
            return _get_once(port, path, deadline)
        except ConnectionRefusedError:
            if time.monotonic() + 0.05 > deadline:
                raise
            time.sleep(0.05)


def _get_once(port: int, path: str, deadline: float) -> tuple[int, bytes]:
    left = max(deadline - time.monotonic(), 0.1)
    with socket.create_connection(("127.0.0.1", port), timeout=left) as stream:
        # HTTP/1.0: no chunks, and the end of the stream is the end of the body.
        stream.sendall(f"GET {path} HTTP/1.0\r\nHost: localhost\r\n\r\n".encode())
        answer = b""
        while piece := stream.recv(65536):
            answer += piece
    head, separator, body = answer.partition(b"\r\n\r\n")
    words = head.split(maxsplit=2)
    if not separator or len(words) < 2 or not words[1].isdigit():
        raise ValueError("that was not an HTTP answer")
    return int(words[1]), body


def main(argv: list[str]) -> int:
    """Body to stdout; 0 for status 200, 1 for another, `EXIT_NO_ANSWER` for none."""
    port, path, seconds = argv
    try:
        status, body = get(int(port), path, float(seconds))
    except (OSError, ValueError) as error:
        print(error, file=sys.stderr)
        return EXIT_NO_ANSWER
    sys.stdout.buffer.write(body)
    sys.stdout.buffer.flush()
    if status != 200:
        print(f"HTTP status {status}", file=sys.stderr)
    return 0 if status == 200 else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
