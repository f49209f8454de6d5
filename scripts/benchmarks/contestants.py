"""Which tunnels are measured, and how is each brought up on an empty field?"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from scripts.benchmarks import tool
from scripts.benchmarks.field import BRIDGE, Field, Tunnel, overlay_address
from scripts.benchmarks.routers import Routers
from weave_py.config.options import MTU
from weave_py.model.errors import HostError
from weave_py.workloads.attach import GSO_MAX_BYTES

ONE_DATAGRAM = {"WEAVE_RECORD_DATAGRAMS": "1"}
"""Caps a record at one datagram: encryption packet by packet, as others do it."""

WEAVE, WEAVE_1DGRAM, VXLAN = "weave-py", "weave-py-1dgram", "vxlan"
VXLAN_MTU = 1450
FASTDP, SLEEVE, WIRE = "weave-py fastdp", "weave-py --no-fastdp", "no tunnel"
FAST_SECONDS = 15.0


@dataclass(frozen=True, slots=True)
class Contestant:
    """A tunnel to be measured."""

    name: str
    start: Callable[[Field], Tunnel]

    @property
    def is_weave(self) -> bool:
        return self.name in (WEAVE, WEAVE_1DGRAM)


def chosen(peers: Iterable[str]) -> tuple[list[Contestant], list[str]]:
    """Ours, the kernel's VXLAN and, where the tool and the packages are there, those `peers`.

    Beside them one sentence for each that is left out.
    """
    ours = [
        Contestant(WEAVE, start_weave),
        Contestant(WEAVE_1DGRAM, start_weave_one_datagram),
        Contestant(VXLAN, start_vxlan),
    ]
    wanted = [name for name in peers if name]
    if not wanted:
        return ours, []
    try:
        known = tool.guests(tool.load(), wanted)
    except HostError as error:
        return ours, [f"{', '.join(wanted)} left out: {error}"]
    left_out = [
        f"{guest.name} left out: not installed; run: apt-get install {' '.join(guest.missing)}"
        for guest in known
        if guest.missing
    ]
    present = [Contestant(guest.name, guest.start) for guest in known if not guest.missing]
    return [*ours, *present], left_out


def start_weave(field: Field) -> Tunnel:
    return _weave(field, {})


def start_weave_one_datagram(field: Field) -> Tunnel:
    return _weave(field, ONE_DATAGRAM)


def start_vxlan(field: Field) -> Tunnel:
    """The kernel's VXLAN between h1 and h2, made by hand: no encryption, no process."""
    field.plug(VXLAN_MTU)
    return _vxlan(field, VXLAN_MTU)


def start_like_vxlan(field: Field) -> Tunnel:
    """The same, with the bridge, the MTU and the bursts of a weave-py network."""
    field.plug(MTU.default, gso_max_size=GSO_MAX_BYTES)
    return _vxlan(field, MTU.default)


def start_like_wire(field: Field) -> Tunnel:
    """The bridges on the wire, without a tunnel: what the load itself costs."""
    field.plug(MTU.default, gso_max_size=GSO_MAX_BYTES)
    started = time.monotonic()
    field.join_wire()
    return Tunnel("c1", "c2", overlay_address("h2"), started)


def start_open_sleeve(field: Field) -> Tunnel:
    """weave-py without a password, kept off the fast datapath."""
    return _weave_on(Routers(field, password=None), "direct")


def start_fast(field: Field) -> Tunnel:
    """weave-py without a password, on the fast datapath."""
    return _weave_on(Routers(field, password=None, fastdp=True), "fastdp")


def _vxlan(field: Field, mtu: int) -> Tunnel:
    started = time.monotonic()
    for host, other in (("h1", "h2"), ("h2", "h1")):
        field.ip(
            host,
            f"link add name vx0 mtu {mtu} type vxlan id 42 dstport 4789 "
            f"local {field.underlay(host, other)} remote {field.underlay(other, host)}",
            f"link set dev vx0 master {BRIDGE} up",
        )
    return Tunnel("c1", "c2", overlay_address("h2"), started)


def _weave(field: Field, environment: dict[str, str]) -> Tunnel:
    routers = Routers(field, environment=environment)
    started = routers.launch()
    return Tunnel("c1", "c2", overlay_address("h2"), started, routers.processes)


def _weave_on(routers: Routers, kind: str) -> Tunnel:
    """Routers of h1 and h2 on the kind of path that they are to be measured on."""
    wanted = {"h1": {"h2": kind}, "h2": {"h1": kind}}

    def check() -> None:
        kinds = {name: routers.path_kinds(name) for name in wanted}
        if kinds != wanted:
            raise HostError(f"frames do not go the way to be measured ({kind}) but: {kinds}")

    started = routers.launch()
    routers.wait(FAST_SECONDS, f"on {kind}", lambda name: routers.path_kinds(name) == wanted[name])
    return Tunnel("c1", "c2", overlay_address("h2"), started, routers.processes, check=check)
