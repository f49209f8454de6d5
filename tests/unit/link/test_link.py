"""Do two links, over a wire that loses, always have a way and keys that fit?"""

from __future__ import annotations

import heapq
import itertools
import random
from collections.abc import Callable

import pytest

from weave_py.crypto.identity import Identity
from weave_py.link.control_record import ControlRecord
from weave_py.link.egress import Egress, NextHop
from weave_py.link.link import InstallOpener, Link, RemoveOpener, SendControl, SendUnicast
from weave_py.link.path_mtu import BASE
from weave_py.link.sealing import Opener
from weave_py.model.errors import WireError
from weave_py.model.names import Endpoint, PeerName, PeerUID
from weave_py.wire.probes import (
    Probe,
    ProbeAnswer,
    decode_untrusted,
    encode_probe,
)
from weave_py.wire.sleeve import FLAG_CONTROL, HEADER_BYTES, RELAY_PREFIX_BYTES, TAG_BYTES

IDENTITIES = [Identity.create(random.Random(n).randbytes) for n in (1, 2)]
PLACES = [Endpoint("192.0.2.1", 6783), Endpoint("192.0.2.2", 6783)]
RELAY = PeerName(b"\x02relay")
RTT = 0.02


class Side:
    """A link and what its router would keep for it."""

    def __init__(self, number: int, uid: int, now: float, seed: int) -> None:
        self.number = number
        self.uid = PeerUID(uid)
        dice = random.Random(f"{number} {uid} {seed}")
        indexes = itertools.count(uid * 1000 + 1)
        self.link = Link(
            IDENTITIES[number],
            self.uid,
            IDENTITIES[1 - number].name,
            (1, 2),
            dice.randbytes,
            lambda: next(indexes),
            now,
        )
        self.openers: dict[int, Opener] = {}
        self.seen: list[bytes] = []
        self.data_datagrams = 0
        self.unknown = 0
        self.ways: list[NextHop | None] = []

    @property
    def egress(self) -> Egress:
        return self.link.egress

    @property
    def place(self) -> Endpoint:
        return PLACES[self.number]


