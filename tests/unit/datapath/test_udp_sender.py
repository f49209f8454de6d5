"""Datagrams leave by the socket of the right family, in one call per train, and never raise."""

from __future__ import annotations

import errno
import socket

import pytest

from tests.kit.data_plane import FakeSocket, udp_socket
from weave_py.datapath.udp_sender import MAX_CACHED, UdpSender
from weave_py.host.udp import UdpSocket
from weave_py.model.names import Endpoint

TO = Endpoint("192.0.2.7", 6783)


@pytest.fixture
def fake() -> FakeSocket:
    return FakeSocket(("192.0.2.1", 6783))


def test_a_train_is_one_call_with_gso_and_one_each_without(fake: FakeSocket) -> None:
    train = (b"head", memoryview(b"body" * 9), b"!")
    assert UdpSender([udp_socket(fake)]).send(TO, train, 10, 5) == 0
    assert fake.calls == 1
    with_gso = fake.take()
    assert UdpSender([udp_socket(fake, gso=False)]).send(TO, train, 10, 5) == 0
    assert fake.calls == 1 + 5
    assert fake.take() == with_gso
    assert [len(d.payload) for d in with_gso] == [10, 10, 10, 10, 1]
    assert b"".join(d.payload for d in with_gso) == b"head" + b"body" * 9 + b"!"
    assert {d.destination for d in with_gso} == {tuple(TO)}


def test_a_single_datagram_needs_no_gso(fake: FakeSocket) -> None:
    sockets = UdpSender([udp_socket(fake, gso=False)])
    assert sockets.send(TO, (b"x" * 1472,), 1472, 1) == 0
    assert [d.payload for d in fake.sent] == [b"x" * 1472]


def test_errors_are_returned(fake: FakeSocket) -> None:
    sockets = UdpSender([udp_socket(fake)])
    fake.mtu_payload = 1472
    assert sockets.send(TO, (b"x" * 1473,), 1473, 1) == errno.EMSGSIZE
    fake.error = errno.EAGAIN
    assert sockets.send(TO, (b"x",), 1, 1) == errno.EAGAIN
    assert sockets.send(TO, (b"xx",), 1, 2) == errno.EAGAIN
    without = UdpSender([udp_socket(fake, gso=False)])
    assert without.send(TO, (b"xx",), 1, 2) == errno.EAGAIN


def test_without_a_socket_of_that_family(fake: FakeSocket) -> None:
    sockets = UdpSender([udp_socket(fake)])
    assert sockets.send(Endpoint("2001:db8::1", 6783), (b"x",), 1, 1) == errno.EAFNOSUPPORT
    assert UdpSender([]).send(TO, (b"x",), 1, 1) == errno.EAFNOSUPPORT


def test_a_scope_that_is_gone_is_no_reason_to_die() -> None:
    with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as six:
        sockets = UdpSender([UdpSocket(six, socket.AF_INET6, True, True)])
        assert sockets.send(Endpoint("fe80::1%nosuch0", 6783), (b"x",), 1, 1)


def test_addresses_are_not_kept_for_ever(fake: FakeSocket) -> None:
    sockets = UdpSender([udp_socket(fake)])
    for number in range(MAX_CACHED + 100):
        to = Endpoint(f"10.1.{number >> 8}.{number & 255}", 6783)
        assert sockets.send(to, (b"x",), 1, 1) == 0
    assert len(sockets._known) <= MAX_CACHED
