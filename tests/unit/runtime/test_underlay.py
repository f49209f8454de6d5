"""Is the engine told of this host's addresses when they change or return, and only then?"""

from __future__ import annotations

import socket
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any, Self

import pytest
import trio
import trio.testing

from weave_py.runtime import underlay
from weave_py.runtime.underlay import RETRY_SECONDS, UNDERLAY_SECONDS, watch_underlay


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


class Router:
    """What is found at each look, one after the other; the last for ever."""

    def __init__(self, *looks: list[str] | None) -> None:
        self.looks = list(looks)
        self.told: list[list[str]] = []
        self.cut: list[set[str]] = []
        self.engine = SimpleNamespace(set_local_addresses=None)

    async def underlay_addresses(self) -> list[str] | None:
        await trio.lowlevel.checkpoint()
        return self.looks.pop(0) if len(self.looks) > 1 else self.looks[0]

    def tell(self, method: Callable[..., object], hosts: list[str]) -> None:
        self.told.append(hosts)

    def cut_streams_of(self, gone: set[str]) -> None:
        self.cut.append(gone)


@pytest.fixture(autouse=True)
def _no_events(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(underlay, "AddressWatch", Watch)


async def watched(router: Any, seconds: float, host: str | None = None) -> None:
    config: Any = SimpleNamespace(host=host)
    with trio.move_on_after(seconds):
        await watch_underlay(config, router, router)


async def test_told_once_and_again_when_they_change(
    autojump_clock: trio.testing.MockClock,
) -> None:
    router = Router(["a"], ["a"], ["a", "b"], ["b"])
    await watched(router, 4 * UNDERLAY_SECONDS)
    assert router.told == [["a"], ["a", "b"], ["b"]]
    assert router.cut == [set(), set(), {"a"}]


async def test_the_same_ones_that_return_are_news(autojump_clock: trio.testing.MockClock) -> None:
    router = Router(["a"], [], ["a"])
    await watched(router, UNDERLAY_SECONDS + 3 * RETRY_SECONDS)
    assert router.told == [["a"], ["a"]]


async def test_where_we_cannot_look_nothing_has_changed(
    autojump_clock: trio.testing.MockClock,
) -> None:
    router = Router(["a"], None, None, ["a"])
    await watched(router, UNDERLAY_SECONDS + 5 * RETRY_SECONDS)
    assert router.told == [["a"]]


async def test_one_that_was_given_is_told_once(autojump_clock: trio.testing.MockClock) -> None:
    router = Router(["a"], [], ["a"])
    await watched(router, 3 * UNDERLAY_SECONDS, host="192.0.2.1")
    assert router.told == [["192.0.2.1"]]
