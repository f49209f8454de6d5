"""How far apart are the sites of an internet? A cable that takes its time.

    python -m weave_py.lab.distance SECONDS DEVICE…

Whatever comes in at one device leaves at all others so much later. (Kernels without netem have
nothing of the kind.) Super-frames cross as what they are, with their headers of virtio (see
packet(7), PACKET_VNET_HDR). Ends when it is killed, or when a device is gone.
"""

from __future__ import annotations

import selectors
import socket
import sys
import time
from collections import deque
from contextlib import suppress
from typing import Final

_SOL_PACKET: Final = 263
_VNET_HEADER: Final = 15
_IGNORE_OUTGOING: Final = 23
_ALL: Final = 0x0003  # ETH_P_ALL
_MOST_BYTES: Final = 70_000
_MOST_WAITING: Final = 10_000  # frames; what comes then is lost


def opened(device: str) -> socket.socket:
    end = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
    end.setsockopt(_SOL_PACKET, _VNET_HEADER, 1)
    end.setsockopt(_SOL_PACKET, _IGNORE_OUTGOING, 1)
    end.bind((device, _ALL))
    end.setblocking(False)
    return end


def carry(seconds: float, ends: list[socket.socket]) -> None:
    waiting: deque[tuple[float, socket.socket, bytes]] = deque()
    with selectors.DefaultSelector() as selector:
        for end in ends:
            selector.register(end, selectors.EVENT_READ)
        while True:
            pause = max(waiting[0][0] - time.monotonic(), 0.0) if waiting else None
            for key, _ in selector.select(pause):
                source = next(end for end in ends if end is key.fileobj)
                with suppress(BlockingIOError):
                    while len(waiting) < _MOST_WAITING:
                        frame = source.recv(_MOST_BYTES)
                        waiting.append((time.monotonic() + seconds, source, frame))
            while waiting and waiting[0][0] <= time.monotonic():
                _, source, frame = waiting.popleft()
                for end in ends:
                    if end is not source:
                        with suppress(BlockingIOError):
                            end.send(frame)


def main(argv: list[str]) -> int:
    with suppress(OSError):
        carry(float(argv[0]), [opened(device) for device in argv[1:]])
    return 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
