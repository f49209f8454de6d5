"""Control streams over the loopback interface: nothing is lost, nothing waits for ever."""

from __future__ import annotations

import socket
import struct
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import pytest
import trio
import trio.testing

from tests.kit.loops import TaskLoop, task_loop
from weave_py.loop.control_stream import (
    DIAL_SECONDS,
    FLUSH_SECONDS,
    MAX_QUEUED_BYTES,
    ControlStream,
    UnknownName,
    dial,
    remote_of,
    tune,
    unresolvable,
    why,
)
from weave_py.model.names import Endpoint, parse_target

Pair = tuple[trio.SocketStream, trio.SocketStream]
_loops: dict[trio.SocketStream, TaskLoop] = {}


def control_of(stream: trio.SocketStream) -> ControlStream:
    """A control stream over one of a `pair`."""
    return ControlStream(stream, _loops[stream])


@asynccontextmanager
async def pair() -> AsyncIterator[Pair]:
    (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
    async with listener:
        ours = await trio.open_tcp_stream(*listener.socket.getsockname())
        theirs = await listener.accept()
    async with ours, theirs, task_loop() as loop:
        _loops.update(dict.fromkeys((ours, theirs), loop))
        try:
            yield ours, theirs
        finally:
            _loops.clear()


class Ears:
    """Remembers what a stream had to say."""

    def __init__(self) -> None:
        self.data = bytearray()
        self.ends: list[str] = []
        self.writable: list[bool] = []
        self.closed = trio.Event()

    async def run(self, control: ControlStream) -> None:
        await control.run(self.data.extend, self.ends.append, self.writable.append)
        self.closed.set()


async def read_all(stream: trio.SocketStream) -> bytes:
    data = bytearray()
    while chunk := await stream.receive_some(65_536):
        data += chunk
    return bytes(data)


async def test_bytes_go_both_ways_in_order() -> None:
    async with pair() as (ours, theirs), trio.open_nursery() as nursery:
        one, other = control_of(ours), control_of(theirs)
        hears, listens = Ears(), Ears()
        nursery.start_soon(hears.run, one)
        nursery.start_soon(listens.run, other)
        expected = b"".join(i.to_bytes(4, "big") * 500 for i in range(500))
        for i in range(500):
            one.send(i.to_bytes(4, "big") * 500)
            if i % 50 == 0:
                await trio.lowlevel.checkpoint()
        other.send(b"back")
        with trio.fail_after(10):
            while len(listens.data) < len(expected) or len(hears.data) < 4:
                await trio.testing.wait_all_tasks_blocked(0.001)
        assert listens.data == expected
        assert hears.data == b"back"
        one.close()
        with trio.fail_after(10):
            await listens.closed.wait()
            await hears.closed.wait()
        assert listens.ends == ["connection closed by the peer"]
        assert hears.ends == []  # we closed it ourselves


async def test_all_bytes_before_close_arrive() -> None:
    data = bytes(range(256)) * 2048
    async with pair() as (ours, theirs), trio.open_nursery() as nursery:
        one, ears = control_of(ours), Ears()
        one.send(data)
        one.send(b"goodbye")
        one.close()  # even before it runs
        nursery.start_soon(ears.run, one)
        with trio.fail_after(10):
            assert await read_all(theirs) == data + b"goodbye"
            await ears.closed.wait()
        assert ears.ends == []


async def test_an_abort_overtakes_what_is_not_acknowledged() -> None:
    async with pair() as (ours, theirs), trio.open_nursery() as nursery:
        one, ears = control_of(ours), Ears()
        nursery.start_soon(ears.run, one)
        one.send(bytes(1 << 21))  # more than the peer, who does not read, has room for
        await trio.testing.wait_all_tasks_blocked(0.01)
        assert one.waiting
        one.abort()
        with trio.fail_after(1):
            await ears.closed.wait()
            with pytest.raises(trio.BrokenResourceError) as caught:
                await read_all(theirs)
        assert why(caught.value) == "connection reset by peer"
        assert ears.ends == []


async def test_a_peer_that_says_no_more_still_gets_our_last_bytes() -> None:
    data = bytes(range(256)) * 8192
    async with pair() as (ours, theirs), trio.open_nursery() as nursery:
        one, ears = control_of(ours), Ears()
        one.send(data)
        one.close()
        nursery.start_soon(ears.run, one)
        await theirs.send_eof()
        await trio.testing.wait_all_tasks_blocked()
        with trio.fail_after(10):
            assert await read_all(theirs) == data
            await ears.closed.wait()


async def test_all_bytes_before_the_peers_close_are_heard_before_its_end() -> None:
    data = bytes(range(256)) * 2048
    async with pair() as (ours, theirs), trio.open_nursery() as nursery:
        one, ears = control_of(ours), Ears()
        nursery.start_soon(ears.run, one)
        await theirs.send_all(data)
        await theirs.aclose()
        with trio.fail_after(10):
            await ears.closed.wait()
        assert ears.data == data
        assert ears.ends == ["connection closed by the peer"]


async def test_a_reset_is_said_in_the_words_of_the_system() -> None:
    async with pair() as (ours, theirs), trio.open_nursery() as nursery:
        one, ears = control_of(ours), Ears()
        nursery.start_soon(ears.run, one)
        theirs.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        await theirs.aclose()
        with trio.fail_after(10):
            await ears.closed.wait()
        assert ears.ends == ["connection reset by peer"]


async def test_a_peer_that_reads_nothing_is_cut_off() -> None:
    async with pair() as (ours, _theirs), trio.open_nursery() as nursery:
        one, ears = control_of(ours), Ears()
        nursery.start_soon(ears.run, one)
        sent = 0
        with trio.fail_after(10):
            while not ears.closed.is_set():
                one.send(bytes(1 << 18))
                sent += 1 << 18
                await trio.testing.wait_all_tasks_blocked()
        assert ears.ends == ["the peer takes no bytes"]
        assert sent < 6 * MAX_QUEUED_BYTES
        assert ours.socket.fileno() == -1


async def test_a_peer_that_reads_slowly_is_not_cut_off() -> None:
    async with pair() as (ours, theirs), trio.open_nursery() as nursery:
        one, ears = control_of(ours), Ears()
        nursery.start_soon(ears.run, one)
        received = 0
        for _ in range(40):
            one.send(bytes(MAX_QUEUED_BYTES // 8))
            while received < MAX_QUEUED_BYTES // 8:
                received += len(await theirs.receive_some(65_536))
            received -= MAX_QUEUED_BYTES // 8
        assert ears.ends == []
        one.close()
        with trio.fail_after(10):
            await read_all(theirs)
            await ears.closed.wait()


async def test_closing_waits_only_so_long_for_a_peer_that_reads_nothing(
    mock_clock: trio.testing.MockClock,
) -> None:
    async with pair() as (ours, _theirs), trio.open_nursery() as nursery:
        one, ears = control_of(ours), Ears()
        nursery.start_soon(ears.run, one)
        await _stuck(one)
        one.close()
        await trio.testing.wait_all_tasks_blocked()
        assert not ears.closed.is_set()
        mock_clock.jump(FLUSH_SECONDS + 0.01)
        await trio.testing.wait_all_tasks_blocked()
        assert ears.closed.is_set()
        assert ears.ends == []
        assert ours.socket.fileno() == -1


async def _nothing(one: ControlStream) -> None: ...


async def _idle(one: ControlStream) -> None:
    await trio.testing.wait_all_tasks_blocked()


async def _stuck(one: ControlStream) -> None:
    """Until the kernel takes no more, and the writer waits."""
    for _ in range(24):
        one.send(bytes(1 << 19))
        await trio.testing.wait_all_tasks_blocked()
        if one._queued:
            break
    assert one._queued


async def _stuck_and_closing(one: ControlStream) -> None:
    await _stuck(one)
    one.close()
    await trio.testing.wait_all_tasks_blocked()


async def _closing(one: ControlStream) -> None:
    await _idle(one)
    one.send(b"x")
    one.close()


@pytest.mark.parametrize("moment", [_nothing, _idle, _stuck, _stuck_and_closing, _closing])
async def test_cancelled_at_any_moment_the_socket_is_closed(
    moment: Callable[[ControlStream], Awaitable[None]],
) -> None:
    async with pair() as (ours, _theirs):
        one, ears = control_of(ours), Ears()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(ears.run, one)
            await moment(one)
            nursery.cancel_scope.cancel()
        assert ours.socket.fileno() == -1
        assert ears.ends == []
        one.send(b"to nobody")  # harmless
        one.close()


async def test_a_listener_that_fails_is_not_swallowed() -> None:
    """A bug in what handles the bytes must show, not look like a closed connection."""
    async with pair() as (ours, theirs):
        await theirs.send_all(b"x")

        def broken(data: bytes) -> None:
            raise ZeroDivisionError

        with pytest.raises(ZeroDivisionError):
            await control_of(ours).run(broken, lambda _: None, lambda _: None)
        assert ours.socket.fileno() == -1


async def test_dial_connects() -> None:
    (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
    async with listener:
        port = listener.socket.getsockname()[1]
        stream = await dial("127.0.0.1", port, None)
        async with stream, await listener.accept() as accepted:
            tune(stream)
            assert remote_of(stream) == Endpoint("127.0.0.1", port)
            assert remote_of(accepted).host == "127.0.0.1"
            assert stream.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)


async def test_dial_says_that_nobody_listens() -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        port = unused.getsockname()[1]
        with pytest.raises(OSError, match="connection refused") as caught:
            await dial("127.0.0.1", port, None)
    assert str(caught.value) == f"cannot connect to 127.0.0.1 port {port}: connection refused"


class Resolver(trio.abc.HostnameResolver):
    """Names resolve to nothing, or never."""

    def __init__(self, never: bool, error: int = socket.EAI_NONAME) -> None:
        self.never = never
        self.error = error

    async def getaddrinfo(self, host, port, family=0, type=0, proto=0, flags=0):  # type: ignore[no-untyped-def]
        if self.never:
            await trio.sleep_forever()
        words = {socket.EAI_NONAME: "Name or service not known", socket.EAI_AGAIN: "Try again"}
        raise socket.gaierror(self.error, words[self.error])

    async def getnameinfo(self, sockaddr, flags):  # type: ignore[no-untyped-def]
        raise NotImplementedError


async def test_dial_says_that_a_name_is_unknown() -> None:
    trio.socket.set_custom_hostname_resolver(Resolver(never=False))
    with pytest.raises(OSError, match="cannot resolve") as caught:
        await dial("nosuch.example", 6783, None)
    assert str(caught.value) == "cannot resolve 'nosuch.example': Name or service not known"


async def test_dial_tells_a_name_that_is_unknown_from_a_resolver_in_trouble() -> None:
    """(t04) After a boot the name server may not be there yet."""
    trio.socket.set_custom_hostname_resolver(Resolver(never=False))
    with pytest.raises(UnknownName):
        await dial("nosuch.example", 6783, None)
    trio.socket.set_custom_hostname_resolver(Resolver(never=False, error=socket.EAI_AGAIN))
    with pytest.raises(OSError, match="now: Try again") as caught:
        await dial("early.example", 6783, None)
    assert not isinstance(caught.value, UnknownName)


async def test_dial_survives_what_is_no_name() -> None:
    with pytest.raises(OSError, match=r"cannot resolve 'a\.\.b'"):
        await dial("a..b", 6783, None)


async def test_names_that_do_not_resolve_are_named(autojump_clock: trio.testing.MockClock) -> None:
    trio.socket.set_custom_hostname_resolver(Resolver(never=False))
    found = await unresolvable([parse_target(t) for t in ("nosuch", "192.0.2.1", "[::1]:7000")])
    stays = "it stays a target, and is tried again"
    why = f"cannot resolve 'nosuch': Name or service not known: check the name; {stays}"
    assert found == {"nosuch": why}
    trio.socket.set_custom_hostname_resolver(Resolver(never=False, error=socket.EAI_AGAIN))
    found = await unresolvable([parse_target("early")])
    assert found == {"early": f"cannot resolve 'early' now: Try again: {stays}"}
    trio.socket.set_custom_hostname_resolver(Resolver(never=True))
    found = await unresolvable([parse_target("slow1"), parse_target("slow2")])
    assert found["slow2"] == f"cannot resolve 'slow2' now: no answer from the name server: {stays}"
    assert len(found) == 2
    assert await unresolvable([]) == {}


async def test_dial_gives_up_in_time(autojump_clock: trio.testing.MockClock) -> None:
    trio.socket.set_custom_hostname_resolver(Resolver(never=True))
    start = trio.current_time()
    with pytest.raises(OSError, match=r"no answer from slow\.example within 5 s"):
        await dial("slow.example", 6783, None)
    assert trio.current_time() - start == pytest.approx(DIAL_SECONDS)


def test_why_finds_the_systems_words() -> None:
    broken = trio.BrokenResourceError("socket connection broken")
    broken.__cause__ = ConnectionResetError(104, "Connection reset by peer")
    assert why(broken) == "connection reset by peer"
    group = OSError("all attempts to connect failed")
    group.__cause__ = ExceptionGroup("", [ConnectionRefusedError(111, "Connection refused")])
    assert why(group) == "connection refused"
    assert why(ValueError("plain")) == "plain"
    assert why(ValueError()) == "ValueError"


async def test_what_the_kernel_has_not_taken_is_waiting() -> None:
    async with pair() as (ours, theirs), trio.open_nursery() as nursery:
        tune(ours)
        control, ears = control_of(ours), Ears()
        control.send(bytes(1_000))
        assert control.waiting == 1_000
        nursery.start_soon(ears.run, control)
        await trio.testing.wait_all_tasks_blocked()
        assert control.waiting == 0
        for _ in range(30):  # nobody reads at the other end
            control.send(bytes(100_000))
            await trio.testing.wait_all_tasks_blocked()
        assert 1_000_000 < control.waiting <= 3_000_000, "the kernel takes little of what waits"
        before = control.waiting
        control.send(bytes(7))
        assert control.waiting == before + 7
        while control.waiting:
            await theirs.receive_some(65_536)
        nursery.cancel_scope.cancel()


async def test_a_stream_that_is_cut_says_why_and_sends_no_more() -> None:
    async with pair() as (ours, theirs), trio.open_nursery() as nursery:
        control, ears = control_of(ours), Ears()
        nursery.start_soon(ears.run, control)
        await trio.testing.wait_all_tasks_blocked()
        assert control.local_host == "127.0.0.1"
        control.cut("this host's address is gone")
        await ears.closed.wait()
        assert ears.ends == ["this host's address is gone"]
        assert await read_all(theirs) == b""
        assert control.local_host is None


async def test_it_says_when_bytes_wait_and_when_none_do_any_more() -> None:
    """F5b: answers are paced by what the stream takes."""
    async with pair() as (ours, theirs), trio.open_nursery() as nursery:
        one, ears = control_of(ours), Ears()
        nursery.start_soon(ears.run, one)
        one.send(b"a little")
        with trio.fail_after(10):
            assert await theirs.receive_some(100) == b"a little"
            assert ears.writable == []
            sent = 8
            while not one.waiting:
                one.send(bytes(60_000))
                sent += 60_000
                await trio.testing.wait_all_tasks_blocked()
            assert ears.writable == [False]
            one.send(b"more")
            taken = 8
            while taken < sent + 4:
                taken += len(await theirs.receive_some(65_536))
            await trio.testing.wait_all_tasks_blocked(0.01)
        assert ears.writable == [False, True]
        assert one.waiting == 0
        one.close()
        await theirs.aclose()
