"""A router's control API on memory streams: ask it with bytes, and see what it was told."""

from __future__ import annotations

from collections.abc import Callable
from types import MappingProxyType

import trio
import trio.testing

from weave_py.api.application import Application
from weave_py.api.exchange import Door
from weave_py.api.guard import allowed_hosts
from weave_py.api.router_routes import router_routes
from weave_py.api.server import serve_connection
from weave_py.model.names import PeerName, PeerUID
from weave_py.model.routes import RouteTable
from weave_py.model.snapshot import RouterSnapshot
from weave_py.observe.report import ReportExtras

HOSTS = allowed_hosts("127.0.0.1", 6784)
HOST = "Host: 127.0.0.1:6784\r\n"
FORM = "Content-Type: application/x-www-form-urlencoded\r\n"


class Service:
    """A router that remembers what it was told."""

    def __init__(self) -> None:
        self.told: list[object] = []
        self.extras = ReportExtras(bridge="weave", mtu=1376, ready=True)
        self.before_extras: Callable[[], None] = lambda: None
        self.delay = 0.0

    def snapshot(self) -> RouterSnapshot:
        return RouterSnapshot(
            name=PeerName(b"\x01" * 6),
            nickname="h1",
            uid=PeerUID(1),
            port=6783,
            encryption=True,
            discovery=True,
            conn_limit=0,
            trusted_subnets=(),
            targets=("10.1.1.1",),
            connections=(),
            peers=(),
            paths=(),
            routes=RouteTable(),
            terminations=0,
            counters=MappingProxyType({}),
        )

    @property
    def is_ready(self) -> bool:
        return self.extras.ready

    async def report_extras(self) -> ReportExtras:
        self.before_extras()
        await trio.sleep(self.delay)
        return self.extras

    async def connect(self, targets: list[str], replace: bool) -> list[str]:
        self.told.append(("connect", targets, replace))
        return [f"bad: {target}" for target in targets if target.startswith("bad")]

    async def forget(self, targets: list[str]) -> None:
        self.told.append(("forget", targets))

    def stop(self) -> None:
        self.told.append("stop")

    def application(self) -> Application:
        return Application(router_routes(self))


async def ask(
    door: Door, raw: str | bytes, hosts: frozenset[str] | None = HOSTS
) -> tuple[int, str, str]:
    """Send bytes to a server on memory streams; status, head and body of the answer."""
    ours, theirs = trio.testing.memory_stream_pair()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(serve_connection, theirs, door, hosts)
        await ours.send_all(raw.encode() if isinstance(raw, str) else raw)
        answer = b""
        while piece := await ours.receive_some(65536):
            answer += piece
        await ours.aclose()
    head, _, body = answer.decode().partition("\r\n\r\n")
    return int(head.split()[1]), head, body


def get(path: str, *lines: str, method: str = "GET") -> str:
    return f"{method} {path} HTTP/1.1\r\n{HOST}" + "".join(f"{x}\r\n" for x in lines) + "\r\n"


def post(path: str, form: str = "", *lines: str, method: str = "POST") -> str:
    extra = "".join(f"{x}\r\n" for x in lines)
    return (
        f"{method} {path} HTTP/1.1\r\n{HOST}{FORM}{extra}Content-Length: {len(form)}\r\n\r\n{form}"
    )
