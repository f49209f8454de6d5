"""Does the kernel's table tell whose a socket is, however it is bound and reached?"""

from __future__ import annotations

import os
import socket
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.kit.lying_server import NOBODY, lying_server
from weave_py.host import socket_table
from weave_py.host.socket_table import ANOTHER, holder, server_owner

AS_ROOT = pytest.mark.skipif(os.geteuid() != 0, reason="has another user listen")


@pytest.fixture
def stack() -> Iterator[ExitStack]:
    with ExitStack() as found:
        yield found


def tcp(host: str, *, dual: bool = False) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    return socket.create_server((host, 0), family=family, dualstack_ipv6=dual)


@pytest.mark.parametrize(
    ("server", "reached_at"),
    [
        (lambda: tcp("127.0.0.1"), "127.0.0.1"),
        (lambda: tcp("0.0.0.0"), "127.0.0.2"),
        (lambda: tcp("::1"), "::1"),
        (lambda: tcp("::", dual=True), "127.0.0.1"),
        (lambda: tcp("::", dual=True), "::1"),
    ],
)
def test_whose_a_server_is(
    stack: ExitStack, server: Callable[[], socket.socket], reached_at: str
) -> None:
    listener = stack.enter_context(server())
    port = listener.getsockname()[1]
    client = stack.enter_context(socket.create_connection((reached_at, port), 5))
    with pytest.raises(TimeoutError, match="nobody accepts"):
        server_owner(client, 0.0)
    stack.enter_context(listener.accept()[0])
    assert server_owner(client, 0.0) == os.geteuid()
    assert f"(pid {os.getpid()}, user {os.geteuid()})" in holder("TCP", reached_at, port)


@AS_ROOT
@pytest.mark.parametrize("kind", ["tcp", "unix"])
def test_another_users_server_is_his(stack: ExitStack, tmp_path: Path, kind: str) -> None:
    """F4"""
    place, _ = stack.enter_context(lying_server(kind, tmp_path))
    if kind == "tcp":
        host, _, port = place.partition(":")
        client = socket.create_connection((host, int(port)), 5)
        assert f"user {NOBODY})" in holder("TCP", host, int(port))
    else:
        client = socket.socket(socket.AF_UNIX)
        client.connect(place)
    stack.enter_context(client)
    assert server_owner(client, 5.0) == NOBODY


def test_who_has_a_udp_port(stack: ExitStack) -> None:
    sock = stack.enter_context(socket.socket(type=socket.SOCK_DGRAM))
    sock.bind(("127.0.0.1", 0))
    port = sock.getsockname()[1]
    me = f"(pid {os.getpid()}, user {os.geteuid()})"
    assert me in holder("UDP", "0.0.0.0", port)
    assert me in holder("UDP", "127.0.0.1", port)
    assert me in holder("UDP", "::", port)
    assert holder("UDP", "127.0.0.2", port) == ANOTHER
    assert holder("TCP", "127.0.0.1", port) == ANOTHER


def test_a_connection_holds_no_port(stack: ExitStack) -> None:
    """One from here to elsewhere, by a local port of that number, is in nobody's way."""
    listener = stack.enter_context(tcp("127.0.0.1"))
    client = stack.enter_context(socket.create_connection(listener.getsockname(), 5))
    assert holder("TCP", "127.0.0.1", client.getsockname()[1]) == ANOTHER


def test_a_process_may_call_itself_anything(stack: ExitStack) -> None:
    """t41: what is said is one line, whatever it holds."""
    comm = Path(f"/proc/{os.getpid()}/comm")
    before = comm.read_text()
    stack.callback(comm.write_text, before)
    comm.write_bytes(b"a\nb\x1b[1mc) (\xff")
    listener = stack.enter_context(tcp("127.0.0.1"))
    said = holder("TCP", "127.0.0.1", listener.getsockname()[1])
    assert said.startswith("a?b?[1mc) (")
    assert said.isprintable()


def test_who_may_not_look_names_the_user(stack: ExitStack, monkeypatch: pytest.MonkeyPatch) -> None:
    listener = stack.enter_context(tcp("127.0.0.1"))
    monkeypatch.setattr(socket_table, "_process", lambda inode, uid: "")
    said = holder("TCP", "127.0.0.1", listener.getsockname()[1])
    assert said == f"a program of user {os.geteuid()}"
    monkeypatch.setattr(socket_table, "_TABLES", "/nonexistent")
    assert holder("TCP", "127.0.0.1", listener.getsockname()[1]) == ANOTHER
