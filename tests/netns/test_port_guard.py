"""What passes from port to port of a bridge, and what does it learn of one? (F6, F12; without
routers: whoever is behind a peer's port need not hold to any rule.)"""

from __future__ import annotations

import os
import select
import struct
import subprocess
import time
from collections.abc import Iterator
from contextlib import ExitStack
from itertools import count

import pytest

from tests.kit import container_frames as frames
from weave_py.host.firewall import guards, port_guard
from weave_py.host.netlink import Netlink
from weave_py.host.tap import VNET_HEADER_BYTES, Tap, open_tap
from weave_py.model.marks import TAP_PREFIX, VETH_PREFIX, VXLAN_PREFIX
from weave_py.workloads.netns import Namespace, resolve_namespace, run_inside

BRIDGE, MAC = "weave", "8a:3e:00:00:00:01"
SENDER = b"\x02\x00\x00\x00\x00\x01"
SECONDS = 0.2
_numbers = count()

GUARDED = (f"{TAP_PREFIX}0200000000ff", f"{VXLAN_PREFIX}0200000000ff", f"{VETH_PREFIX}abc")
BY_USERS = "vnet0"


def icmp_redirect() -> bytes:
    """RFC 792, to everybody."""
    return frames.ipv4(frames.BROADCAST, "10.32.0.1", "255.255.255.255", 1, b"\x05\x01" + bytes(6))


def behind_options(frame: bytes) -> bytes:
    """The same IPv6 packet with destination options in between, as if to hide what it is."""
    start = 6 + 2
    length = int.from_bytes(frame[start + 4 : start + 6], "big") + 8
    header = frame[: start + 4] + struct.pack("!HB", length, 60) + frame[start + 7 : start + 40]
    options = frame[start + 6 : start + 7] + b"\x00\x01\x04" + bytes(4)
    return header + options + frame[start + 40 :]


OF_ROUTERS = {
    "router advertisement": frames.router_advertisement(),
    "behind options": behind_options(frames.router_advertisement()),
    "with a tag": frames.tagged(frames.router_advertisement()),
    "redirect": frames.redirect(),
    "ICMP redirect": icmp_redirect(),
    "DHCP": frames.udp(frames.BROADCAST, "10.32.0.1", 67, "255.255.255.255", 68),
    "DHCPv6": frames.udp(bytes.fromhex("333300000001"), "fe80::1", 547, "ff02::1", 546),
}
OF_OTHERS = {
    "DHCP question": frames.udp(frames.BROADCAST, "0.0.0.0", 68, "255.255.255.255", 67),
    "VLAN 5": frames.BROADCAST + b"\x81\x00\x00\x05\x08\x06" + bytes(46),
    "broadcast": frames.BROADCAST + b"\x88\xb6" + bytes(46),
}


@pytest.fixture
def host() -> Iterator[Namespace]:
    name = f"wppg-{os.getpid()}-{next(_numbers)}"
    subprocess.run(["ip", "netns", "add", name], check=True)
    try:
        yield resolve_namespace(name)
    finally:
        subprocess.run(["ip", "netns", "delete", name], check=True)


class Switch:
    """A bridge with these ports, and one more that hears what they say."""

    def __init__(self, stack: ExitStack, ports: tuple[str, ...]) -> None:
        self.netlink = stack.enter_context(Netlink())
        self.netlink.ensure_bridge(BRIDGE, MAC, 1400)
        self._taps: dict[str, Tap] = {}
        for name in ("hearer", *ports):
            self._taps[name] = stack.enter_context(open_tap(name))
            self.netlink.plug_port(name, BRIDGE, mtu=1400, isolated=False)
            assert self.netlink.wait_forwarding(name, 2)

    def send(self, port: str, frame: bytes, mac: bytes = SENDER) -> None:
        whole = frame[:6] + mac + frame[6:]
        os.write(self._taps[port].fd, bytes(VNET_HEADER_BYTES) + whole)

    def passes(self, port: str, frame: bytes) -> bool:
        fd = self._taps["hearer"].fd
        while select.select([fd], [], [], 0)[0]:
            os.read(fd, 4096)
        self.send(port, frame)
        deadline = time.monotonic() + SECONDS
        while (left := deadline - time.monotonic()) > 0 and select.select([fd], [], [], left)[0]:
            if frame[6:] in os.read(fd, 4096):
                return True
        return False


