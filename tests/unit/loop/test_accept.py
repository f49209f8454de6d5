"""Connections that come in are served, also after there was no descriptor for them."""

from __future__ import annotations

import errno
import os
import resource
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, ClassVar

import pytest
import trio
import trio.testing

from fastdp.kernel import counters
from weave_py.host.limits import raise_descriptor_limit
from weave_py.loop.accept import serve_listeners

Stream = trio.SocketStream


@asynccontextmanager
async def echoing() -> AsyncIterator[socket.socket]:
    async def echo(stream: Stream) -> None:
        while data := await stream.receive_some():
            await stream.send_all(data)

    listener = socket.create_server(("127.0.0.1", 0))
    async with trio.open_nursery() as nursery:
        await nursery.start(serve_listeners, echo, [listener])
        yield listener
        nursery.cancel_scope.cancel()


async def connected(listener: socket.socket) -> Stream:
    return await trio.open_tcp_stream(*listener.getsockname())


async def check(stream: Stream) -> None:
    await stream.send_all(b"hello")
    with trio.fail_after(5):
        assert await stream.receive_some() == b"hello"


async def test_each_is_served_and_closed_in_the_end() -> None:
    async with echoing() as listener:
        one, two = await connected(listener), await connected(listener)
        await check(two)
        await check(one)
        await one.send_eof()
        assert await one.receive_some() == b""
        for stream in (one, two):
            await stream.aclose()


async def test_without_descriptors_it_waits_says_so_briefly_and_goes_on(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async with echoing() as listener:
        first = await connected(listener)
        await check(first)
        streams = [await connected(listener)]
        await check(streams[0])
        pending = trio.socket.socket()  # made while there is a descriptor for it
        before = resource.getrlimit(resource.RLIMIT_NOFILE)
        lowest = os.dup(0)
        os.close(lowest)
        resource.setrlimit(resource.RLIMIT_NOFILE, (lowest, before[1]))
        try:
            await pending.connect(listener.getsockname())
            waiting = Stream(pending)
            await trio.sleep(0.3)
            await check(first)  # those who are in notice nothing
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, before)
        await check(waiting)
        for stream in (first, waiting, *streams):
            await stream.aclose()
    said = [record.getMessage() for record in caplog.records]
    assert said == ["connections must wait"]
    assert not any(record.exc_info for record in caplog.records)


class Troubled(socket.socket):
    """A listener whose accept() fails first."""

    troubles: ClassVar[list[int]] = []

    def accept(self) -> tuple[socket.socket, Any]:
        if self.troubles:
            raise OSError(self.troubles.pop(0), "trouble")
        return super().accept()


async def connection_despite(troubles: list[int]) -> None:
    served = trio.Event()

    async def serve(stream: Stream) -> None:
        served.set()

    Troubled.troubles = troubles
    listener = Troubled()
    listener.bind(("127.0.0.1", 0))
    listener.listen()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(serve_listeners, serve, [listener])
        async with await connected(listener):
            with trio.fail_after(5):
                await served.wait()
        nursery.cancel_scope.cancel()


async def test_what_befell_one_connection_is_no_trouble_of_the_listener() -> None:
    await connection_despite([errno.ECONNABORTED, errno.EHOSTUNREACH])


async def test_any_other_error_of_a_listener_ends_it() -> None:
    with pytest.raises(ExceptionGroup) as caught:
        await connection_despite([errno.EINVAL])
    assert caught.group_contains(OSError, match="trouble")


def test_the_limit_is_raised_as_far_as_it_may(monkeypatch: pytest.MonkeyPatch) -> None:
    limits = {"now": (1024, 4096)}

    def setrlimit(what: int, value: tuple[int, int]) -> None:
        limits["now"] = value

    monkeypatch.setattr(resource, "getrlimit", lambda what: limits["now"])
    monkeypatch.setattr(resource, "setrlimit", setrlimit)
    assert raise_descriptor_limit() == 4096
    limits["now"] = (1024, resource.RLIM_INFINITY)
    assert raise_descriptor_limit() == 16_384
    limits["now"] = (50_000, 100_000)
    assert raise_descriptor_limit() == 50_000
    limits["now"] = (1024, 1_000_000)
    monkeypatch.setattr(resource, "setrlimit", refuse)
    assert raise_descriptor_limit() == 1024


def refuse(what: int, value: tuple[int, int]) -> None:
    raise ValueError("not allowed")


def test_without_descriptors_nothing_is_known_of_the_kernel_s_counters(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def no_descriptor(*_: object) -> int:
        raise OSError(errno.EMFILE, "Too many open files")

    monkeypatch.setattr(os, "open", no_descriptor)
    assert counters.read([]) == {}
