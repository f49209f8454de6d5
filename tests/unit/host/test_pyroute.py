"""Does a netlink socket that lives as long as the router keep anything, and how does it say no?"""

from __future__ import annotations

import errno
from collections.abc import Iterator

import pytest

from weave_py.host.netlink import Netlink
from weave_py.host.pyroute import IPRoute


@pytest.fixture
def ip() -> Iterator[IPRoute]:
    with IPRoute() as made:
        yield made


def kept(ip: IPRoute) -> int:
    """How many datagrams of the kernel wait in the library for somebody to take them."""
    queues = ip.asyncore.msg_queue.queues
    return sum(queue.qsize() for queue in queues.values())


def look(ip: IPRoute) -> None:
    ip.link("get", ifname="lo")


def list_all(ip: IPRoute) -> None:
    assert list(ip.get_links())


def ask_for_what_is_not_there(ip: IPRoute) -> None:
    with pytest.raises(OSError, match="No such device"):
        ip.link("get", ifname="wv-nowhere")


def change_nothing(ip: IPRoute) -> None:
    with pytest.raises(OSError) as refused:  # noqa: PT011 - which one depends on who we are
        ip.link("del", index=0x7FFFFFFF)
    assert refused.value.errno in (errno.EPERM, errno.ENODEV)


def leave_a_list_half_read(ip: IPRoute) -> None:
    next(iter(ip.get_addr()))


ASKED = [look, list_all, ask_for_what_is_not_there, change_nothing, leave_a_list_half_read]


@pytest.mark.parametrize("ask", ASKED, ids=lambda ask: str(ask.__name__))
def test_nothing_stays_of_what_was_asked(ip: IPRoute, ask: object) -> None:
    """t28, t70: after the answer to a `get` comes an acknowledgement that nobody waits for; each
    kept a page of memory, for as long as the socket lived."""
    assert callable(ask)
    for _ in range(20):
        ask(ip)
        look(ip)  # by now the loop has read whatever came after the answer
    assert kept(ip) == 0


def test_the_same_of_the_routers_own() -> None:
    with Netlink() as netlink:
        for _ in range(20):
            assert netlink.link_exists("lo")
            assert not netlink.link_exists("wv-nowhere")
        assert kept(netlink._ip) == 0