class Wire:
    """Two links, the datagrams between them, and the mesh for their session messages."""

    def __init__(self, seed: int = 0, loss: float = 0.0) -> None:
        self.dice = random.Random(seed)
        self.seed = seed
        self.now = 500.0
        self.loss = loss
        self.mesh_loss = 0.0
        self.direct = True
        self.mtu = 1472
        self._events: list[tuple[float, int, Callable[[], None]]] = []
        self._order = itertools.count()
        self.sides = [Side(0, 1, self.now, seed), Side(1, 2, self.now, seed)]
        self.sent = 0
        self.arrived = 0

    def meet(self, candidates: bool = True, relay: bool = False) -> None:
        for side in self.sides:
            self._introduce(side, candidates)
            if relay:
                side.link.set_relay(RELAY, None, self.now)
            self._carry_out(side)

    def _introduce(self, side: Side, candidates: bool = True) -> None:
        other = self.sides[1 - side.number]
        static = IDENTITIES[other.number].static_public
        side.link.peer_known(static, other.uid, [other.place] if candidates else [], self.now)

    def restart(self, number: int) -> None:
        uid = self.sides[number].uid + 10
        self.sides[number] = Side(number, uid, self.now, self.seed)
        self.meet()

    def run(self, seconds: float) -> None:
        end = self.now + seconds
        while True:
            for side in self.sides:
                deadline = side.link.next_deadline()
                if deadline is not None and deadline.at <= self.now:
                    side.link.advance(self.now)
                self._carry_out(side)
            due = [end]
            if self._events:
                due.append(self._events[0][0])
            due += [max(d.at, self.now) for s in self.sides if (d := s.link.next_deadline())]
            self.now = min(due)
            while self._events and self._events[0][0] <= self.now:
                heapq.heappop(self._events)[2]()
            if self.now >= end:
                return

    def send(self, number: int, body: bytes) -> bool:
        """A data record; False if there is no way or no key."""
        side = self.sides[number]
        egress = side.egress
        if egress.sealer is None or egress.next_hop is None:
            return False
        if not egress.busy:
            egress.busy = True
            side.link.woken(self.now)
        egress.counters.records_out += 1
        egress.counters.datagrams_out += 1
        self._emit(side, egress.next_hop, 0, body)
        self._carry_out(side)
        return True

    def _carry_out(self, side: Side) -> None:
        for output in side.link.take_outputs():
            match output:
                case SendUnicast(body):
                    if self.dice.random() >= self.mesh_loss:
                        self._later(RTT, self._unicast_to(self.sides[1 - side.number], body))
                case InstallOpener(index, opener):
                    side.openers[index] = opener
                case RemoveOpener(index):
                    side.openers.pop(index, None)
                case SendControl(next_hop, body, _):
                    self._emit(side, next_hop, FLAG_CONTROL, body)
        if not side.ways or side.ways[-1] != side.egress.next_hop:
            side.ways.append(side.egress.next_hop)

    def _unicast_to(self, side: Side, body: bytes) -> Callable[[], None]:
        def arrive() -> None:
            side.link.receive_unicast_untrusted(body, self.now)
            self._carry_out(side)

        return arrive

    def _emit(self, side: Side, next_hop: NextHop, flags: int, body: bytes) -> None:
        sealer = side.egress.sealer
        if sealer is None:
            return
        sealed = bytearray(len(body) + TAG_BYTES)
        counter = sealer.seal(flags, memoryview(body), memoryview(sealed))
        size = len(sealed) + HEADER_BYTES + (RELAY_PREFIX_BYTES if next_hop.relay else 0)
        passes = self.direct if next_hop.endpoint else True
        if size > self.mtu or not passes or self.dice.random() < self.loss:
            return
        other, index = self.sides[1 - side.number], sealer.session
        origin = side.place if next_hop.endpoint else None

        def arrive() -> None:
            self._open(other, index, counter, flags, bytes(sealed), size, origin)

        self.sent += 1
        self._later(RTT / 2 + self.dice.random() * 0.002, arrive)

    def _open(
        self,
        side: Side,
        index: int,
        counter: int,
        flags: int,
        sealed: bytes,
        size: int,
        origin: Endpoint | None,
    ) -> None:
        opener = side.openers.get(index)
        if opener is None:
            side.unknown += 1
            return
        plain = bytearray(len(sealed) - TAG_BYTES)
        assert opener.open_untrusted(flags, counter, sealed, memoryview(plain))
        self.arrived += 1
        if flags & FLAG_CONTROL:
            record = ControlRecord(index, bytes(plain), size, side.data_datagrams, origin)
            side.link.receive_controls_untrusted([record], self.now)
            self._carry_out(side)
        else:
            side.data_datagrams += 1
            side.egress.counters.records_in += 1
            side.seen.append(bytes(plain))

    def _later(self, delay: float, action: Callable[[], None]) -> None:
        heapq.heappush(self._events, (self.now + delay, next(self._order), action))

    def both_ready(self) -> bool:
        return all(
            s.egress.sealer is not None and s.egress.next_hop is not None for s in self.sides
        )


def test_a_way_and_keys_within_some_round_trips() -> None:
    wire = Wire()
    wire.meet()
    wire.run(0.2)
    assert wire.both_ready()
    for side in wire.sides:
        assert side.egress.next_hop == NextHop(wire.sides[1 - side.number].place, None)
        assert side.link.observed == side.place
        assert side.egress.prefix == b""
    wire.run(5)
    assert [s.egress.datagram_bytes for s in wire.sides] == [1472, 1472]
    assert wire.send(0, b"there")
    assert wire.send(1, b"back")
    wire.run(1)
    assert wire.sides[1].seen == [b"there"]
    assert wire.sides[0].seen == [b"back"]


def test_no_way_before_the_peer_is_known() -> None:
    wire = Wire()
    for side in wire.sides:
        assert side.link.next_deadline() is None
        assert side.egress.next_hop is None
    wire.run(10)
    assert wire.sent == 0


@pytest.mark.parametrize("loss", [0.0, 0.1])
def test_renewals_lose_nothing_but_what_the_wire_loses(loss: float) -> None:
    wire = Wire(seed=3, loss=loss)
    wire.mesh_loss = loss
    wire.meet()
    wire.run(3)
    wire.sent = wire.arrived = 0  # the very first probe may overtake the answer with the keys
    sent = [0, 0]
    for _ in range(2 * 400):
        wire.run(0.5)
        for number in (0, 1):
            sent[number] += wire.send(number, b"x")
    wire.run(1)
    assert sent == [800, 800]  # there was always a way
    assert wire.arrived == wire.sent
    assert all(side.link.session.handshakes >= 4 for side in wire.sides)
    assert all(len(side.openers) <= 2 for side in wire.sides)
    if not loss:
        assert [len(side.seen) for side in wire.sides] == [800, 800]


