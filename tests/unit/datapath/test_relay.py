"""Datagrams of others: passed on as they came, but for the hop limit; or counted by reason."""

from __future__ import annotations

import errno
from collections.abc import Iterator

import pytest

from tests.kit.data_plane import Host, essence, make_frame, merge, pair, use_direct, use_relay
from weave_py.model.names import PeerName
from weave_py.wire.sleeve import HOP_LIMIT, RELAY_PREFIX_BYTES, relay_prefix

SOURCE = ("10.0.0.1", 6783)


@pytest.fixture
def three() -> Iterator[tuple[Host, Host, Host]]:
    """A, R, B: A reaches B through R."""
    with Host(1) as a, Host(2) as relay, Host(3) as b:
        pair(a, b, 7)
        use_direct(a, relay, 1472)
        use_relay(a, b, relay, 1472)
        use_direct(relay, b, 1472)
        relay.routes({b.name: b.name})
        yield a, relay, b


def test_a_train_passes_whole_and_unopened(three: tuple[Host, Host, Host]) -> None:
    a, relay, b = three
    a.send(b, [make_frame(1, 30_000)])
    came = a.socket.take()
    relay.receive(merge(came))
    assert relay.socket.calls == 1
    left = relay.socket.take()
    assert all(d.destination == tuple(b.endpoint) for d in left)
    assert [d.payload[1] for d in left] == [HOP_LIMIT - 1] * len(came)
    assert [d.payload[2:] for d in left] == [d.payload[2:] for d in came]
    assert relay.counters.datagrams_relayed == relay.counters.datagrams_in == len(came)
    b.receive(merge(left))
    assert [essence(f) for f in b.delivered(a)] == [essence(make_frame(1, 30_000))]


def test_a_datagram_does_not_go_round_for_ever() -> None:
    nobody = PeerName(b"\x02nobod")
    with Host(1) as a, Host(2) as b, Host(3) as c:
        circle = [a, b, c]
        for host, following in zip(circle, [b, c, a], strict=True):
            use_direct(host, following, 1472)
            host.routes({nobody: following.name})
        datagram = relay_prefix(nobody) + bytes(50)
        a.receive([(datagram * 3, len(datagram), ("10.0.0.9", 6783))])
        for _ in range(HOP_LIMIT):
            for host, following in zip(circle, [b, c, a], strict=True):
                following.receive(merge(host.socket.take()))
        assert sum(host.counters.datagrams_relayed for host in circle) == 3 * (HOP_LIMIT - 1)
        assert sum(host.counters.relay_hop_limit for host in circle) == 3
        assert not any(host.socket.sent for host in circle)


def test_nothing_is_passed_back_to_where_it_came_from(three: tuple[Host, Host, Host]) -> None:
    """Two routers whose routes differ for a moment do not play ping-pong."""
    _, relay, b = three
    datagram = relay_prefix(b.name) + bytes(50)
    relay.receive([(datagram * 2, len(datagram), (b.endpoint.host, b.endpoint.port))])
    assert relay.counters.relay_no_route == 2
    assert relay.socket.sent == []


@pytest.mark.parametrize(("hops", "passes"), [(0, False), (1, False), (2, True), (255, True)])
def test_the_hop_limit(three: tuple[Host, Host, Host], hops: int, passes: bool) -> None:
    _, relay, b = three
    datagram = relay_prefix(b.name, hops) + bytes(50)
    relay.receive([(datagram, len(datagram), SOURCE)])
    assert relay.counters.relay_hop_limit == (not passes)
    left = min(hops, HOP_LIMIT) - 1  # nobody gets more than we would give ourselves
    assert [d.payload[1] for d in relay.socket.sent] == ([left] if passes else [])


def test_reasons_not_to_pass_on(three: tuple[Host, Host, Host]) -> None:
    a, relay, b = three
    datagram = relay_prefix(b.name) + bytes(50)
    train = [(datagram * 4, len(datagram), SOURCE)]
    relay.socket.error = errno.EAGAIN
    relay.receive(train)
    assert relay.counters.relay_send_refused == 4
    relay.socket.error = 0
    use_relay(relay, b, a, 1472)  # the next hop itself is only reached through others
    relay.receive(train)
    assert relay.counters.relay_no_route == 4
    relay.egress(b).use(None, 0)
    relay.receive(train)
    assert relay.counters.relay_no_route == 8
    relay.routes({})
    relay.receive(train)
    assert relay.counters.relay_no_route == 12
    assert relay.counters.datagrams_relayed == 0
    assert relay.socket.sent == []


def test_a_mixed_train_is_told_apart(three: tuple[Host, Host, Host]) -> None:
    """GRO makes one train of what a relay sent for several peers, with several hop limits."""
    _, relay, b = three
    with Host(4) as c:
        use_direct(relay, c, 1472)
        relay.routes({b.name: b.name, c.name: c.name})
        limits = [(b, 9), (b, 9), (c, 9), (b, 1), (b, 5), (c, 7)]
        pieces = [relay_prefix(host.name, hops) + bytes((i,)) * 50
                  for i, (host, hops) in enumerate(limits)]  # fmt: skip
        pieces[-1] = pieces[-1][:40]
        relay.receive([(b"".join(pieces), len(pieces[0]), SOURCE)])
        sent = [(d.destination, d.payload[1], d.payload[RELAY_PREFIX_BYTES:])
                for d in relay.socket.sent]  # fmt: skip
        assert sent == [
            (tuple(host.endpoint), hops - 1, pieces[i][RELAY_PREFIX_BYTES:])
            for i, (host, hops) in enumerate(limits)
            if hops > 1
        ]
        assert relay.counters.relay_hop_limit == 1
        assert relay.counters.datagrams_relayed == 5
        assert relay.counters.datagrams_in == 6


def test_a_runt_at_the_end_of_a_train_is_not_judged_by_what_lay_there_before(
    three: tuple[Host, Host, Host],
) -> None:
    _, relay, b = three
    datagram = relay_prefix(b.name) + bytes(50)
    relay.receive([(datagram * 3, len(datagram), SOURCE)])
    relay.socket.take()
    relay.receive([((datagram * 3)[: 2 * len(datagram) + 5], len(datagram), SOURCE)])
    assert len(relay.socket.sent) == 2
    assert relay.counters.datagrams_malformed == 1
