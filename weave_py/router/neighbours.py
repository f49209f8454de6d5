"""Which control connections do we have? Dialling, accepting, duplicates, and the limit."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from weave_py.crypto.identity import Identity
from weave_py.crypto.membership import Membership
from weave_py.mesh.admission import Admission, source_of
from weave_py.mesh.connection import Connection
from weave_py.mesh.handshake import ControlHandshake, Hello
from weave_py.mesh.waiting_room import WaitingRoom
from weave_py.model.load import LocalLoad
from weave_py.model.names import Endpoint, PeerName
from weave_py.router.settings import EngineSettings

SILENT = 0.75  # seconds by which something should have been heard
MADE_ROOM_AT_DOOR = "made room for other handshakes"


@dataclass(slots=True)
class Stream:
    """A connection and what the router knows about it."""

    number: int
    connection: Connection | None
    """None while the shell is still dialling."""
    target: str | None
    """The key of the target that we called."""
    opened_at: float
    peer: PeerName | None = None
    """Set once the handshake is done."""
    joined_at: float = float("inf")
    """When that was."""
    is_writable: bool = True
    """False while bytes wait that the kernel does not take."""
    waiting: int = 0
    """Bytes of unicasts since it is not writable."""

    @property
    def is_stranger(self) -> bool:
        """It came in, and has not proved anything (yet)."""
        return self.peer is None and self.connection is not None and not self.connection.outbound

    @property
    def place(self) -> Endpoint | None:
        """Where the peer can be called, as this (established) connection shows."""
        connection = self.connection
        if connection is None or connection.hello is None:
            return None
        port = connection.remote.port if connection.outbound else connection.hello.port
        return connection.remote._replace(port=port)

    @property
    def description(self) -> dict[str, object]:
        """The log's fields for it: `connection`, and `peer` once that is known."""
        fields: dict[str, object] = {}
        if self.connection is not None:
            arrow = "->" if self.connection.outbound else "<-"
            fields["connection"] = f"{arrow}{self.connection.remote.text}"
            if (hello := self.connection.hello) is not None:
                fields["peer"] = f"{hello.name.hex(':')}({hello.nickname})"
        return fields


class Neighbours:
    """All streams by number, and the one that counts for each neighbour."""

    def __init__(
        self,
        identity: Identity,
        membership: Membership,
        hello: Hello,
        token_bytes: Callable[[int], bytes],
        settings: EngineSettings,
        load: LocalLoad | None = None,
    ) -> None:
        self._load = load or LocalLoad()
        self._identity = identity
        self._membership = membership
        self._hello = hello
        self._token_bytes = token_bytes
        self._settings = settings
        self._last_number = 0
        self._streams: dict[int, Stream] = {}
        self._by_peer: dict[PeerName, Stream] = {}
        self.admission = Admission(is_open=membership.is_open)
        self._waiting = WaitingRoom(
            settings.max_handshakes,
            settings.max_known_handshakes,
            settings.max_handshakes_per_source,
        )
        self.evicted: list[Stream] = []
        """Streams that `accept` ended; the caller drains them."""

    def __iter__(self) -> Iterator[Stream]:
        return iter(list(self._streams.values()))

    def __len__(self) -> int:
        """Number of neighbours."""
        return len(self._by_peer)

    def get(self, number: int) -> Stream | None:
        return self._streams.get(number)

    def of(self, peer: PeerName) -> Stream | None:
        """The stream to this neighbour."""
        return self._by_peer.get(peer)

    def names(self) -> frozenset[PeerName]:
        return frozenset(self._by_peer)

    def established(self) -> Iterator[tuple[PeerName, Stream, Connection]]:
        """Neighbours in the order of their names."""
        for name in sorted(self._by_peer):
            stream = self._by_peer[name]
            assert stream.connection is not None
            yield name, stream, stream.connection

    def dialling(self, target: str, now: float) -> Stream:
        """A new stream for a call that is about to be made."""
        return self._new(None, target, now)

    def open(self, stream: Stream, remote: Endpoint, initiator: bool, now: float) -> Connection:
        """The stream is connected: begin the handshake."""
        handshake = ControlHandshake(
            initiator=initiator,
            identity=self._identity,
            membership=self._membership,
            ours=self._hello,
            remote=remote,
            token_bytes=self._token_bytes,
            gate=None if initiator else self.admission.visitor(remote.host),
        )
        stream.connection = Connection(
            handshake, remote, now, self._settings.connection, self._load
        )
        return stream.connection

    def accept(self, remote: Endpoint, now: float) -> Stream:
        """A stream came in. If there are too many at the handshake another makes room for it,
        which costs that one nothing but the call."""
        stream = self._new(None, None, now)
        self.open(stream, remote, False, now)
        is_known = self.admission.is_known(remote.host)
        oldest = self._waiting.enter(stream.number, source_of(remote.host), is_known)
        if oldest is not None:
            evicted = self._streams[oldest]
            assert evicted.connection is not None
            evicted.connection.stream_ended(MADE_ROOM_AT_DOOR)
            self.evicted.append(evicted)
        return stream

    def resolve_duplicate(self, stream: Stream, hello: Hello) -> Stream | None:
        """The stream's handshake is done. Of two streams with one peer one must go: returns it
        (perhaps `stream` itself), or None.

        Both sides compute the same: the stream that the lower-named peer dialled stays; of two
        that the same side dialled, the one with the lower handshake hash. But a peer that has
        restarted knows nothing of the old one, and a peer that has moved cannot use it.
        """
        peer = hello.name
        stream.peer = peer
        self._waiting.leave(stream.number)
        other = self._by_peer.get(peer)
        if other is None:
            self._by_peer[peer] = stream
            return None
        assert other.connection
        assert other.connection.hello
        silence = stream.opened_at - other.connection.heard_at
        if (
            other.connection.hello.uid != hello.uid
            or silence > self._longest_pause(stream.opened_at)
            or self._rank(stream, peer) < self._rank(other, peer)
        ):
            self._by_peer[peer] = stream
            return other
        return stream

    def _longest_pause(self, now: float) -> float:
        """Seconds that a connection which lives may not be heard from."""
        return self._settings.connection.slow_heartbeat + SILENT + self._load.delay(now)

    def remove(self, stream: Stream) -> bool:
        """The stream is gone; True if it was the one that counted for its peer."""
        self._streams.pop(stream.number, None)
        self._waiting.leave(stream.number)
        if stream.peer is not None and self._by_peer.get(stream.peer) is stream:
            del self._by_peer[stream.peer]
            return True
        return False

    # --- inside --------------------------------------------------------------------------

    def _new(self, connection: Connection | None, target: str | None, now: float) -> Stream:
        self._last_number += 1
        stream = Stream(self._last_number, connection, target, now)
        self._streams[stream.number] = stream
        return stream

    def _rank(self, stream: Stream, peer: PeerName) -> tuple[bool, bytes]:
        assert stream.connection is not None
        ours_is_lower = self._identity.name < peer
        return stream.connection.outbound != ours_is_lower, stream.connection.hash
