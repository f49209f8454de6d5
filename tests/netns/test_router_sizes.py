"""Do large packets pass, whatever the underlay takes, and is nothing ever cut by IP?

The inner network promises 1,500 bytes; the underlay takes 1,500, less than that, or is IPv6. What
is too large for a datagram travels in several: cut by us, never by the kernel.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from functools import partial
from typing import Any, NamedTuple

import pytest

from tests.kit.inside import tcp_transfer
from tests.kit.routers import SLEEVE_PORT, bring_up, paths
from tests.kit.waiting import until
from tests.kit.wiretap import Wiretap, datagrams, packet_of
from weave_py.lab.hosts import Host, LaunchOptions
from weave_py.lab.mesh import LabMesh
from weave_py.lab.namespaces import Lab
from weave_py.lab.pings import ping
from weave_py.lab.topology import build

INNER_MTU = 1500
TRANSFER_BYTES = 20_000_000


class Underlay(NamedTuple):
    mtu: int
    ipv6: bool

    @property
    def datagram_bytes(self) -> int:
        """UDP payload that fits."""
        return self.mtu - (48 if self.ipv6 else 28)


UNDERLAYS = [Underlay(1500, False), Underlay(1280, False), Underlay(1500, True)]
UNDERLAYS += [Underlay(1280, True)]


@pytest.fixture(
    scope="module",
    params=UNDERLAYS,
    ids=[f"{u.mtu} bytes, IPv{6 if u.ipv6 else 4}" for u in UNDERLAYS],
)
def underlay(request: pytest.FixtureRequest) -> Underlay:
    found: Underlay = request.param
    return found


@pytest.fixture(scope="module")
def pair(underlay: Underlay, tmp_path_factory: pytest.TempPathFactory) -> Iterator[LabMesh]:
    directory = tmp_path_factory.mktemp("sizes")
    # Without offloads what is on the wire are packets as they would be on a real one.
    lab = Lab(build("full", 2), mtu=underlay.mtu, ipv6=underlay.ipv6, offload=False)
    with lab, LabMesh(lab, directory, LaunchOptions(password="any", mtu=INNER_MTU)) as mesh:
        if underlay.ipv6:
            for name in mesh.hosts:
                lab.exec(name, ["ip", "-4", "addr", "flush", "dev", "lan1"], check=False)
                lab.exec(name, ["ip", "-4", "addr", "flush", "scope", "global"])
        mesh["h1"].launch([])
        mesh["h2"].launch([lab.address("h1", "h2", ipv6=underlay.ipv6)])
        bring_up(mesh)
        yield mesh


def test_the_size_of_datagrams_is_found(pair: LabMesh, underlay: Underlay) -> None:
    for host, peer in ((pair["h1"], "h2"), (pair["h2"], "h1")):
        path = until(
            partial(path_of_size, host, peer, underlay.datagram_bytes),
            10,
            f"datagrams of {underlay.datagram_bytes} bytes",
        )
        assert path["Kind"] == "direct"
        assert path["Address"].startswith("[fd00:99:" if underlay.ipv6 else "10.99.1.")


def test_large_packets_pass_and_nothing_is_fragmented(pair: LabMesh, underlay: Underlay) -> None:
    data = hashlib.shake_128(b"some bytes").digest(TRANSFER_BYTES)
    with Wiretap(pair.lab, "h1", device(pair)) as wire:
        # 1,472 bytes make a packet of just the inner MTU; the kernel may not cut it (-M do).
        for options in (["-s", "1472", "-M", "do"], ["-s", "8000"]):
            for source, address in (("c1", "10.32.0.2"), ("c2", "10.32.0.1")):
                fast = [*options, "-i", "0.05"]
                assert ping(pair.lab, source, address, count=10, options=fast).received == 10
        arrived = tcp_transfer(pair.lab, "c1", "c2", "10.32.0.2", data)
    assert arrived == hashlib.sha256(data).hexdigest()

    ours = datagrams(wire.seen(), SLEEVE_PORT)
    assert sum(packet.length for packet in ours) > TRANSFER_BYTES  # it did go this way
    assert max(packet.length for packet in ours) == underlay.mtu  # and filled what there is
    assert not any(packet.may_be_cut for packet in ours)
    packets = [packet for one in wire.seen() if (packet := packet_of(one.frame)) is not None]
    assert not any(packet.is_fragment for packet in packets)
    assert max(packet.length for packet in packets) <= underlay.mtu


def test_one_byte_too_many_is_refused_by_the_container_itself(pair: LabMesh) -> None:
    options = ["-s", "1473", "-M", "do"]
    assert not ping(pair.lab, "c1", "10.32.0.2", options=options).reached


def path_of_size(host: Host, peer: str, datagram_bytes: int) -> Any:
    """The path to a peer if its datagrams are that large, else None."""
    path = paths(host).get(peer)
    return path if path and path["DatagramBytes"] == datagram_bytes else None


def device(mesh: LabMesh) -> str:
    topology = mesh.lab.topology
    return topology.device("h1", topology.wire_between("h1", "h2"))
