"""Is the engine told of this host's addresses when they change or return, and only then?"""

from __future__ import annotations

import socket
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any, Self

import pytest
import trio
import trio.testing

from weave_py.loop.host_thread import HostThread
from weave_py.model.errors import HostError
from weave_py.model.underlay import OwnAddress, Route
from weave_py.runtime import underlay
from weave_py.runtime.underlay import (
    RETRY_SECONDS,
    UNDERLAY_SECONDS,
    HostUnderlay,
    watch_underlay,
)


class Watch:
    """No event ever comes: only time passes."""

    def __init__(self) -> None:
        self.sock, self._other = socket.socketpair()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.sock.close()
        self._other.close()

    def drain(self) -> None:
        pass


class Looks:
    """What is found at each look, one after the other; the last for ever."""

    def __init__(self, *looks: list[str] | None) -> None:
        self.looks = list(looks)
        self.ways = "192.0.2.9"

    async def look(self) -> list[OwnAddress] | None:
        await trio.lowlevel.checkpoint()
        found = self.looks.pop(0) if len(self.looks) > 1 else self.looks[0]
        return None if found is None else [OwnAddress(host) for host in found]

    async def find_many(self, hosts: list[str]) -> dict[str, Route]:
        await trio.lowlevel.checkpoint()
        return {host: Route(self.ways) for host in hosts}


class Router:
    """The pump and its engine."""

    def __init__(self) -> None:
        self.told: list[list[str]] = []
        self.cut: list[set[str]] = []
        self.routes: list[dict[str, Route]] = []
        self.inside: list[dict[str, Route]] = []
        self.engine = SimpleNamespace(
            set_local_addresses=self._addresses, routes_found=self.routes.append, route_hosts=tuple
        )

    def _addresses(self, addresses: list[OwnAddress]) -> None:
        self.told.append([address.host for address in addresses])

    def tell(self, method: Callable[..., object], argument: object) -> None:
        method(argument)

    def cut_streams_of(self, gone: set[str]) -> None:
        self.cut.append(gone)

    def cut_streams_inside(self, routes: dict[str, Route]) -> None:
        self.inside.append(routes)

    def remotes(self) -> list[str]:
        return ["192.0.2.3"]


@pytest.fixture(autouse=True)
def _no_events(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(underlay, "UnderlayWatch", Watch)


async def watched(seconds: float, *looks: list[str] | None) -> Router:
    router: Any = Router()
    underlay: Any = Looks(*looks)
    with trio.move_on_after(seconds):
        await watch_underlay(underlay, router)
    return router  # type: ignore[no-any-return]


async def test_told_once_and_again_when_they_change(
    autojump_clock: trio.testing.MockClock,
) -> None:
    router = await watched(4 * UNDERLAY_SECONDS, ["a"], ["a"], ["a", "b"], ["b"])
    assert router.told == [["a"], ["a", "b"], ["b"]]
    assert router.cut == [set(), set(), {"a"}]


async def test_the_same_ones_that_return_are_news(autojump_clock: trio.testing.MockClock) -> None:
    router = await watched(UNDERLAY_SECONDS + 3 * RETRY_SECONDS, ["a"], [], ["a"])
    assert router.told == [["a"], ["a"]]


async def test_where_we_cannot_look_nothing_has_changed(
    autojump_clock: trio.testing.MockClock,
) -> None:
    router = await watched(UNDERLAY_SECONDS + 5 * RETRY_SECONDS, ["a"], None, None, ["a"])
    assert router.told == [["a"]]


async def test_routes_are_found_anew_at_every_look(autojump_clock: trio.testing.MockClock) -> None:
    """t68: also when no address has changed, and to the other ends of connections."""
    router = await watched(2.5 * UNDERLAY_SECONDS, ["a"])
    assert router.routes == [{"192.0.2.3": Route("192.0.2.9")}] * 3
    assert router.inside == router.routes


async def test_an_address_that_was_given_is_the_only_one() -> None:
    config: Any = SimpleNamespace(host="192.0.2.1", bridge="weave")
    with HostThread() as host, HostUnderlay(config, host) as found:
        assert await found.look() == [OwnAddress("192.0.2.1")]
        assert set(found.find(["127.0.0.1"])) == {"127.0.0.1"}
        assert await found.find_many(["127.0.0.1"]) == found.find(["127.0.0.1"])
        assert found.find(["127.0.0.1"])["127.0.0.1"].here


async def test_a_kernel_that_refuses_shows_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise HostError("no netlink")

    monkeypatch.setattr(underlay, "look", refuse)
    config: Any = SimpleNamespace(host=None, bridge="weave")
    with HostThread() as host, HostUnderlay(config, host) as found:
        assert await found.look() is None
