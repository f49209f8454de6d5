"""Callers that say nothing cost a socket, and only so many; who speaks comes in."""

from __future__ import annotations

import os
import resource
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
import trio
import trio.testing

from tests.kit.loops import task_loop
from weave_py.loop.door import MAX_SILENT, SILENT_SECONDS, Door
from weave_py.model.names import Endpoint

Address = tuple[str, int]


class Household:
    """Has time, unless it is told otherwise, and remembers who came."""

    def __init__(self) -> None:
        self.has_time = True
        self.guests: list[tuple[socket.socket, Endpoint]] = []
        self.gone: list[Endpoint] = []

    def has_time_for(self, remote: Endpoint) -> bool:
        return self.has_time

    def come_in(self, connection: socket.socket, remote: Endpoint) -> None:
        self.guests.append((connection, remote))

    def came_to_nothing(self, remote: Endpoint) -> None:
        self.gone.append(remote)


@asynccontextmanager
async def open_door() -> AsyncIterator[tuple[Household, Door, Address]]:
    listener = socket.create_server(("127.0.0.1", 0), backlog=2 * MAX_SILENT)
    household, address = Household(), listener.getsockname()
    async with task_loop() as loop, trio.open_nursery() as nursery:
        door = Door(household, loop, b"no time")
        nursery.start_soon(door.run, [listener])
        await trio.testing.wait_all_tasks_blocked()
        yield household, door, address
        nursery.cancel_scope.cancel()
    for connection, _ in household.guests:
        connection.close()
    assert listener.fileno() == -1


def call(address: Address, words: bytes = b"") -> socket.socket:
    caller = socket.create_connection(address)
    caller.settimeout(0.0)
    if words:
        caller.send(words)
    return caller


def place(caller: socket.socket) -> Endpoint:
    return Endpoint(*caller.getsockname())


def is_open(caller: socket.socket) -> bool:
    try:
        return caller.recv(1, socket.MSG_PEEK) != b""
    except BlockingIOError:
        return True


async def settled() -> None:
    await trio.testing.wait_all_tasks_blocked(0.01)


async def test_who_speaks_comes_in_with_all_it_said() -> None:
    async with open_door() as (household, _, address):
        with call(address, b"hello") as prompt, call(address) as slow:
            await settled()
            assert [remote for _, remote in household.guests] == [place(prompt)]
            slow.send(b"well")
            await settled()
            assert [guest.recv(100) for guest, _ in household.guests] == [b"hello", b"well"]
            assert [remote for _, remote in household.guests] == [place(prompt), place(slow)]


async def test_who_comes_when_there_is_no_time_is_told_so() -> None:
    """F14"""
    async with open_door() as (household, _, address):
        household.has_time = False
        with call(address, b"hello" * 100) as caller:
            await settled()
            assert caller.recv(100) == b"no time"
            assert caller.recv(100) == b""  # and no reset
        assert household.guests == []


async def test_who_goes_without_a_word_came_to_nothing() -> None:
    async with open_door() as (household, _, address):
        caller = call(address)
        remote = place(caller)
        await settled()
        caller.close()
        await settled()
        assert household.gone == [remote]
        assert household.guests == []


async def test_of_the_silent_the_latest_are_kept() -> None:
    """F14: an honest caller speaks at once, however many others do not."""
    async with open_door() as (household, _, address):
        callers = [call(address) for _ in range(MAX_SILENT + 3)]
        await settled()
        assert [is_open(caller) for caller in callers[:4]] == [False, False, False, True]
        with call(address, b"hello") as honest:
            await settled()
            assert [remote for _, remote in household.guests] == [place(honest)]
        for caller in callers:
            caller.close()


async def test_the_silent_are_kept_for_a_while(mock_clock: trio.testing.MockClock) -> None:
    async with open_door() as (household, _, address):
        with call(address) as caller:
            await settled()
            for _ in range(2):
                assert is_open(caller)
                mock_clock.jump(SILENT_SECONDS / 2)
                await settled()
            mock_clock.jump(SILENT_SECONDS / 2)
            await settled()
            assert not is_open(caller)
        assert household.gone == []


async def test_in_the_end_all_are_closed() -> None:
    async with open_door() as (_, _, address):
        caller = call(address)
        await settled()
        assert is_open(caller)
    assert not is_open(caller)
    caller.close()


async def test_without_descriptors_callers_wait(caplog: pytest.LogCaptureFixture) -> None:
    async with open_door() as (household, _, address):
        waiting = socket.socket()  # made while there is a descriptor for it
        before = resource.getrlimit(resource.RLIMIT_NOFILE)
        lowest = os.dup(0)
        os.close(lowest)
        resource.setrlimit(resource.RLIMIT_NOFILE, (lowest, before[1]))
        try:
            waiting.connect(address)
            waiting.send(b"hello")
            await trio.sleep(0.3)
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, before)
        assert household.guests == []
        await trio.sleep(0.3)
        assert len(household.guests) == 1
        waiting.close()
    assert [record.getMessage() for record in caplog.records] == ["connections must wait"]
