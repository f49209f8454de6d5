"""Who really sent this unicast, and have we heard it before? Signatures and replay windows.

What travels through the mesh names a source that any member could have written. A service must not
act on that ("give me this range of addresses"): so what it sends is signed for one receiver, and
what it gets has been checked here.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterable

from weave_py.crypto.identity import Identity, verify_untrusted
from weave_py.crypto.replay import ReplayWindow
from weave_py.mesh.service import Authentic
from weave_py.model.errors import AuthenticationError, PeerError
from weave_py.model.names import PeerName, PeerUID
from weave_py.wire.signed_unicast import (
    MAX_MESSAGE,
    UNICAST_CONTEXT,
    Route,
    SignedUnicast,
    decode_unicast_untrusted,
    encode_unicast,
    signed_bytes,
)
from weave_py.wire.topology import PeerRecord

MAX_PAST = 20_000  # peers


class AuthenticUnicasts:
    """One for all services of a router: numbers are the router's."""

    def __init__(
        self,
        identity: Identity,
        uid: PeerUID,
        record_of: Callable[[PeerName], PeerRecord | None],
    ) -> None:
        """`record_of`: what a peer says about itself, if it may take part and is known."""
        self._identity = identity
        self._uid = uid
        self._record_of = record_of
        self._number = 0
        self._heard: dict[PeerName, tuple[PeerUID, ReplayWindow]] = {}
        """What has come from each peer's present incarnation."""
        self._past: OrderedDict[PeerName, tuple[PeerUID, int]] = OrderedDict()
        """Of peers that are gone: the highest number that came, should they be back."""

    def seal(self, channel: str, destination: PeerName, message: bytes) -> bytes | None:
        """The body of a unicast; None if we do not know the peer (any more). ValueError for a
        message of more than MAX_MESSAGE bytes."""
        if len(message) > MAX_MESSAGE:
            raise ValueError(
                f"a unicast of {len(message)} bytes: at most {MAX_MESSAGE} are allowed"
            )
        record = self._record_of(destination)
        if record is None:
            return None
        self._number += 1
        route = Route(channel, self._identity.name, self._uid, destination, record.uid)
        told = signed_bytes(route, self._number, message)
        signature = self._identity.sign(UNICAST_CONTEXT, told)
        return encode_unicast(SignedUnicast(self._uid, self._number, message, signature))

    def open_untrusted(self, channel: str, source: PeerName, body: bytes) -> Authentic:
        """PeerError unless `source` said this to us, now, for the first time."""
        came = decode_unicast_untrusted(body)
        record = self._record_of(source)
        if record is None:
            raise PeerError("a message of a peer that is not known here")
        if came.uid != record.uid:
            raise PeerError("a message of another incarnation of the peer")
        uid, window = self._heard.get(source, (came.uid, None))
        if window is None or uid != came.uid:
            window = ReplayWindow()
        past_uid, highest = self._past.get(source, (came.uid, 0))
        if not window.accepts(came.number) or (past_uid == came.uid and came.number <= highest):
            raise AuthenticationError("a message that came before")
        route = Route(channel, source, came.uid, self._identity.name, self._uid)
        told = signed_bytes(route, came.number, came.message)
        verify_untrusted(record.identity, UNICAST_CONTEXT, told, came.signature)
        window.mark(came.number)
        self._heard[source] = came.uid, window
        return Authentic(source, came.message)

    def forget(self, peers: Iterable[PeerName]) -> None:
        """These are gone: remember in short what came from them."""
        for peer in peers:
            heard = self._heard.pop(peer, None)
            if heard is not None:
                uid, window = heard
                self._past[peer] = uid, window.highest
                self._past.move_to_end(peer)
        while len(self._past) > MAX_PAST:
            self._past.popitem(last=False)
