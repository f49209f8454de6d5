"""How do our frames reach this peer? One peer's session and paths, composed.

The engine behind a port of the bridge. It agrees on keys (`session`), finds and probes ways
(`paths`), and keeps the `egress` pointing at the best one for the data plane.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass

from weave_py.crypto.identity import Identity
from weave_py.link.control_record import ControlRecord
from weave_py.link.egress import Egress, NextHop, prefix_to
from weave_py.link.loss import FEWEST, LossMeter
from weave_py.link.path import PathSettings
from weave_py.link.paths import Paths
from weave_py.link.route_book import RouteBook
from weave_py.link.sealing import Opener
from weave_py.link.session import Session, SessionSettings
from weave_py.model.deadlines import Deadline, earliest
from weave_py.model.errors import WireError
from weave_py.model.load import LocalLoad
from weave_py.model.names import Endpoint, PeerName, PeerUID
from weave_py.model.token_bucket import TokenBucket
from weave_py.wire.probes import (
    PROBE_BYTES,
    Probe,
    ProbeAnswer,
    Punch,
    SessionMessage,
    decode_untrusted,
    encode_answer,
    encode_probe,
    encode_punch,
    encode_session_message,
)
from weave_py.wire.sleeve import MAX_SEGMENTS, datagram_overhead

IN_USE_FOR = 3.0  # seconds after traffic during which a path counts as in use
METER_EVERY = 0.1  # seconds between looks at what share of our datagrams arrives
RENEW_AFTER = 6.0  # seconds without a working path before we doubt the keys


@dataclass(frozen=True, slots=True)
class SendUnicast:
    """A session message for the peer, through the mesh."""

    body: bytes


@dataclass(frozen=True, slots=True)
class InstallOpener:
    """Records with this session index are the peer's and open like this."""

    index: int
    opener: Opener


@dataclass(frozen=True, slots=True)
class RemoveOpener:
    index: int


@dataclass(frozen=True, slots=True)
class SendControl:
    """Seal this body as a control record and send it as one datagram this way. If it is a probe
    and the kernel finds it too large, tell Link.refused its `probe`."""

    next_hop: NextHop
    body: bytes
    probe: int | None = None


LinkOutput = SendUnicast | InstallOpener | RemoveOpener | SendControl


