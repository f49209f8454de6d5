"""How does a test act in a host or container of the lab? With sockets that live there."""

from __future__ import annotations

import hashlib
import socket
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from weave_py.lab.namespaces import Lab
from weave_py.workloads.netns import resolve_namespace, run_inside

T = TypeVar("T")
SECONDS = 30.0


def inside(lab: Lab, name: str, action: Callable[[], T]) -> T:
    """Call `action` in there. Sockets it makes stay there, whoever uses them afterwards."""
    return run_inside(resolve_namespace(str(lab.path(name))), action)


def udp_socket(lab: Lab, name: str, address: str = "", port: int = 0) -> socket.socket:
    """A bound UDP socket that may broadcast."""

    def make() -> socket.socket:
        sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
        sock.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_LOOP, 0)
        sock.settimeout(SECONDS)
        sock.bind((address, port))
        return sock

    return inside(lab, name, make)


def tcp_listener(lab: Lab, name: str, address: str, port: int = 0) -> socket.socket:
    """A listening TCP socket."""

    def make() -> socket.socket:
        sock = socket.create_server((address, port))
        sock.settimeout(SECONDS)
        return sock

    return inside(lab, name, make)


def tcp_transfer(lab: Lab, source: str, target: str, address: str, data: bytes) -> str:
    """Send `data` from `source` to `target` (whose address that is); SHA-256 of what arrived."""
    with tcp_listener(lab, target, address) as listener, ThreadPoolExecutor(1) as pool:
        arrived = pool.submit(_receive_all, listener)

        def connect() -> socket.socket:
            return socket.create_connection(listener.getsockname(), SECONDS)

        with inside(lab, source, connect) as stream:
            stream.sendall(data)
            stream.shutdown(socket.SHUT_WR)
            return arrived.result(2 * SECONDS)


def _receive_all(listener: socket.socket) -> str:
    stream, _ = listener.accept()
    digest = hashlib.sha256()
    with stream:
        stream.settimeout(SECONDS)
        while piece := stream.recv(1 << 18):
            digest.update(piece)
    return digest.hexdigest()
