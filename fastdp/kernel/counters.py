"""How much has the kernel carried? The counters of peers' VXLAN devices.

One reading of /proc/net/dev (some 60 µs with 50 devices) tells of all of them; a netlink request
costs more for one. It is memory, not a disk: it never waits.
"""

from __future__ import annotations

import os
from collections.abc import Collection

from fastdp.plan.state import Device, peer_of
from weave_py.model.fast import Carried
from weave_py.model.names import PeerName

_DEVICES = "/proc/net/dev"
_CHUNK = 65_536
# Columns after the name, proc(5).
_RX_BYTES, _RX_PACKETS, _TX_BYTES, _TX_PACKETS = 0, 1, 8, 9


def read(peers: Collection[PeerName]) -> dict[PeerName, Carried]:
    """Of those peers' devices that are there. Nothing if it cannot be known now."""
    # Read often: a file object costs twice as much.
    try:
        fd = os.open(_DEVICES, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return {}  # no descriptor left: it is asked again soon, and there may be one then
    try:
        chunks = []
        while chunk := os.read(fd, _CHUNK):
            chunks.append(chunk)
    finally:
        os.close(fd)
    return parse(b"".join(chunks).decode("ascii"), peers)


def parse(text: str, peers: Collection[PeerName]) -> dict[PeerName, Carried]:
    """The same from the text of /proc/net/dev."""
    found = {}
    for line in text.splitlines():
        name, _, numbers = line.partition(":")
        whose = peer_of(name.strip())
        if whose is not None and whose[0] is Device.VXLAN and whose[1] in peers:
            column = [int(number) for number in numbers.split()]
            found[whose[1]] = Carried(
                packets_out=column[_TX_PACKETS],
                packets_in=column[_RX_PACKETS],
                bytes_out=column[_TX_BYTES],
                bytes_in=column[_RX_BYTES],
            )
    return found
