"""How does a topology become network namespaces, and how do they all go away again?

Each host, each container and the one switch of a lab is a named network namespace
(`wv<owner's pid, base 36>-h1`, `-c1`, `-sw`). A wire is a bridge in the switch with a cable to
each member. Nothing is created in the namespace we run in, so a lab cannot disturb the machine,
and deleting the namespaces deletes everything.
"""

from __future__ import annotations

import atexit
import ipaddress
import itertools
import os
import subprocess
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import IO, Self

from weave_py.lab import commands, faults, leftovers
from weave_py.lab.topology import Topology, Wire, container_of

SWITCH = "sw"
KNOWN_FROM = 16
"""A kernel has one table of neighbours for all namespaces, of 1,024 entries by default, in which
permanent ones do not count. Thirty hosts on a wire, who all talk with each other, would fill it,
and what no room is left for gets lost: on a wire with more members they know each other's MACs."""

_serial = itertools.count()


class Lab:
    """The namespaces of one topology; a context manager, cleaned up at exit in any case."""

    def __init__(
        self,
        topology: Topology,
        *,
        mtu: int = 1500,
        ipv6: bool = False,
        offload: bool = True,
        prefix: str | None = None,
    ) -> None:
        """Build nothing yet: `open` (or `with`) does.

        `mtu` is the underlay's, in bytes. `offload=False` lets no packet on a wire be larger
        than that: slower, but loss and MTU faults then hit single datagrams, as on real wires,
        where otherwise a burst crosses as one.
        """
        self.topology = topology
        self.mtu = mtu
        self.ipv6 = ipv6
        self.offload = offload
        self.prefix = leftovers.prefix(os.getpid(), next(_serial)) if prefix is None else prefix
        self._faults: list[faults.Fault] = []
        self._open = False

    # Life

    def __enter__(self) -> Self:
        return self.open()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def open(self) -> Self:
        """Create everything; HostError (and nothing left behind) if the kernel refuses."""
        commands.require("ip")
        self._open = True
        atexit.register(self.close)
        try:
            names = [*self.topology.hosts, *self.topology.containers, SWITCH]
            _ip_batch(f"netns add {self.ns(name)}" for name in names)
            _ip_batch(self._switch_lines(), self.ns(SWITCH))
            for host in self.topology.hosts:
                # The machine may forward (Docker makes it), and new namespaces inherit that:
                # a host of ours must not become a router by accident.
                self.exec(host, ["sh", "-c", "echo 0 >/proc/sys/net/ipv4/ip_forward"])
                _ip_batch(self._host_lines(host), self.ns(host))
                _ip_batch(["link set dev lo up"], self.ns(container_of(host)))
        except BaseException:
            self.close()
            raise
        return self

    def close(self) -> None:
        """Stop what still runs inside, delete every namespace. May be called again and again."""
        if self._open:
            self.clean_stale(self.prefix)
            self._open = False
            atexit.unregister(self.close)

    @staticmethod
    def clean_stale(prefix: str | None = None) -> tuple[str, ...]:
        """Delete the namespaces of one lab, or (None) of all labs whose process is gone.

        Processes in them are killed first. Returns the names of what was deleted.
        """
        return leftovers.sweep(prefix)

    def _switch_lines(self) -> list[str]:
        lines = []
        for wire in self.topology.wires:
            bridge = f"wire{wire.number}"
            lines += [
                f"link add name {bridge} mtu {self.mtu} type bridge mcast_snooping 0",
                f"link set dev {bridge} up",
            ]
            for host in wire.members:
                port = self.topology.switch_port(host, wire)
                device = self.topology.device(host, wire)
                lines += [
                    f"link add name {port} mtu {self.mtu} type veth "
                    f"peer name {device} address {self._mac(host, wire)} mtu {self.mtu} "
                    f"netns {self.ns(host)}",
                    f"link set dev {port} master {bridge} up",
                ]
        return lines

    def _host_lines(self, host: str) -> list[str]:
        lines = ["link set dev lo up"]
        for wire in self.topology.wires_of(host):
            device = self.topology.device(host, wire)
            lines.append(f"addr add {self.topology.address(host, wire)}/24 dev {device}")
            if self.ipv6:
                # nodad: usable at once, and nobody else is on the wire.
                address = self.topology.address(host, wire, ipv6=True)
                lines.append(f"addr add {address}/64 dev {device} nodad")
            if not self.offload:
                lines.append(f"link set dev {device} gso_max_segs 1")
            lines.append(f"link set dev {device} up")
            if len(wire.members) > KNOWN_FROM:
                lines += [
                    f"neigh replace {self.topology.address(other, wire)} "
                    f"lladdr {self._mac(other, wire)} dev {device} nud permanent"
                    for other in wire.members
                    if other != host
                ]
        return lines

    def _mac(self, host: str, wire: Wire) -> str:
        """Of a host's device: `02:57`, then the bytes of its IPv4 address."""
        address = ipaddress.IPv4Address(self.topology.address(host, wire))
        return (b"\x02\x57" + address.packed).hex(":")

    # Use

    def drawing(self) -> str:
        """One line for people."""
        return f"{self.topology.kind}: {self.topology.drawing()}"

    def ns(self, name: str) -> str:
        """The name of the namespace of a host, a container or the switch, as `ip netns` has it."""
        return self.prefix + name

    def path(self, name: str) -> Path:
        return leftovers.NETNS_DIRECTORY / self.ns(name)

    def enter(self, name: str, argv: Sequence[str]) -> list[str]:
        """The command line that runs `argv` in there (and becomes it: same process id)."""
        return ["ip", "netns", "exec", self.ns(name), *argv]

    def exec(
        self,
        name: str,
        argv: Sequence[str],
        *,
        stdin: str | None = None,
        timeout: float = 30.0,
        check: bool = True,
        extra: Mapping[str, str] | None = None,
    ) -> subprocess.CompletedProcess[str]:
        """Run a command in a host or container to its end; see `commands.run`."""
        inside = self.enter(name, argv)
        return commands.run(inside, stdin=stdin, timeout=timeout, check=check, extra=extra)

    def popen(
        self,
        name: str,
        argv: Sequence[str],
        *,
        log: IO[bytes] | None = None,
        extra: Mapping[str, str] | None = None,
    ) -> subprocess.Popen[bytes]:
        """Start a command in a host or container; output goes to `log`, or nowhere.

        It gets a session of its own, so that a Ctrl-C at the terminal reaches only us, and we
        decide who stops when.
        """
        return subprocess.Popen(
            self.enter(name, argv),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL if log is None else log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            env=commands.environment(extra),
        )

    def address(self, host: str, seen_from: str, *, ipv6: bool = False) -> str:
        """The underlay address at which `seen_from` reaches `host`; ValueError if it does not."""
        return self.topology.address(host, self.topology.wire_between(host, seen_from), ipv6=ipv6)

    # Faults

    def block(
        self,
        source: str,
        target: str,
        *,
        protocol: str | None = None,
        port: int | None = None,
        both_ways: bool = True,
    ) -> tuple[faults.Fault, ...]:
        """Drop silently what `source` sends to `target` (all, a protocol, or one port of it)."""
        return self._break(source, target, faults.blocked(protocol, port), both_ways)

    def lose(
        self, source: str, target: str, *, percent: float, both_ways: bool = True
    ) -> tuple[faults.Fault, ...]:
        """Drop a random share of the frames."""
        return self._break(source, target, faults.lossy(percent), both_ways)

    def shrink(
        self, source: str, target: str, *, mtu: int, both_ways: bool = True
    ) -> tuple[faults.Fault, ...]:
        """Drop IP packets above `mtu` bytes and tell nobody; a lab with `offload=False` only."""
        if self.offload:
            raise ValueError("an MTU fault needs a lab with offload=False: bursts cross as one")
        return self._break(source, target, faults.too_big(mtu), both_ways)

    def heal(self, *broken: faults.Fault) -> None:
        """Take back these faults, or all of them. Cut wires stay cut: see `mend`."""
        for fault in broken or tuple(self._faults):
            self._faults.remove(fault)
        self._load_faults()

    def cut(self, host: str, other: str) -> None:
        """Pull the cable of `host` out of the wire it shares with `other`; it sees the loss."""
        self._set_port(host, self.topology.wire_between(host, other), "down")

    def mend(self, host: str, other: str) -> None:
        """Put the cable back."""
        self._set_port(host, self.topology.wire_between(host, other), "up")

    def _set_port(self, host: str, wire: Wire, state: str) -> None:
        port = self.topology.switch_port(host, wire)
        commands.run(["ip", "-n", self.ns(SWITCH), "link", "set", "dev", port, state])

    def _break(
        self, source: str, target: str, matches: tuple[str, ...], both_ways: bool
    ) -> tuple[faults.Fault, ...]:
        commands.require("nft")
        wire = self.topology.wire_between(source, target)
        ways = [(source, target), (target, source)] if both_ways else [(source, target)]
        made = tuple(
            faults.Fault(
                self.topology.switch_port(a, wire), self.topology.switch_port(b, wire), matches
            )
            for a, b in ways
        )
        self._faults += made
        self._load_faults()
        return made

    def _load_faults(self) -> None:
        self.exec(SWITCH, ["nft", "-f", "-"], stdin=faults.script(self._faults))


def _ip_batch(lines: Iterable[str], namespace: str | None = None) -> None:
    where = [] if namespace is None else ["-n", namespace]
    commands.run(["ip", *where, "-batch", "-"], stdin="\n".join([*lines, ""]))
