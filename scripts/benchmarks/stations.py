"""`scripts/bench stations`: what does each station of the data plane cost?

The data plane's own calls, one by one, over a real TAP and real sockets of a network namespace
of its own: a TCP super-frame of 64 KiB that becomes a train of datagrams, and small frames.
Medians.
"""

from __future__ import annotations

import argparse
import ctypes
import os
import socket
import statistics
import struct
import sys
import time
from collections.abc import Callable

from scripts.benchmarks.tables import machine, markdown
from weave_py.crypto.suites import Suite
from weave_py.datapath.gather import Gatherer
from weave_py.datapath.parity import parity
from weave_py.datapath.train import TrainMaker
from weave_py.datapath.udp_sender import UdpSender
from weave_py.host.netlink import Netlink
from weave_py.host.sysctl import require_sysctl
from weave_py.host.tap import Tap, open_tap
from weave_py.host.udp import open_udp
from weave_py.link.egress import Egress, NextHop
from weave_py.link.sealing import Opener, Sealer
from weave_py.model.names import Endpoint, PeerName
from weave_py.wire.sleeve import HEADER_BYTES, TAG_BYTES

_CLONE_NEWNET = 0x40000000  # linux/sched.h
_SOL_PACKET, _PACKET_VNET_HDR = 263, 15  # linux/socket.h, if_packet.h
_DEVICE = "bench0"
DATAGRAM = 1472
SEGMENT = 1448
SUPER_PAYLOAD = 43 * SEGMENT
SMALL = 114  # bytes of a ping's frame, with the 16 bytes in front
KEY = bytes(32)


def main(argv: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="scripts/bench stations", description=__doc__)
    parser.add_argument("--rounds", type=int, default=2000, help="medians are of this many [2000]")
    parser.add_argument("--quick", action="store_true", help="few rounds: does it work?")
    options = parser.parse_args(argv)
    rounds = 100 if options.quick else options.rounds
    _own_namespace()
    about = machine()
    print(f"{about['cpus']} × {about['cpu']}, {rounds} rounds, µs\n")
    with Netlink() as netlink, open_tap(_DEVICE) as tap:
        netlink.set_up("lo")
        require_sysctl(f"ipv6/conf/{_DEVICE}/disable_ipv6", 1)
        netlink.set_up(_DEVICE)
        print(_table(tap, rounds))
    return 0


