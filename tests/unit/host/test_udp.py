"""Do the sockets behave on the wire as their fields say?"""

from __future__ import annotations

import os
import socket
import struct
from contextlib import ExitStack

import pytest

from weave_py.host.udp import UDP_GRO, UDP_SEGMENT, UdpSocket, open_tcp_listeners, open_udp
from weave_py.model.errors import ConfigError, HostError


def opened(stack: ExitStack, host: str | None, port: int) -> list[UdpSocket]:
    sockets = open_udp(host, port)
    for each in sockets:
        stack.callback(each.close)
    return sockets


def test_wildcards_share_a_port_and_stay_apart() -> None:
    with ExitStack() as stack:
        sockets = opened(stack, None, 0)
        assert sockets[0].family == socket.AF_INET
        assert len({each.sock.getsockname()[1] for each in sockets}) == 1
        for each in sockets:
            assert each.sock.getblocking() is False
            if each.family == socket.AF_INET6:
                assert each.sock.getsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY) == 1
                assert each.sock.getsockopt(socket.IPPROTO_IPV6, 23) == 3
            else:
                assert each.sock.getsockopt(socket.IPPROTO_IP, 10) == 3


def test_segmentation_is_known_but_not_left_on() -> None:
    with ExitStack() as stack:
        (sender,) = opened(stack, "127.0.0.1", 0)
        if sender.gso:
            assert sender.sock.getsockopt(socket.IPPROTO_UDP, UDP_SEGMENT) == 0
        if sender.gro:
            assert sender.sock.getsockopt(socket.IPPROTO_UDP, UDP_GRO) == 1


def test_a_train_crosses_in_one_piece() -> None:
    with ExitStack() as stack:
        (sender,) = opened(stack, "127.0.0.1", 0)
        (receiver,) = opened(stack, "127.0.0.1", 0)
        if not (sender.gso and receiver.gro):
            pytest.skip("this kernel has no UDP GSO and GRO")
        control = [(socket.IPPROTO_UDP, UDP_SEGMENT, struct.pack("H", 1000))]
        sent = sender.sock.sendmsg([bytes(3500)], control, 0, receiver.sock.getsockname())
        assert sent == 3500
        receiver.sock.settimeout(5)
        data, ancillary, _, _ = receiver.sock.recvmsg(65535, 64)
        assert len(data) == 3500
        assert ancillary[0][:2] == (socket.IPPROTO_UDP, UDP_GRO)
        assert struct.unpack("i", ancillary[0][2])[0] == 1000


def test_port_in_use() -> None:
    with ExitStack() as stack:
        (first,) = opened(stack, "127.0.0.1", 0)
        port = first.sock.getsockname()[1]
        for host in ("127.0.0.1", None):
            with pytest.raises(
                HostError, match=f"UDP port {port} is in use by .*pid {os.getpid()}.* choose --port"
            ):
                open_udp(host, port)


def test_second_wildcard_in_use_frees_the_first() -> None:
    with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as taken:
        taken.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        taken.bind(("::", 0))
        port = taken.getsockname()[1]
        with pytest.raises(HostError, match="in use"):
            open_udp(None, port)
    with ExitStack() as stack:
        assert len(opened(stack, None, port)) == 2


def test_foreign_and_senseless_addresses() -> None:
    with pytest.raises(HostError, match=r"no interface of this host has that address"):
        open_udp("192.0.2.1", 0)
    with pytest.raises(ConfigError, match="numeric"):
        open_udp("localhost", 0)
    with pytest.raises(ConfigError, match="numeric"):
        open_tcp_listeners("", 0)
    with pytest.raises(HostError, match="cannot listen on fe80::1%nosuch"):
        open_udp("fe80::1%nosuch", 0)


def test_tcp_listeners() -> None:
    listeners = open_tcp_listeners(None, 0)
    try:
        port = listeners[0].getsockname()[1]
        for listener, host in zip(listeners, ("127.0.0.1", "::1"), strict=False):
            assert listener.getblocking() is False
            with socket.create_connection((host, port), timeout=5):
                pass
        with pytest.raises(HostError, match=f"TCP port {port} is in use by .*pid {os.getpid()}"):
            open_tcp_listeners(None, port)
    finally:
        for listener in listeners:
            listener.close()