def test_quiet_links_keep_their_keys_and_their_way() -> None:
    wire = Wire(seed=4)
    wire.meet()
    wire.run(3600)
    assert wire.both_ready()
    for side in wire.sides:
        assert len(side.ways) == 2
        assert side.unknown <= 1
        assert side.link.session.handshakes == pytest.approx(30, abs=2)


@pytest.mark.parametrize("number", [0, 1])
def test_a_restarted_side_is_back_at_once(number: int) -> None:
    wire = Wire()
    wire.meet()
    wire.run(10)
    wire.restart(number)
    wire.run(0.5)
    assert wire.both_ready()
    for one in (0, 1):
        assert wire.send(one, b"again")
    wire.run(0.5)
    assert [side.seen for side in wire.sides] == [[b"again"], [b"again"]]


def test_through_a_relay_when_nothing_is_direct_and_back() -> None:
    wire = Wire()
    wire.direct = False
    wire.meet(relay=True)
    wire.run(2)
    for side in wire.sides:
        assert side.egress.next_hop == NextHop(None, RELAY)
        assert side.egress.prefix.endswith(side.link.peer)
        assert side.link.observed is None
    assert wire.send(0, b"relayed")
    wire.run(3)
    assert wire.sides[1].seen == [b"relayed"]
    assert [s.egress.datagram_bytes for s in wire.sides] == [1472, 1472]
    wire.direct = True
    wire.run(12)
    assert [s.egress.next_hop for s in wire.sides] == [
        NextHop(PLACES[1], None),
        NextHop(PLACES[0], None),
    ]
    assert [s.egress.prefix for s in wire.sides] == [b"", b""]
    wire.direct = False
    wire.send(0, b"lost")
    wire.run(3.5)
    assert wire.sides[0].egress.next_hop == NextHop(None, RELAY)
    wire.run(4)  # the other side is idle, so it looks more rarely
    assert all(side.egress.next_hop == NextHop(None, RELAY) for side in wire.sides)


def test_probes_through_a_relay_without_candidates() -> None:
    wire = Wire()
    wire.meet(candidates=False, relay=True)
    wire.run(2)
    assert wire.both_ready()
    assert wire.sides[0].link.paths.why == "no-direct-address"


@pytest.mark.parametrize("public", [0, 1])
@pytest.mark.parametrize("seed", range(4))
def test_a_way_that_only_one_side_knows_is_found_by_the_other(public: int, seed: int) -> None:
    """The other is behind a NAT: nobody can name its address before it speaks."""
    wire = Wire(seed)
    wire.mesh_loss = 0.4
    wire._introduce(wire.sides[public], candidates=False)
    wire._introduce(wire.sides[1 - public], candidates=True)
    wire.run(15)
    assert wire.both_ready()
    assert wire.sides[public].egress.next_hop == NextHop(PLACES[1 - public], None)


def test_traffic_and_its_end_are_noticed() -> None:
    wire = Wire()
    wire.meet()
    wire.run(10)
    assert not wire.sides[0].egress.busy
    wire.send(0, b"x")
    wire.run(2)
    assert wire.sides[0].egress.busy
    wire.run(3)
    assert not wire.sides[0].egress.busy


def test_a_narrower_wire_is_noticed_in_two_seconds() -> None:
    wire = Wire()
    wire.meet()
    wire.run(5)
    for _ in range(10):
        wire.send(0, b"x")
        wire.run(0.5)
    wire.mtu = 1300
    wire.run(2)
    assert wire.sides[0].egress.datagram_bytes == BASE
    wire.run(10)
    assert wire.sides[0].egress.datagram_bytes == 1252


def test_what_the_kernel_refuses_is_not_tried_again_for_long() -> None:
    wire = Wire()
    wire.meet()
    link = wire.sides[0].link
    refused: list[int] = []
    wire.run(0.01)
    for _ in range(300):
        link.advance(wire.now)
        for output in link.take_outputs():
            if isinstance(output, SendControl) and output.probe and len(output.body) > 1500:
                refused.append(len(output.body))
                link.refused(output.probe, wire.now)
        wire._carry_out(wire.sides[0])
        wire.run(0.01)
    assert len(refused) == len(set(refused)) <= 5


