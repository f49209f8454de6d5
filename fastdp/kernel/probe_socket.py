"""How do probes get onto a peer's VXLAN device, and off it? One packet socket for all peers.

What it sends on a device passes the filter that lets probes through whatever else is diverted.
What comes in on a device is kept from the bridge by a filter that turns it into the loopback
device (`fastdp.kernel.devices`): there the socket hears it. Whose it is shows in the probe itself.
"""

from __future__ import annotations

import socket
from contextlib import suppress

from fastdp.plan.state import Device
from weave_py.model.errors import HostError
from weave_py.model.names import PeerName
from weave_py.wire.fast_probe import ETHERTYPE

_SOL_PACKET = 263  # linux/socket.h
_PACKET_IGNORE_OUTGOING = 23  # linux/if_packet.h
_LOOPBACK = "lo"
MAX_FRAME = 65_536
PER_TURN = 16


class ProbeSocket:
    """Sends and receives probes."""

    def __init__(self) -> None:
        """HostError when the kernel refuses."""
        kind = socket.SOCK_RAW | socket.SOCK_NONBLOCK
        try:
            self._sock = socket.socket(socket.AF_PACKET, kind, 0)
            try:
                self._sock.setsockopt(_SOL_PACKET, _PACKET_IGNORE_OUTGOING, 1)
                self._sock.bind((_LOOPBACK, ETHERTYPE))
            except BaseException:
                self._sock.close()
                raise
        except OSError as error:
            raise HostError(f"cannot open a packet socket for probes: {error.strerror}") from None

    def fileno(self) -> int:
        return self._sock.fileno()

    def close(self) -> None:
        self._sock.close()

    def send(self, peer: PeerName, frame: bytes) -> None:
        """Out of the peer's device. A probe that cannot leave is a probe that was lost."""
        with suppress(OSError):
            self._sock.sendto(frame, (Device.VXLAN.ifname(peer), ETHERTYPE))

    def receive(self) -> list[bytes]:
        """What has come, a few at a time."""
        frames: list[bytes] = []
        with suppress(OSError):
            while len(frames) < PER_TURN:
                frames.append(self._sock.recv(MAX_FRAME))
        return frames