def _own_namespace() -> None:
    """This process, from here on, in a network of its own: it goes away with us."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.unshare(_CLONE_NEWNET):
        sys.exit(f"scripts/bench: no network namespace: {os.strerror(ctypes.get_errno())}")


def _table(tap: Tap, rounds: int) -> str:
    large, small = _Stations(tap, rounds, _super_frame()), _Stations(tap, rounds, _small_frame())
    rows = [
        [name, f"{a:.1f}", f"{b:.1f}"]
        for (name, a), (_, b) in zip(large.measure(), small.measure(), strict=True)
    ]
    return markdown(["station", "super-frame, 62 KB", "small frame, 98 B"], rows)


class _Stations:
    """One frame's way, step by step."""

    def __init__(self, tap: Tap, rounds: int, frame: bytes) -> None:
        self._tap = tap
        self._rounds = rounds
        self._frame = frame
        self._size = len(frame) + 6  # its header is 10 bytes here, 16 on the TAP
        self._trains = TrainMaker()

    def measure(self) -> list[tuple[str, float]]:
        found: list[tuple[str, float]] = []
        with socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0) as feeder:
            feeder.setsockopt(_SOL_PACKET, _PACKET_VNET_HDR, 1)
            feeder.bind((_DEVICE, 0x0800))
            plain = self._trains.plain
            read = self._time(
                lambda: os.readv(self._tap.fd, (plain[:65_600],)),
                lambda: feeder.send(self._frame),
            )
            found.append(("read from the TAP", read))
        plain[: self._size] = bytes(16) + bytes(self._size - 16)
        for suite in Suite:
            found.append((f"seal, {suite.text}, and cut", self._seal(suite)))
        found.append(("parity (where datagrams get lost)", self._parity()))
        found += self._wire()
        found.append(("write to the TAP", self._time(self._write())))
        return found

    def _egress(self, suite: Suite, to: Endpoint) -> Egress:
        egress = Egress(PeerName(bytes(6)))
        egress.sealer = Sealer(suite, KEY, 1000)
        egress.use(NextHop(to, None), DATAGRAM)
        return egress

    def _seal(self, suite: Suite) -> float:
        egress = self._egress(suite, Endpoint("127.0.0.1", 1))
        return self._time(lambda: self._trains.seal(egress, 0, 0, self._size))

    def _parity(self) -> float:
        if self._size <= DATAGRAM:
            return 0.0
        return self._time(lambda: parity(self._trains.plain[: self._size], DATAGRAM - HEADER_BYTES))

    def _wire(self) -> list[tuple[str, float]]:
        (sender,), (receiver,) = open_udp("127.0.0.1", 0), open_udp("127.0.0.1", 0)
        try:
            to = Endpoint("127.0.0.1", receiver.sock.getsockname()[1])
            sockets = UdpSender([sender])
            egress = self._egress(Suite.AES_256_GCM, to)
            opener = Opener(Suite.AES_256_GCM, KEY)
            views, size, count = self._trains.seal(egress, 0, 0, self._size)
            buffer = memoryview(bytearray(65_536))

            def receive() -> int:
                return receiver.sock.recvmsg_into((buffer,), 64)[0]

            def send() -> None:
                sockets.send(to, views, size, count)

            def drained() -> None:
                try:
                    while receive():
                        pass
                except BlockingIOError:
                    pass

            sending = self._time(send, drained)
            drained()
            receiving = self._time(receive, send)

            def fresh() -> None:
                nonlocal views
                views, _, _ = self._trains.seal(egress, 0, 0, self._size)
                train = b"".join(views)
                buffer[: len(train)] = train

            plain = memoryview(bytearray(65_536))
            gatherer = Gatherer(buffer)

            def opened() -> None:
                sealed = gatherer.gather(
                    HEADER_BYTES, size, size - HEADER_BYTES, count, self._size + TAG_BYTES
                )
                counter = egress.sealer.counter if egress.sealer else 0
                opener.open_untrusted(0, counter, sealed, plain[: len(sealed) - 16])

            opening = self._time(opened, fresh)
        finally:
            sender.close()
            receiver.close()
        return [
            ("send the train", sending),
            ("receive it", receiving),
            ("gather and open, aes-256-gcm", opening),
        ]

    def _write(self) -> Callable[[], int]:
        frame = self._frame[:10] + bytes(6) + self._frame[10:]
        return lambda: os.write(self._tap.fd, frame)

    def _time(
        self, step: Callable[[], object], before: Callable[[], object] = lambda: None
    ) -> float:
        """Median of the step alone, µs."""
        clock, samples = time.perf_counter, []
        for _ in range(self._rounds):
            before()
            start = clock()
            step()
            samples.append(clock() - start)
        return statistics.median(samples) * 1e6


def _super_frame() -> bytes:
    """TCP over IPv4 with 43 segments left to cut, behind its virtio-net header."""
    tcp = struct.pack(">HHIIBBHHH", 1, 2, 3, 4, 0x50, 0x10, 512, 0, 0)
    length = 40 + SUPER_PAYLOAD
    ip = struct.pack(">BBHHHBBH4s4s", 0x45, 0, length, 1, 0x4000, 64, 6, 0, bytes(4), b"\x0a\0\0\1")
    vnet = struct.pack("<BBHHHH", 1, 1, 54, SEGMENT, 34, 16)
    return vnet + b"\x02abcde\x02fghij\x08\x00" + ip + tcp + bytes(SUPER_PAYLOAD)


def _small_frame() -> bytes:
    return bytes(10) + b"\x02abcde\x02fghij\x08\x00" + bytes(SMALL - 16 - 14)
