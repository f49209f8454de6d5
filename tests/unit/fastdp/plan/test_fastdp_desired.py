"""Do desired ports become the wanted state?"""

from __future__ import annotations

import ipaddress

import pytest

from fastdp.plan.desired import TAP_QUEUE_FRAMES, is_usable, plan
from fastdp.plan.state import (
    PROBE_TARGET,
    Device,
    KernelState,
    Port,
    Remote,
    TapFilters,
    TapLink,
    VxlanLink,
    alias_of,
    peer_of,
)
from weave_py.model.fast import DesiredPort, DesiredVxlan, FastRemote
from weave_py.model.names import PeerName
from weave_py.wire import fast_probe
from weave_py.wire.fast_probe import FastProbe

PEER = PeerName(bytes.fromhex("8a3e00112233"))
TAP = TapLink(False, 1500, 1000, None, TapFilters.NONE)
VXLAN = VxlanLink(
    7000,
    4789,
    False,
    "10.0.0.1",
    (Remote("10.0.0.2", 4789, 7001),),
    True,
    1376,
    Port(True, True),
    True,
    (),
)
REMOTE = FastRemote("10.0.0.1", "10.0.0.2", 4789, 7001)


def desired(
    remote: FastRemote | None = REMOTE, through: bool = False, ipv6: bool = False
) -> DesiredPort:
    return DesiredPort(PEER, DesiredVxlan(7000, ipv6, remote, through))


def test_devices_are_called_by_their_peer() -> None:
    assert Device.TAP.ifname(PEER) == "wvt8a3e00112233"
    assert len(Device.VXLAN.ifname(PEER)) == 15
    for device in Device:
        assert peer_of(device.ifname(PEER)) == (device, PEER)
    for name in ("wvx", "wvx8a3e0011223", "wvx8a3e0011223g", "veth8a3e001122", "wvp8a3e00112233"):
        assert peer_of(name) is None
    assert alias_of("weave").startswith("weave-py")
    assert alias_of("weave") != alias_of("weave1")


def test_probes_go_where_filters_expect_them() -> None:
    frame = fast_probe.encode(FastProbe(1, 2, False), fast_probe.SMALL_BYTES, bytes(16))
    assert frame[:6].hex(":") == PROBE_TARGET


def test_a_wish_is_taken_over() -> None:
    wanted = plan("weave", 1376, 4789, [desired(through=True)], KernelState({PEER: TAP}))
    port = wanted.ports[PEER]
    assert (port.mtu, port.queue) == (1376, TAP_QUEUE_FRAMES)
    assert port.vxlan is not None
    assert (port.vxlan.vni, port.vxlan.udp_port, port.vxlan.ipv6) == (7000, 4789, False)
    assert port.vxlan.local == "10.0.0.1"
    assert port.vxlan.remote == Remote("10.0.0.2", 4789, 7001)
    assert port.vxlan.through


def test_a_host_that_cannot_uses_the_tap() -> None:
    wanted = plan("weave", 1376, 0, [desired(through=True)], KernelState({PEER: TAP}))
    assert wanted.ports[PEER].vxlan is None
    wanted = plan("weave", 1376, 4789, [DesiredPort(PEER, None)], KernelState({PEER: TAP}))
    assert wanted.ports[PEER].vxlan is None


def test_the_mac_is_nobody_elses() -> None:
    def mac(bridge: str, peer: PeerName) -> str:
        each = DesiredPort(peer, DesiredVxlan(7000, False, None, False))
        vxlan = plan(bridge, 1376, 4789, [each], KernelState({peer: TAP})).ports[peer].vxlan
        assert vxlan is not None
        return vxlan.mac

    macs = {
        mac(bridge, PeerName(bytes([number] * 6)))
        for bridge in ("weave", "weave1")
        for number in range(256)
    }
    assert len(macs) == 512
    for text in macs:
        first = int(text[:2], 16)
        assert first & 0x03 == 0x02, text  # local, and not a group's
    assert mac("weave", PEER) != PEER.hex(":")


def test_a_missing_tap_leaves_the_kernel_as_it_is() -> None:
    wanted = plan("weave", 1376, 4789, [desired()], KernelState({}, {PEER: VXLAN}))
    assert PEER in wanted.untouched
    assert PEER not in wanted.ports


def test_what_a_predecessor_left_is_kept_until_something_is_wished() -> None:
    actual = KernelState({PEER: TAP}, {PEER: VXLAN})
    assert plan("weave", 1376, 4789, [], actual, [PEER]).untouched == {PEER}
    wanted = plan("weave", 1376, 4789, [desired()], actual, [PEER])
    assert not wanted.untouched
    assert PEER in wanted.ports
    assert not plan("weave", 1376, 4789, [], actual).untouched


def test_addresses_have_one_form() -> None:
    remote = FastRemote("2001:DB8::0:1", "2001:db8:0:0::2", 4789, 7001)
    port = plan("weave", 1376, 4789, [desired(remote, ipv6=True)], KernelState({PEER: TAP})).ports
    vxlan = port[PEER].vxlan
    assert vxlan is not None
    assert vxlan.remote is not None
    assert vxlan.local == str(ipaddress.ip_address("2001:db8::1"))
    assert vxlan.remote.host == "2001:db8::2"


def test_a_wish_to_go_nowhere_is_refused() -> None:
    with pytest.raises(ValueError, match="to nowhere"):
        plan("weave", 1376, 4789, [desired(None, through=True)], KernelState({PEER: TAP}))


@pytest.mark.parametrize(
    ("local", "host", "ipv6"),
    [
        ("10.0.0.1", "10.0.0.2", True),
        ("10.0.0.1", "2001:db8::2", False),
        ("fe80::1%eth0", "fe80::2%eth0", True),
        ("2001:db8::1", "fe80::2", True),
        ("10.0.0.1", "host.example", False),
    ],
)
def test_what_cannot_be_used_is_as_good_as_none(local: str, host: str, ipv6: bool) -> None:
    remote = FastRemote(local, host, 4789, 7001)
    assert not is_usable(remote, ipv6)
    each = desired(remote, through=True, ipv6=ipv6)
    vxlan = plan("weave", 1376, 4789, [each], KernelState({PEER: TAP})).ports[PEER].vxlan
    assert vxlan is not None
    assert (vxlan.local, vxlan.remote, vxlan.through) == (None, None, False)