def test_the_peer_said_goodbye() -> None:
    wire = Wire()
    wire.meet()
    wire.run(5)
    side = wire.sides[0]
    side.link.drop(wire.now)
    wire._carry_out(side)
    assert side.openers == {}
    assert side.egress.next_hop is None
    assert side.egress.sealer is None
    assert side.link.next_deadline() is None


def test_when_nothing_gets_through_the_keys_are_doubted() -> None:
    wire = Wire()
    wire.meet()
    wire.run(5)
    before = wire.sides[0].link.session.handshakes
    wire.sides[1].openers.clear()  # what was lost there cannot open what we send
    wire.run(15)
    assert wire.sides[0].link.session.handshakes > before
    assert wire.both_ready()
    wire.send(0, b"x")
    wire.run(1)
    assert wire.sides[1].seen == [b"x"]


def test_a_malformed_control_record_is_said_and_survived() -> None:
    wire = Wire()
    wire.meet()
    wire.run(5)
    side = wire.sides[0]
    bodies = b"\x77" + bytes(20), b""  # of a newer peer's kind, and of none
    records = [ControlRecord(1, body, 64, 0, PLACES[1]) for body in bodies]
    errors = side.link.receive_controls_untrusted(records, wire.now)
    assert [type(error) for error in errors] == [WireError]
    wire.run(60)
    assert wire.both_ready()


# --- around what is in the way -----------------------------------------------------------


def detoured() -> tuple[Wire, Side]:
    """Two links that have only the relay, and one of them."""
    wire = Wire()
    wire.direct = False
    wire.meet(relay=True)
    wire.run(30)
    side = wire.sides[0]
    assert side.egress.next_hop == NextHop(None, RELAY)
    side.link.take_outputs()
    return wire, side


def sent(side: Side) -> list[tuple[NextHop, object]]:
    """Way and meaning of the control records that the link wants sent now."""
    outputs = side.link.take_outputs()
    return [(o.next_hop, decode_untrusted(o.body)) for o in outputs if isinstance(o, SendControl)]


def test_a_probe_is_answered_the_way_it_came() -> None:
    wire, side = detoured()
    epoch = side.link.session.current
    assert epoch is not None
    probe = encode_probe(Probe(9, 64, 0), 30)
    elsewhere = PeerName(b"\x02other")
    for origin, tcp, next_hop in (
        (PLACES[1], None, NextHop(PLACES[1], None)),
        (None, elsewhere, NextHop(None, elsewhere, True)),
        (None, None, NextHop(None, RELAY)),
    ):
        record = ControlRecord(epoch.index, probe, 64, 5, origin, tcp)
        side.link.receive_controls_untrusted([record], wire.now)
        assert (next_hop, ProbeAnswer(9, 64, 0, 5, origin)) in sent(side)


def test_two_links_with_a_detour_fire_at_the_same_moment() -> None:
    """t69."""
    wire = Wire()
    wire.meet(relay=True)
    fired: list[float] = []
    for side in wire.sides:
        real = side.link.paths.fire

        def fire(now: float, real: Callable[[float], None] = real) -> None:
            fired.append(now)
            real(now)

        side.link.paths.fire = fire  # type: ignore[method-assign]
    wire.run(5)
    assert all(side.link.paths.is_direct for side in wire.sides)
    assert len(fired) == 2
    assert fired[1] - fired[0] < RTT / 2


def test_data_from_a_new_place_has_that_place_probed() -> None:
    wire = Wire()
    wire.meet()
    wire.run(5)
    side, moved = wire.sides[0], Endpoint("198.51.100.9", 40_000)
    epoch = side.link.session.current
    assert epoch is not None
    side.link.take_outputs()
    record = ControlRecord(epoch.index, None, 1472, 7, moved)
    side.link.receive_controls_untrusted([record], wire.now)
    probed = {next_hop for next_hop, body in sent(side) if isinstance(body, Probe)}
    assert probed == {NextHop(PLACES[1], None), NextHop(moved, None)}


def test_what_a_peer_saw_us_as_is_forgotten_with_the_direct_path() -> None:
    wire = Wire()
    wire.meet(relay=True)
    wire.run(5)
    side = wire.sides[0]
    assert side.link.observed == PLACES[0]
    wire.direct = False
    wire.run(5)
    assert side.link.observed is None