class Link:
    """Engine of the data path to one peer."""

    def __init__(
        self,
        identity: Identity,
        uid: PeerUID,
        peer: PeerName,
        suites: Sequence[int],
        token_bytes: Callable[[int], bytes],
        new_index: Callable[[], int],
        now: float,
        session_settings: SessionSettings | None = None,
        path_settings: PathSettings | None = None,
        most_datagrams: int = MAX_SEGMENTS,
        load: LocalLoad | None = None,
        routes: RouteBook | None = None,
    ) -> None:
        """`most_datagrams`: how many datagrams a record may take at the most. `load`: the
        router's own, and so are `routes`."""
        self.peer = peer
        self.egress = Egress(peer)
        self.session = Session(
            identity, uid, peer, suites, token_bytes, new_index, session_settings, load
        )
        self._path_settings = path_settings or PathSettings()
        self.paths = Paths(self._path_settings, load, routes)
        self.loss = LossMeter()
        self.observed: Endpoint | None = None
        """Our own address as the peer sees it, on the path in use."""
        self._outputs: list[LinkOutput] = []
        self._traffic = 0
        self._used_at = now
        self._worked_at = now
        self._most_datagrams = most_datagrams
        self._metered_at = now
        self._metered = 0
        """Datagrams sent by then."""
        self._punch_at = now

    # --- in ------------------------------------------------------------------------------

    def peer_known(
        self, static: bytes, uid: PeerUID, candidates: Iterable[Endpoint], now: float
    ) -> None:
        """The peer's topology record (and our neighbours) say this about it."""
        self.session.peer_known(static, uid, now)
        self.paths.set_candidates(candidates, now)
        self._settle(now)

    def set_relay(self, via: PeerName | None, tcp: PeerName | None, now: float) -> None:
        """The neighbours that pass our datagrams on: by UDP, and inside TCP."""
        self.paths.set_relay(via, now)
        self.paths.set_tcp(tcp, now)
        self._settle(now)

    def receive_unicast_untrusted(
        self, message: bytes, now: float, introducer: TokenBucket | None = None
    ) -> bool:
        """A session message came through the mesh (see Session.receive_untrusted). False if
        nothing follows from it."""
        is_from_peer = self.session.receive_untrusted(message, now, introducer)
        if is_from_peer:
            self._settle(now)
        return is_from_peer

    def receive_controls_untrusted(
        self, records: Iterable[ControlRecord], now: float
    ) -> list[WireError]:
        """Control records came, all at one time: what follows from them is done once. Returns what
        is wrong with those that are malformed."""
        errors = []
        for record in records:
            self.session.confirmed(record.session, now)
            if record.origin is not None:
                self.paths.heard_from(record.origin, now)
            if record.body is None:
                continue
            try:
                self._receive_body_untrusted(record, record.body, now)
            except WireError as error:
                errors.append(error)
        self._settle(now)
        return errors

    def _receive_body_untrusted(self, record: ControlRecord, body: bytes, now: float) -> None:
        match decode_untrusted(body):
            case Probe(number, _, sent):
                next_hop = self._way_back(record)
                if next_hop is not None:
                    answer = ProbeAnswer(
                        number, record.datagram_bytes, sent, record.received, record.origin
                    )
                    self._outputs.append(SendControl(next_hop, encode_answer(answer)))
            case ProbeAnswer(number, size, sent, arrived, seen_from):
                self.loss.sample(sent, arrived)
                path = self.paths.answered(number, size, now)
                if path is not None:
                    self._worked_at = now
                if path is not None and path is self.paths.best:
                    self.observed = seen_from or self.observed
            case SessionMessage(message):
                self.session.receive_untrusted(message, now)
            case Punch():
                self.paths.punched(now)
            case None:
                pass

    def _way_back(self, record: ControlRecord) -> NextHop | None:
        if record.origin is not None:
            return NextHop(record.origin, None)
        if record.tcp is not None:
            return NextHop(None, record.tcp, True)
        return self.paths.detour_way

    def refused(self, probe: int, now: float) -> None:
        """The kernel would not send this probe: too large."""
        self.paths.refused(probe, now)
        self._settle(now)

    def call(self, now: float) -> None:
        """Keys are wanted now: tell the peer, if it is the one to begin."""
        self.session.call(now)
        self.session.advance(now)
        self._settle(now)

    def woken(self, now: float) -> None:
        """Traffic flows again after a pause: is the path still good?"""
        self._used_at = now
        self.paths.hurry(now)
        self._settle(now)

    def carried(self, now: float) -> bool:
        """The kernel carries frames straight to the peer: should that break, it will be the
        sleeve that tells (if both break, nobody else does), so its path counts as in use. False
        if it did so a moment ago."""
        if now < self._used_at + IN_USE_FOR / 4:
            return False
        self.woken(now)
        return True

    def neighbour_joined(self, now: float) -> None:
        """A control connection with the peer came up: most likely datagrams get through too."""
        self.paths.restart(now)
        self._settle(now)

    def check(self, now: float) -> None:
        """Something has changed underneath: do our paths still work?"""
        self.paths.check(now)
        self._settle(now)

    def narrowed(self, now: float) -> None:
        """The kernel's full-sized frames for the peer do not pass any more."""
        self.paths.narrowed(now)
        self._settle(now)

    def has_any(self, hosts: Collection[str]) -> bool:
        """Whether one of these addresses may be the peer's."""
        return self.paths.has_any(hosts)

    def routes_changed(self, now: float) -> None:
        """The kernel has said which way it sends to an address of the peer's."""
        self._settle(now)

    def drop(self, now: float) -> None:
        """The peer has left: its keys and paths are of no use any more."""
        self.session.drop()
        self._settle(now)

    def advance(self, now: float) -> None:
        self._watch_usage(now)
        self._meter(now)
        self.session.advance(now)
        if self.paths.is_sound:
            self._worked_at = now
        if self.session.current is not None and now >= self._worked_at + RENEW_AFTER:
            self._worked_at = now
            self.session.renew(now)
            self.session.advance(now)
        self._settle(now)

    # --- out -----------------------------------------------------------------------------

    def take_outputs(self) -> list[LinkOutput]:
        taken, self._outputs = self._outputs, []
        return taken

    def next_deadline(self) -> Deadline | None:
        if self.session.current is None:
            return self.session.next_deadline()
        due = [self.session.next_deadline(), self.paths.next_deadline()]
        if not self.paths.is_sound:
            due.append(Deadline(self._worked_at + RENEW_AFTER, "no path has worked"))
        if self.egress.busy:
            due.append(Deadline(self._used_at + IN_USE_FOR, "still in use?"))
            due.append(Deadline(self._metered_at + METER_EVERY, "how much arrives?"))
        return earliest(due)

    # --- inside --------------------------------------------------------------------------

    def _settle(self, now: float) -> None:
        """After any change: drain the children, and let the egress show the result."""
        for body in self.session.take_messages():
            self._outputs.append(SendUnicast(body))
            best = self.paths.best
            if self.egress.sealer is not None and best is not None:
                # Also where frames go: a relay of the control plane could keep it to itself, and
                # with it, after a while, all our frames. Who gets it twice takes the first.
                inside = encode_session_message(SessionMessage(body))
                self._outputs.append(SendControl(best.next_hop, inside))
        installed, retired = self.session.take_changes()
        self._outputs += [InstallOpener(e.index, e.opener) for e in installed]
        self._outputs += [RemoveOpener(index) for index in retired]
        epoch = self.session.current
        fresh = epoch is not None and self.egress.sealer is not epoch.sealer
        self.egress.sealer = epoch.sealer if epoch else None
        if epoch is None:
            self.observed = None
            self.egress.use(None, 0)
            return
        if fresh:
            # The first record under new keys confirms them to the other side.
            self._worked_at = now
            self.loss.restart()
            self.paths.restart(now)
        self._probe(now)
        self._punch(now)
        if not self.paths.is_direct:
            self.observed = None  # what that way looked like may not be so any more
        best = self.paths.best
        if best is not None and best.next_hop != self.egress.next_hop:
            self.loss.another_way()
        self.egress.use(best.next_hop if best else None, best.datagram_bytes if best else 0)
        self.egress.record_datagrams = min(self.loss.record_datagrams, self._most_datagrams)
        self.egress.parity = self.loss.parity and self._most_datagrams > 1

    def _probe(self, now: float) -> None:
        in_use = now < self._used_at + IN_USE_FOR
        sent = self.egress.counters.datagrams_out
        for next_hop, number, size in self.paths.advance(now, in_use):
            room = size - datagram_overhead(bool(prefix_to(self.peer, next_hop)))
            body = encode_probe(Probe(number, size, sent), room)
            self._outputs.append(SendControl(next_hop, body, number))

    def _punch(self, now: float) -> None:
        """We are probing the peer's addresses: let it probe ours at the same time."""
        best = self.paths.best
        if best is None or self.paths.is_direct or now < self._punch_at:
            return
        if self.paths.take_probe_trigger():
            self._punch_at = now + self._path_settings.punch_every
            self._outputs.append(SendControl(best.next_hop, encode_punch()))

    def _meter(self, now: float) -> None:
        """While much is sent, ask often how much of it arrives: paths are probed too rarely."""
        if now < self._metered_at + METER_EVERY:
            return
        self._metered_at = now
        sent, best = self.egress.counters.datagrams_out, self.paths.best
        if sent - self._metered < FEWEST or best is None or self.session.current is None:
            return
        self._metered = sent
        body = encode_probe(Probe(0, PROBE_BYTES, sent), PROBE_BYTES)  # no path waits for number 0
        self._outputs.append(SendControl(best.next_hop, body))

    def _watch_usage(self, now: float) -> None:
        counters = self.egress.counters
        traffic = counters.records_out + counters.records_in
        if traffic != self._traffic:
            self._traffic = traffic
            self._used_at = now
        elif now >= self._used_at + IN_USE_FOR:
            self.egress.busy = False
