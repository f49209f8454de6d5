"""Are netlink's bytes understood, and does one socket ask the kernel whatever it is asked?"""

from __future__ import annotations

import errno
import socket
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from weave_py.host.rtnl import (
    RTM_DELLINK,
    RTM_GETLINK,
    RouteSocket,
    _refusal,
    attribute,
    attributes,
    messages,
    open_netlink,
    text,
)
from weave_py.host.underlay_watch import UnderlayWatch

IFNAME = 3
ALL_LINKS = struct.pack("=BxHiII", 0, 0, 0, 0, 0)

u16, u32 = st.integers(0, 0xFFFF), st.integers(0, 0xFFFF_FFFF)


def link(index: int) -> bytes:
    return struct.pack("=BxHiII", 0, 0, index, 0, 0)


def name_in(payload: bytes) -> str:
    return text(attributes(payload, 16).get(IFNAME))


@given(st.lists(st.tuples(u16, u16, u32, st.binary(max_size=50)), max_size=8))
def test_messages_come_back(sent: list[tuple[int, int, int, bytes]]) -> None:
    data = b""
    for kind, flags, sequence, body in sent:
        data += struct.pack("=IHHII", 16 + len(body), kind, flags, sequence, 0) + body
        data += bytes(-len(data) % 4)
    assert list(messages(data)) == sent


@given(st.binary(max_size=100))
def test_noise_is_no_error(noise: bytes) -> None:
    list(messages(noise))
    attributes(noise)


def test_the_kernels_own_words_are_read() -> None:
    words = attribute(1, b"Unsupported flag\0")
    echo = struct.pack("=IHHII", 16, 0x10, 5, 1, 0)
    payload = struct.pack("=i", -errno.EINVAL) + echo + words
    told = _refusal(0x300, payload)
    assert told is not None
    assert (told.errno, told.__notes__) == (errno.EINVAL, ["Unsupported flag"])
    told = _refusal(0x302, payload[:4] + words, echoed=0)  # as a list ends
    assert told is not None
    assert told.__notes__ == ["Unsupported flag"]
    for flags, cut in ((0x100, payload), (0x300, payload[:-8])):
        told = _refusal(flags, cut)
        assert told is not None
        assert told.errno == errno.EINVAL
        assert not hasattr(told, "__notes__")
    assert _refusal(0x100, bytes(4) + echo) is None


def test_a_refusal_is_the_kind_of_error_that_its_errno_stands_for() -> None:
    """Callers say `except FileExistsError`."""
    told = _refusal(0, struct.pack("=i", -errno.EEXIST))
    assert isinstance(told, FileExistsError)


def test_the_kernel_answers() -> None:
    with RouteSocket() as sock:
        index = socket.if_nametoindex("lo")
        assert name_in(sock.ask(RTM_GETLINK, link(index))) == "lo"
        assert "lo" in map(name_in, sock.dump(RTM_GETLINK, ALL_LINKS))


def test_a_refusal_is_an_os_error_and_the_next_request_gets_its_own_answer() -> None:
    with RouteSocket() as sock:
        with pytest.raises(OSError, match="No such device"):
            sock.ask(RTM_GETLINK, link(0x7FFF_FFFF))
        with pytest.raises(OSError) as refused:  # noqa: PT011 - which one depends on who we are
            sock.change((RTM_DELLINK, 0, link(0x7FFF_FFFF)), (RTM_DELLINK, 0, link(0x7FFF_FFFE)))
        assert refused.value.errno in (errno.EPERM, errno.ENODEV)
        assert "lo" in map(name_in, sock.dump(RTM_GETLINK, ALL_LINKS))


def test_what_came_for_an_earlier_request_is_skipped() -> None:
    """t28, t70: answers of a request that was given up are nobody's."""
    with RouteSocket() as sock:
        index = socket.if_nametoindex("lo")
        sock._sock.send(sock._message(RTM_GETLINK, 0, ALL_LINKS, 0x300))
        assert name_in(sock.ask(RTM_GETLINK, link(index))) == "lo"
        assert "lo" in map(name_in, sock.dump(RTM_GETLINK, ALL_LINKS))


def test_watching_waits_for_nothing() -> None:
    with UnderlayWatch() as watch:
        watch.drain()
    with pytest.raises(OSError, match="not supported"):
        open_netlink(protocol=31)


def test_who_walks_a_dump_reads_no_more_than_it_wants() -> None:
    """F6: a hundred thousand entries were read for a status."""
    with RouteSocket() as sock:
        whole = sock.dump(RTM_GETLINK, ALL_LINKS)
        assert [name_in(each) for each in sock.walk(RTM_GETLINK, ALL_LINKS)] == [
            name_in(each) for each in whole
        ]
        assert name_in(next(sock.walk(RTM_GETLINK, ALL_LINKS))) == name_in(whole[0])
