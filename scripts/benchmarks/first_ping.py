"""When does the first ping get through? Run inside a namespace, as a script.

`python -I -S first_ping.py ADDRESS SECONDS` sends an echo request every 10 ms and prints the time
(CLOCK_MONOTONIC, which all processes of a machine share) of the first answer; status 1 if there
is none. `ping` will not do: it gives up at the first "unreachable".
"""

import contextlib
import os
import select
import socket
import struct
import sys
import time

EVERY_SECONDS = 0.01
ECHO_REPLY, ECHO_REQUEST = 0, 8


def request(identity: int, sequence: int) -> bytes:
    """An ICMP echo request of 64 bytes (RFC 792) with its checksum (RFC 1071)."""
    body = bytes(56)
    words = struct.unpack("!4H", struct.pack("!BBHHH", ECHO_REQUEST, 0, 0, identity, sequence))
    total = sum(words)
    total = (total & 0xFFFF) + (total >> 16)
    total = (total & 0xFFFF) + (total >> 16)
    return struct.pack("!BBHHH", ECHO_REQUEST, 0, ~total & 0xFFFF, identity, sequence) + body


def is_reply(packet: bytes, identity: int) -> bool:
    start = (packet[0] & 15) * 4
    kind, _, _, found = struct.unpack_from("!BBHH", packet, start)
    return bool(kind == ECHO_REPLY and found == identity)


def main(argv: list[str]) -> int:
    address, seconds = argv[0], float(argv[1])
    identity, sequence = os.getpid() & 0xFFFF, 0
    end = time.monotonic() + seconds
    with socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP) as raw:
        raw.setblocking(False)
        while (now := time.monotonic()) < end:
            sequence = (sequence + 1) & 0xFFFF
            with contextlib.suppress(OSError):  # no route yet, neighbour not found: ask again
                raw.sendto(request(identity, sequence), (address, 0))
            until = now + EVERY_SECONDS
            while (left := until - time.monotonic()) > 0:
                if not select.select([raw], [], [], left)[0]:
                    continue
                try:
                    packet, (source, _) = raw.recvfrom(2048)
                except OSError:
                    continue
                if source == address and len(packet) >= 28 and is_reply(packet, identity):
                    print(f"{time.monotonic():.6f}")
                    return 0
    return 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
