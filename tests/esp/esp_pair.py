"""Two hosts whose VXLAN devices send to each other, and what puts their ESP into the kernel."""

from __future__ import annotations

import struct
from collections.abc import Callable
from dataclasses import replace
from ipaddress import ip_address
from typing import TypeVar

from fastdp.esp.desired import EspNetwork, Target, newest_inbound, plan, removal
from fastdp.esp.keys import EpochKeys, esp_key
from fastdp.esp.steps import EspKeeper
from fastdp.esp.values import Operation, XfrmTables
from fastdp.kernel.xfrm import Xfrm
from tests.kit.inside import inside
from weave_py.lab.namespaces import Lab
from weave_py.model.fast import DesiredEsp, FastRemote
from weave_py.model.names import PeerName

T = TypeVar("T")
INNER = {"h1": "10.77.0.1", "h2": "10.77.0.2"}
PORTS = {"h1": 4789, "h2": 4790}
VNIS = {"h1": 0x111111, "h2": 0x222222}
OTHER = {"h1": "h2", "h2": "h1"}
DEVICE = "vx"


class EspPair:
    """Both ends. Time is a number that the test counts."""

    def __init__(self, lab: Lab, *, ipv6: bool) -> None:
        self.lab, self.now = lab, 0.0
        self.keepers = {host: EspKeeper() for host in INNER}
        self.address = {h: lab.address(h, OTHER[h], ipv6=ipv6) for h in INNER}
        self.epochs: dict[str, list[EpochKeys]] = {host: [] for host in INNER}
        self.networks = {host: EspNetwork(PORTS[host], has_secret=True) for host in INNER}
        self.remotes = {
            h: FastRemote(
                self.address[h],
                self.address[OTHER[h]],
                PORTS[OTHER[h]],
                VNIS[OTHER[h]],
                DesiredEsp((), None),
            )
            for h in INNER
        }
        for host in INNER:
            self._add_device(host, ipv6)

    def close(self) -> None:
        for host in INNER:
            self.lab.exec(host, ["ip", "link", "del", DEVICE], check=False)
            self.do(host, _remove_all)

    def do(self, host: str, action: Callable[[Xfrm], T]) -> T:
        """Call `action` with a netlink socket of the host."""

        def work() -> T:
            with Xfrm() as xfrm:
                return action(xfrm)

        return inside(self.lab, host, work)

    def tables(self, host: str) -> XfrmTables:
        return self.do(host, Xfrm.read)

    def step(self, host: str) -> list[Operation]:
        """One round of the host's reconciler; what it did."""

        def work(xfrm: Xfrm) -> list[Operation]:
            wanted = plan(self.networks[host], {PeerName(b"peer--"): self.remotes[host]})
            target = Target(ip_address(self.address[OTHER[host]]), PORTS[OTHER[host]])
            steps = self.keepers[host].steps(wanted, xfrm.read(), [target], self.now)
            for operation in (*steps.before, *steps.after):
                xfrm.apply(operation)
            return [*steps.before, *steps.after]

        return self.do(host, work)

    def new_epoch(self, number: int) -> None:
        """A session has renewed its keys: both ends hold the last two epochs."""
        up, down = bytes([number, 1] * 16), bytes([number, 2] * 16)
        spis = {"h1": 0x1000_0000 + number, "h2": 0x2000_0000 + number}
        for host, send, receive in (("h1", up, down), ("h2", down, up)):
            epoch = EpochKeys(spis[host], spis[OTHER[host]], send, receive)
            self.epochs[host] = [*self.epochs[host], epoch][-2:]

    def tell(self, host: str) -> None:
        """The peer's status tells `host` which key is in the peer's kernel."""
        peer = OTHER[host]
        installed = newest_inbound(self.remotes[peer], self.tables(peer))
        epochs = self.epochs[host]
        inbound = tuple(esp_key(epoch.receive, epoch.ours) for epoch in epochs)
        agreed = [esp_key(e.send, e.theirs) for e in epochs if e.theirs == installed]
        desired = DesiredEsp(inbound, agreed[0] if agreed else None)
        self.remotes[host] = replace(self.remotes[host], esp=desired)

    def settle(self) -> None:
        """Statuses go to and fro until nothing changes."""
        for _ in range(3):
            for host in INNER:
                self.tell(host)
                self.step(host)

    def forget_previous(self) -> None:
        """The sessions' grace is over, and the keepers', with nothing sent under old keys."""
        self.epochs = {host: epochs[-1:] for host, epochs in self.epochs.items()}
        self.settle()
        self.now += 20.0
        self.settle()

    def ping(self, *options: str, source: str = "h1") -> bool:
        target = INNER[OTHER[source]]
        argv = ["ping", "-n", "-q", "-c", "3", "-i", "0.2", "-W", "1", *options, target]
        return self.lab.exec(source, argv, check=False).returncode == 0

    def vxlan_packet(self, vni: int, text: bytes) -> bytes:
        """What an injector would send: VXLAN around a broadcast frame (RFC 7348 §5)."""
        frame = b"\xff" * 6 + b"\x02injec" + struct.pack("!H", 0x88B6) + text
        return struct.pack("!II", 0x0800_0000, vni << 8) + frame.ljust(60, b"\0")

    def _add_device(self, host: str, ipv6: bool) -> None:
        peer = OTHER[host]
        local, remote = self.address[host], self.address[peer]
        add = f"link add {DEVICE} mtu 1500 type vxlan id {VNIS[host]} local {local}"
        options = f"dstport {PORTS[host]} nolearning df set"
        options += " udp6zerocsumtx udp6zerocsumrx" if ipv6 else " noudpcsum"
        self._ip(host, f"{add} {options}")
        entry = f"dev {DEVICE} dst {remote} vni {VNIS[peer]} port {PORTS[peer]}"
        self.lab.exec(host, ["bridge", "fdb", "append", "00:00:00:00:00:00", *entry.split()])
        # Or it would speak of itself now and then, and be counted.
        quiet = f"echo 1 >/proc/sys/net/ipv6/conf/{DEVICE}/disable_ipv6"
        self.lab.exec(host, ["sh", "-c", quiet])
        self._ip(host, f"addr add {INNER[host]}/24 dev {DEVICE}")
        self._ip(host, f"link set {DEVICE} up")

    def _ip(self, host: str, line: str) -> None:
        self.lab.exec(host, ["ip", *line.split()])


def _remove_all(xfrm: Xfrm) -> None:
    for operation in removal(xfrm.read()):
        xfrm.apply(operation)
