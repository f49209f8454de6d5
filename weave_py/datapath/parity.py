"""How is one lost datagram of a train made good? Forward error correction: the xor of them all.

Integers of any length are what Python computes exclusive ors with fastest: about 1 µs per datagram
of 1,500 bytes.
"""

from __future__ import annotations


def parity(record: memoryview | bytearray, body_bytes: int) -> int:
    """The exclusive or of the record's segments of `body_bytes` each (the last may be shorter), as
    a little-endian integer."""
    value = 0
    for at in range(0, len(record), body_bytes):
        value ^= int.from_bytes(record[at : at + body_bytes], "little")
    return value
