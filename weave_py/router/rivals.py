"""Of two routers with one identity, which one goes on? A copied state directory, seen by others.

A peer that calls under a name that we have a connection with, but with another UID, has either
restarted (its earlier life is dead, whether we have noticed or not), or is another router with a
copy of its identity. What tells them apart is whether the earlier life still lives: asked now, it
answers, or its connection ends, soon at the latest, for want of an answer. Until then the newcomer
waits. Whom we have no connection with lives as long as the mesh reaches it through others.

Who was known first goes on. (The other one may have been let in while it was silent; UIDs are never
drawn twice, so an earlier life that comes back was not followed by a later one, but copied.)
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from weave_py.mesh.handshake import Hello
from weave_py.mesh.topology import Topology
from weave_py.model.deadlines import Deadline, earliest
from weave_py.model.load import LocalLoad
from weave_py.model.names import PeerName, PeerUID
from weave_py.router.neighbours import Neighbours, Stream
from weave_py.wire.messages import ControlMessage

PATIENCE = 5.0  # seconds: longer than a connection without an answer lasts, and others hear of it
MAX_WAITING = 4  # connections of one name (both sides may call, at several addresses)
MAX_HELD = 64  # messages of each; gossip repairs what is lost of more
MAX_LIVES = 3  # of each peer are remembered
MAX_REMEMBERED = 1_000  # peers
ENDED_FOR = 10.0  # seconds in which all who were connected with a life that ended notice it, too


@dataclass(slots=True)
class Newcomer:
    """A connection that may be another router's than it says."""

    stream: Stream
    hello: Hello
    until: float
    held: list[ControlMessage] = field(default_factory=list)
    """What it has said meanwhile."""


class Rivals:
    """Who waits, and what is known of peers' lives."""

    def __init__(self, neighbours: Neighbours, topology: Topology, load: LocalLoad) -> None:
        """`load`: the router's own."""
        self._neighbours = neighbours
        self._topology = topology
        self._load = load
        self._newcomers: dict[int, Newcomer] = {}
        self._lives: dict[PeerName, tuple[PeerUID, ...]] = {}
        """UIDs under which each peer was our neighbour, the first one first."""
        self._ended: dict[PeerName, float] = {}
        """When connections ended with the life at their other end, most likely."""
        self._doubted: set[PeerName] = set()
        self._refused: dict[PeerName, PeerUID] = {}

    # --- in ------------------------------------------------------------------------------

    def joined(self, hello: Hello) -> None:
        """There is a connection that counts with this life of the peer."""
        lives = self._lives.pop(hello.name, ())
        if hello.uid not in lives:
            lives = (*lives, hello.uid)[-MAX_LIVES:]
        self._lives[hello.name] = lives
        if len(self._lives) > MAX_REMEMBERED:
            del self._lives[next(iter(self._lives))]

    def life_ended(self, peer: PeerName, now: float) -> None:
        """The connection that counted broke, or the peer has left the network."""
        recent = {name: at for name, at in self._ended.items() if now < at + ENDED_FOR}
        self._ended = {**recent, peer: now}

    def wait(self, stream: Stream, hello: Hello, now: float) -> bool:
        """Have the newcomer wait, and ask whom it would replace; False if too many do already."""
        if sum(one.hello.name == hello.name for one in self._newcomers.values()) >= MAX_WAITING:
            return False
        until = now + PATIENCE * (1 + self._load.delay(now))
        self._newcomers[stream.number] = Newcomer(stream, hello, until)
        return True

    def hold(self, stream: Stream, message: ControlMessage) -> None:
        """Keep what a newcomer says until it is let in (nothing, if it is none)."""
        newcomer = self._newcomers.get(stream.number)
        if newcomer is not None and len(newcomer.held) < MAX_HELD:
            newcomer.held.append(message)

    def gone(self, stream: Stream) -> None:
        """The connection has ended."""
        self._newcomers.pop(stream.number, None)

    def refused(self, peer: PeerName, uid: PeerUID) -> bool:
        """This one may not take part; whether that is news."""
        is_news = self._refused.pop(peer, None) != uid
        self._refused[peer] = uid
        if len(self._refused) > MAX_REMEMBERED:
            del self._refused[next(iter(self._refused))]
        return is_news

    # --- out -----------------------------------------------------------------------------

    def is_rival(self, hello: Hello, now: float) -> bool:
        """Whether another life of this peer may still live, which was known before."""
        other = self._neighbours.of(hello.name)
        if other is not None:
            return self.doubts(hello.name, hello.uid)
        if now < self._ended.get(hello.name, float("-inf")) + ENDED_FOR:
            return False
        record = self._topology.record(hello.name)
        return record is not None and record.uid != hello.uid and self._is_seen(hello.name)

    def doubts(self, name: PeerName, uid: PeerUID) -> bool:
        """Whether this is another life of a neighbour than the one we are connected with, and was
        not known before it."""
        other = self._neighbours.of(name)
        hello = None if other is None or other.connection is None else other.connection.hello
        if hello is None or hello.uid == uid:
            return False
        lives = self._lives.get(name, ())
        return uid not in lives or hello.uid not in lives[lives.index(uid) + 1 :]

    def doubts_record(self, name: PeerName, uid: PeerUID) -> bool:
        """Whether a record is one of those; remembers that there was one."""
        doubts = self.doubts(name, uid)
        if doubts:
            self._doubted.add(name)
        return doubts

    def take_doubted(self, name: PeerName) -> bool:
        """Whether a record of this peer was not taken since last asked."""
        doubted = name in self._doubted
        self._doubted.discard(name)
        return doubted

    def take_settled(self, now: float) -> Iterator[tuple[Newcomer, bool]]:
        """Newcomers that wait no more, and whether each is let in; the next one is looked at after
        what follows from the one before."""
        for number, newcomer in list(self._newcomers.items()):
            is_rival = self.is_rival(newcomer.hello, now)
            if number in self._newcomers and (not is_rival or now >= newcomer.until):
                del self._newcomers[number]
                yield newcomer, not is_rival

    def take_refused(self, name: PeerName) -> list[Newcomer]:
        """Those of this name: whom they would replace has just answered."""
        found = [one for one in self._newcomers.values() if one.hello.name == name]
        for one in found:
            del self._newcomers[one.stream.number]
        return found

    def next_deadline(self) -> Deadline | None:
        return earliest(Deadline(one.until, "a rival") for one in self._newcomers.values())

    # --- inside --------------------------------------------------------------------------

    def _is_seen(self, name: PeerName) -> bool:
        """Whether a peer that we reach is connected with this one, as both say."""
        reached = self._topology.routes.hops.keys() - {self._topology.ourself.name}
        return bool(self._topology.connected(name, reached))