@pytest.mark.parametrize("allow_routers", [False, True])
def test_who_may_speak_as_a_router(host: Namespace, allow_routers: bool) -> None:
    """F12: from containers and peers only where that was allowed; users' ports are theirs."""

    def work() -> dict[tuple[str, str], bool]:
        with ExitStack() as stack:
            switch = Switch(stack, (*GUARDED, BY_USERS))
            port_guard.port_guard(BRIDGE, allow_routers).apply()
            return {
                (port, what): switch.passes(port, frame)
                for port in (*GUARDED, BY_USERS)
                for what, frame in (OF_ROUTERS | OF_OTHERS).items()
            }

    found = run_inside(host, lambda: work())
    expected = {
        (port, what): port == BY_USERS or allow_routers or what in OF_OTHERS
        for port in (*GUARDED, BY_USERS)
        for what in OF_ROUTERS | OF_OTHERS
    }
    assert found == expected


def test_a_peer_that_floods_is_cut_off_and_nobody_else(host: Namespace) -> None:
    """F6: 106,805 entries on the other host."""
    peer, _, container = GUARDED

    def work() -> tuple[int, int, bool]:
        with ExitStack() as stack:
            switch = Switch(stack, (peer, container))
            port_guard.port_guard(BRIDGE, False).apply()
            begun = time.monotonic()
            for number in range(4 * port_guard.MACS_AT_ONCE):
                mac = b"\x02\x01" + number.to_bytes(4, "big")
                switch.send(peer, OF_OTHERS["broadcast"], mac)
            allowed = port_guard.MACS_PER_SECOND * (time.monotonic() - begun + 1)
            _, learned = switch.netlink.macs(BRIDGE, 1)
            heard = switch.passes(container, OF_OTHERS["DHCP question"])
            return learned, port_guard.MACS_AT_ONCE + round(allowed), heard

    learned, most, heard = run_inside(host, work)
    assert port_guard.MACS_AT_ONCE // 2 < learned <= most
    assert heard


def test_where_too_many_flood_nobody_is_cut_off(
    host: Namespace, monkeypatch: pytest.MonkeyPatch
) -> None:
    """F6: a switch whose table is full floods; what it must not do is to stop who never flooded."""
    monkeypatch.setattr(port_guard, "MACS_AT_ONCE", 40)
    monkeypatch.setattr(port_guard, "MOST_KNOWN", 30)
    peer, _, container = GUARDED

    def work() -> int:
        with ExitStack() as stack:
            switch = Switch(stack, (peer, container))
            port_guard.port_guard(BRIDGE, False).apply()
            for number in range(35):
                switch.send(peer, OF_OTHERS["broadcast"], b"\x02\x01" + number.to_bytes(4, "big"))
            return sum(switch.passes(container, OF_OTHERS["broadcast"]) for _ in range(200))

    assert run_inside(host, work) == 200


def test_guards_go_with_their_bridge_and_leave_others_alone(host: Namespace) -> None:
    """F12: `reset`, and a router that ends as the last one."""

    def tables() -> list[str]:
        listed = subprocess.run(["nft", "list", "tables"], capture_output=True, check=True)
        return sorted(listed.stdout.decode().splitlines())

    def work() -> tuple[list[str], list[str]]:
        for bridge in (BRIDGE, "other"):
            for table in guards.guards_of(bridge, [6783], False):
                table.apply()
        guards.remove(BRIDGE)
        left = tables()
        guards.remove("other")
        guards.remove("other")
        return left, tables()

    left, after = run_inside(host, work)
    assert left == ["table bridge weave-py-other-ports", "table inet weave-py-other-host"]
    assert after == []


def test_a_guard_that_is_in_force_is_left_as_it_is(host: Namespace) -> None:
    """F12: also after frames have filled its sets and moved its counters."""

    def work() -> list[bool]:
        with ExitStack() as stack:
            switch = Switch(stack, GUARDED)
            kept = guards.guards_of(BRIDGE, [6783], False)
            first = [table.restore() for table in kept]
            for port in GUARDED:
                switch.passes(port, OF_ROUTERS["DHCP"])
            again = [table.restore() for table in kept]
            subprocess.run(["nft", "flush", "ruleset"], check=True)
            return first + again + [table.restore() for table in kept]

    assert run_inside(host, work) == [True, True, False, False, True, True]
