"""What leaves a TAP: bundled, in order, in fair turns, and every frame counted once."""

from __future__ import annotations

import errno

import pytest

from tests.kit.data_plane import Host, essence, make_frame, merge, pair, use_direct, use_relay
from tests.kit.super_frames import super_frame
from weave_py.datapath import outbound
from weave_py.datapath.outbound import BYTES_PER_TURN, FRAMES_PER_TURN
from weave_py.link.egress import NextHop
from weave_py.link.sealing import MAX_RECORDS
from weave_py.wire.sleeve import FLAG_LAST, FLAG_MORE, KIND_RELAYED, RELAY_PREFIX_BYTES


def test_small_frames_share_a_record() -> None:
    with Host(1) as a, Host(2) as b:
        pair(a, b, 7)
        use_direct(a, b, 1472)
        a.send(b, [make_frame(n, 60) for n in range(10)])
        counters = a.egress(b).counters
        assert counters.records_out == counters.datagrams_out == 1
        assert counters.frames_out == 10
        assert counters.bytes_out == 600
        assert len(a.socket.sent) == 1


def test_frames_that_do_not_fit_together_get_records_of_their_own() -> None:
    with Host(1) as a, Host(2) as b:
        pair(a, b, 7)
        use_direct(a, b, 1472)
        sizes = [1400, 60_000, 30_000, 40_000, 1400, 60_000]
        a.send(b, [make_frame(n, size) for n, size in enumerate(sizes)])
        assert not any(d.payload[1] & FLAG_MORE for d in a.socket.sent)
        a.egress(b).record_datagrams = 2
        a.socket.take()
        a.send(b, [make_frame(n, 900) for n in range(30)])
        lasts = [d for d in a.socket.sent if d.payload[1] & FLAG_LAST]
        assert len(lasts) == 10  # three of them fit into two datagrams
        assert len(a.socket.sent) == 20


def test_a_record_is_one_call_and_full_datagrams() -> None:
    with Host(1) as a, Host(2) as b:
        pair(a, b, 7)
        use_direct(a, b, 1472)
        a.send(b, [make_frame(1, 60_000)])
        assert a.socket.calls == 1
        assert {len(d.payload) for d in a.socket.sent[:-1]} == {1472}
        assert a.egress(b).counters.datagrams_out == len(a.socket.sent) == 42


def test_without_gso_the_same_datagrams_leave() -> None:
    sent = []
    for gso in (True, False):
        with Host(1, gso) as a, Host(2) as b:
            pair(a, b, 7)
            use_direct(a, b, 1472)
            a.send(b, [make_frame(n, 9000) for n in range(3)])
            sent.append(a.socket.sent)
    assert sent[0] == sent[1]


def test_a_turn_is_bounded_in_frames_and_in_bytes() -> None:
    with Host(1) as a, Host(2) as b:
        pair(a, b, 7)
        use_direct(a, b, 1472)
        port, tap = a.port(b), a.taps[b.name]
        for number in range(FRAMES_PER_TURN + 10):
            assert tap.offer(make_frame(number, 60))
        a.outbound.drain(port)
        assert port.egress.counters.frames_out == FRAMES_PER_TURN
        a.outbound.drain(port)
        assert port.egress.counters.frames_out == FRAMES_PER_TURN + 10
        before = port.egress.counters.bytes_out
        number = 0
        while tap.offer(make_frame(number, 60_000)):
            number += 1
        assert number * 60_000 > BYTES_PER_TURN
        a.outbound.drain(port)
        assert port.egress.counters.bytes_out - before < BYTES_PER_TURN + 65_536


def test_an_empty_tap_sends_nothing() -> None:
    with Host(1) as a, Host(2) as b:
        pair(a, b, 7)
        use_direct(a, b, 1472)
        a.send(b, [])
        assert a.socket.calls == 0
        assert a.egress(b).counters.records_out == 0


def test_traffic_is_reported_once_until_it_pauses() -> None:
    with Host(1) as a, Host(2) as b:
        pair(a, b, 7)
        use_direct(a, b, 1472)
        for number in range(3):
            a.send(b, [make_frame(number, 60)])
        assert a.outbound.woken == [b.name]
        a.egress(b).busy = False
        a.send(b, [make_frame(4, 60)])
        assert a.outbound.woken == [b.name, b.name]


def test_without_keys_or_way_frames_are_counted_by_reason() -> None:
    with Host(1) as a, Host(2) as b, Host(3) as relay:
        frames = [make_frame(n, 60) for n in range(3)]
        counters = a.egress(b).counters
        use_direct(a, b, 1472)
        a.send(b, frames)
        assert counters.drop_no_session == 3
        pair(a, b, 7)
        a.egress(b).use(None, 0)
        a.send(b, frames)
        assert counters.drop_no_path == 3
        use_relay(a, b, relay, 1472)  # a neighbour that we have no direct way to
        a.send(b, frames)
        assert counters.drop_no_path == 6
        use_direct(a, b, 1472)
        sealer = a.egress(b).sealer
        assert sealer is not None
        sealer.counter = MAX_RECORDS
        a.send(b, frames)
        assert counters.drop_no_session == 6
        assert a.socket.sent == []
        assert counters.frames_out == 0


