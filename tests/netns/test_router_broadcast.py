"""Does a broadcast reach every other container exactly once, whoever is wired to whom?"""

from __future__ import annotations

import select
import socket
import struct
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from functools import partial
from ipaddress import IPv4Address

import pytest

from tests.kit.inside import inside, udp_socket
from tests.kit.routers import started
from tests.kit.waiting import until
from tests.kit.wiretap import Wiretap
from weave_py.lab.hosts import LaunchOptions
from weave_py.lab.mesh import LabMesh
from weave_py.workloads.arp import encode_request

HOSTS = 4
PORT = 7777
GROUP = "239.1.2.3"
NOBODY = IPv4Address("10.32.0.200")
QUIET_SECONDS = 0.4
"""That long after the last expected one, a duplicate would have come."""
BURST = 20
"""Broadcasts at once: a peer's port queues 64 frames."""


@pytest.fixture(scope="module", params=["full", "chain", "star"])
def mesh(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[LabMesh]:
    options = LaunchOptions(password="everybody, once")
    with started(request.param, HOSTS, tmp_path_factory.mktemp("mesh"), options) as found:
        yield found


@pytest.fixture
def receivers(mesh: LabMesh) -> Iterator[Mapping[str, socket.socket]]:
    """A socket in every container that takes broadcasts, and multicasts to GROUP."""
    with ExitStack() as opened:
        sockets = {}
        for name, address in mesh.addresses.items():
            sock = sockets[name] = opened.enter_context(udp_socket(mesh.lab, name, "", PORT))
            member = socket.inet_aton(GROUP) + socket.inet_aton(address)
            # The address says on which interface; sockets stay in their namespace.
            sock.setsockopt(socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP, member)
        yield sockets


Got = dict[str, Counter[bytes]]


def drain(receivers: Mapping[str, socket.socket], got: Got, quiet: float) -> Got:
    """Take what comes until nothing has come for `quiet` seconds."""
    names = {sock.fileno(): name for name, sock in receivers.items()}
    while ready := select.select(list(names), [], [], quiet)[0]:
        for fd in ready:
            got[names[fd]][receivers[names[fd]].recv(2048)] += 1
    return got


def say(receivers: Mapping[str, socket.socket], source: str, to: str, messages: list[bytes]) -> Got:
    """What everybody got of what `source` sent to an address for many, duplicates counted."""
    got: Got = {name: Counter() for name in receivers}
    expected = [name for name in receivers if name != source]
    for at in range(0, len(messages), BURST):
        sent = messages[: at + BURST]
        for message in sent[at:]:
            receivers[source].sendto(message, (to, PORT))

        def have_all(sent: list[bytes] = sent) -> bool:
            drain(receivers, got, 0)
            return all(got[name].keys() >= set(sent) for name in expected)

        until(have_all, 10, f"{len(sent)} broadcasts at {expected}")
    return drain(receivers, got, QUIET_SECONDS)


@pytest.mark.parametrize("to", ["10.32.0.255", "255.255.255.255", GROUP])
def test_each_of_the_others_gets_it_once(
    receivers: Mapping[str, socket.socket], mesh: LabMesh, to: str
) -> None:
    if to == "255.255.255.255":  # no address says which network is meant: the device must
        for sock in receivers.values():
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, b"ethwe")
    for source in receivers:
        message = f"from {source} to {to}".encode()
        got = say(receivers, source, to, [message])
        assert {name: got[name][message] for name in receivers if name != source} == {
            name: 1 for name in receivers if name != source
        }


def test_two_hundred_broadcasts_are_two_hundred(
    receivers: Mapping[str, socket.socket],
) -> None:
    messages = [struct.pack("!I", number) for number in range(200)]
    got = say(receivers, "c2", "10.32.0.255", messages)
    for name in ("c1", "c3", "c4"):
        assert got[name] == Counter(messages)


def test_an_arp_request_is_seen_once_by_each(mesh: LabMesh) -> None:
    for source in mesh.addresses:
        asked = arp_request(mesh, source)
        with ExitStack() as taps:
            seen = {
                name: taps.enter_context(Wiretap(mesh.lab, name, "ethwe"))
                for name in mesh.addresses
            }
            inside(mesh.lab, source, partial(send_raw, asked))
            for name in set(mesh.addresses) - {source}:
                until(partial(seen[name].count, asked), 5, f"the request at {name}")
        counts = {
            name: sum(one.frame == asked and not one.outgoing for one in tap.seen())
            for name, tap in seen.items()
        }
        assert counts == {name: int(name != source) for name in mesh.addresses}


def arp_request(mesh: LabMesh, source: str) -> bytes:
    text = mesh.lab.exec(source, ["cat", "/sys/class/net/ethwe/address"]).stdout
    mac = bytes.fromhex(text.replace(":", ""))
    # 60 bytes: veth would pass less, but what came over a wire would be padded.
    return encode_request(mac, IPv4Address(mesh.addresses[source]), NOBODY).ljust(60, b"\0")


def send_raw(frame: bytes) -> None:
    with socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0) as sock:
        sock.bind(("ethwe", 0))
        sock.send(frame)
