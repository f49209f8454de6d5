"""What do all contestants stand on? Hosts, a container behind a bridge on each, one underlay.

The containers are plugged in by hand before any tunnel starts, so that the time to the first ping
is the tunnel's own, and so that every tunnel finds the same bridge.
"""

from __future__ import annotations

import subprocess
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

from weave_py.lab import commands
from weave_py.lab.namespaces import SWITCH, Lab
from weave_py.lab.topology import Topology, build, container_of, host_number

BRIDGE = "br0"
CONTAINER_PORT = "vc"
CONTAINER_DEVICE = "eth0"


class BenchLab(Lab):
    """A lab whose routers can be given settings that have no option."""

    def __init__(self, topology: Topology, *, offload: bool) -> None:
        super().__init__(topology, offload=offload)
        self.daemon_environment: dict[str, str] = {}

    def popen(
        self,
        name: str,
        argv: Sequence[str],
        *,
        log: IO[bytes] | None = None,
        extra: Mapping[str, str] | None = None,
    ) -> subprocess.Popen[bytes]:
        extra = {**self.daemon_environment, **(extra or {})}
        return super().popen(name, argv, log=log, extra=extra)


def _nothing() -> None:
    """The lab does it."""


@dataclass(frozen=True, slots=True)
class Tunnel:
    """A tunnel that was started: where to measure it, and which processes it costs."""

    source: str
    target: str
    """The namespaces (of the lab) at its ends: containers, or hosts for a tunnel of packets."""
    address: str
    """At which `source` reaches `target`."""
    started_at: float
    """time.monotonic() when its first process was started."""
    processes: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    """Host → ids of its processes there."""
    stop: Callable[[], None] = _nothing
    """End it in good order; closing its lab would only kill it."""
    check: Callable[[], None] = _nothing
    """HostError unless frames go the way that is to be measured."""

    @property
    def pids(self) -> tuple[int, ...]:
        return tuple(pid for pids in self.processes.values() for pid in pids)


class Field:
    """An open lab, with what the contestants need beyond it."""

    def __init__(self, lab: BenchLab, directory: Path) -> None:
        self.lab = lab
        self.directory = directory

    def underlay(self, host: str, other: str) -> str:
        """The underlay address at which `other` reaches `host`."""
        return self.lab.address(host, seen_from=other)

    def plug(self, mtu: int, *, gso_max_size: int | None = None) -> None:
        """A bridge on every host, and its container plugged into it as 10.98.0.i/24."""
        for host in self.lab.topology.hosts:
            container = container_of(host)
            limit = f"gso_max_size {gso_max_size}" if gso_max_size else ""
            self.ip(
                host,
                f"link add name {BRIDGE} mtu {mtu} type bridge",
                f"link set dev {BRIDGE} up",
                f"link add name {CONTAINER_PORT} mtu {mtu} type veth "
                f"peer name {CONTAINER_DEVICE} mtu {mtu} netns {self.lab.ns(container)}",
                f"link set dev {CONTAINER_PORT} {limit} master {BRIDGE} up",
            )
            self.ip(
                container,
                f"addr add {overlay_address(host)}/24 dev {CONTAINER_DEVICE}",
                f"link set dev {CONTAINER_DEVICE} {limit} up",
            )
            self.ask_arp_often(container, CONTAINER_DEVICE)

    def join_wire(self) -> None:
        """The hosts' cards become ports of their bridges: the containers share the wire itself."""
        for host in self.lab.topology.hosts:
            for wire in self.lab.topology.wires_of(host):
                device = self.lab.topology.device(host, wire)
                self.ip(host, f"link set dev {device} master {BRIDGE}")

    def ask_arp_often(self, name: str, device: str) -> None:
        """Every 50 ms, not every second: else the first ping takes a whole number of seconds."""
        setting = f"/proc/sys/net/ipv4/neigh/{device}/retrans_time_ms"
        self.lab.exec(name, ["sh", "-c", f"echo 50 >{setting}"])

    def ip(self, name: str, *lines: str) -> None:
        """Commands of `ip`, in a host or container."""
        words = ["ip", "-n", self.lab.ns(name), "-batch", "-"]
        commands.run(words, stdin="\n".join([*lines, ""]))

    def merge_on_arrival(self) -> None:
        """Let the hosts' cards join packets that arrive (GRO), as real ones do.

        Where a lab lets no burst cross a wire in one piece, nothing else would make any.
        """
        commands.require("ethtool")
        for host in self.lab.topology.hosts:
            for wire in self.lab.topology.wires_of(host):
                device = self.lab.topology.device(host, wire)
                self.lab.exec(host, ["ethtool", "-K", device, "gro", "on"])
                # A veth leaves that out for a sender that could have sent in one piece itself.
                port = self.lab.topology.switch_port(host, wire)
                self.lab.exec(SWITCH, ["ethtool", "-K", port, "tso", "off"])


def overlay_address(host: str) -> str:
    """What the container of a host (or the host, in a tunnel of packets) has in the overlay."""
    return f"10.98.0.{host_number(host)}"


@contextmanager
def open_field(kind: str, hosts: int, *, offload: bool = True) -> Iterator[Field]:
    """A lab of its own, and a directory that goes away with it.

    With `offload=False` each packet crosses the wire alone (and so can be lost alone).
    """
    lab = BenchLab(build(kind, hosts), offload=offload)
    with tempfile.TemporaryDirectory(prefix="weave-py-bench-") as name, lab:
        made = Field(lab, Path(name))
        if not offload:
            made.merge_on_arrival()
        yield made