def test_a_discarding_turn_is_bounded_too() -> None:
    with Host(1) as a, Host(2) as b:
        port, tap = a.port(b), a.taps[b.name]
        for number in range(FRAMES_PER_TURN + 10):
            assert tap.offer(make_frame(number, 60))
        a.outbound.drain(port)
        assert port.egress.counters.drop_no_session == FRAMES_PER_TURN


@pytest.mark.parametrize("error", [errno.EAGAIN, errno.ENETUNREACH, errno.EPERM])
def test_what_the_kernel_refuses_is_counted_once(error: int) -> None:
    with Host(1) as a, Host(2) as b:
        pair(a, b, 7)
        use_direct(a, b, 1472)
        a.socket.error = error
        # The last one takes two records: it is still one frame.
        a.send(b, [make_frame(1, 60), make_frame(2, 60), make_frame(3, 65_535)])
        counters = a.egress(b).counters
        assert counters.drop_send_refused == 3
        assert counters.frames_out == counters.datagrams_out == 0
        a.socket.error = 0
        a.send(b, [make_frame(4, 60)])
        assert counters.frames_out == 1


def test_a_tap_that_goes_away_takes_nothing_with_it() -> None:
    with Host(1) as a, Host(2) as b:
        pair(a, b, 7)
        use_direct(a, b, 1472)
        port = a.port(b)
        a.taps[b.name].tap.close()
        a.outbound.drain(port)
        port.unplug()
        a.outbound.drain(port)
        assert a.egress(b).counters.frames_out == 0


def test_relayed_datagrams_carry_the_destination_and_go_to_the_relay() -> None:
    with Host(1) as a, Host(2) as b, Host(3) as relay:
        pair(a, b, 7)
        use_relay(a, b, relay, 1472)
        use_direct(a, relay, 1472)
        a.send(b, [make_frame(1, 5000)])
        assert len(a.socket.sent) == 4
        for datagram in a.socket.sent:
            assert datagram.destination == tuple(relay.endpoint)
            assert datagram.payload[0] == KIND_RELAYED
            assert datagram.payload[2:RELAY_PREFIX_BYTES] == b.name
            assert len(datagram.payload) <= 1472


def test_a_changed_way_takes_effect_with_the_next_turn() -> None:
    with Host(1) as a, Host(2) as b, Host(3) as relay:
        pair(a, b, 7)
        use_direct(a, relay, 1472)
        relay.routes({b.name: b.name})
        use_direct(relay, b, 1472)
        frames = [make_frame(n, 3000) for n in range(3)]
        for frame, change in zip(frames, (1200, 0, 8972), strict=True):
            if change:
                use_direct(a, b, change)
            else:
                use_relay(a, b, relay, 1400)
            a.send(b, [frame])
        datagrams = a.socket.take()
        relay.receive(merge([d for d in datagrams if d.destination == tuple(relay.endpoint)]))
        b.receive(merge([d for d in datagrams if d.destination == tuple(b.endpoint)]))
        b.receive(merge(relay.socket.take()))
        arrived = {essence(frame) for frame in b.delivered(a)}
        assert arrived == {essence(frame) for frame in frames}


def test_the_way_of_an_outlet_says_what_it_is() -> None:
    with Host(1) as a, Host(2) as relay:
        assert NextHop(a.endpoint, None).kind == "direct"
        assert NextHop(None, relay.name).kind == "relay"
        assert NextHop(None, relay.name).text == f"via {relay.name.hex(':')}"


def test_bulk_whose_queue_never_empties_loses_a_segment_now_and_then(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    now = 0.0
    monkeypatch.setattr(outbound, "clock", lambda: now)
    frame = super_frame(bytes(30_000), 1324)
    with Host(1) as a, Host(2) as b:
        pair(a, b, 7)
        use_direct(a, b, 1472)
        port, tap = a.port(b), a.taps[b.name]
        sent = 0
        for _ in range(100):
            while tap.offer(frame):
                pass
            a.outbound.drain(port)  # less than what is there
            now += 0.005
            b.receive(merge(a.socket.take()))
            sizes = [len(f) for f in b.delivered(a)]
            sent += len(sizes)
            assert set(sizes) <= {len(frame), len(frame) - 30_000 % 1324}
        assert 5 < a.egress(b).counters.drop_queue < sent / 20


def test_a_few_broadcasts_do_not_make_a_peer_one_in_use() -> None:
    def broadcast(size: int) -> bytes:
        frame = make_frame(1, size)
        return frame[:16] + b"\xff" * 6 + frame[22:]

    with Host(1) as a, Host(2) as b:
        pair(a, b, 7)
        use_direct(a, b, 1472)
        a.send(b, [broadcast(60)] * 3)
        assert a.outbound.woken == []
        assert a.egress(b).counters.frames_out == 3
        a.send(b, [broadcast(60), make_frame(2, 60)])
        assert a.outbound.woken == [b.name]
        a.outbound.woken.clear()
        a.egress(b).busy = False
        a.send(b, [broadcast(1400)] * 4)
        assert a.outbound.woken == [b.name]
