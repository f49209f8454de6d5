"""Who really sent this unicast, and have we heard it before? MACs and replay windows.

What travels through the mesh names a source that any member could have written. A service must not
act on that ("give me this range of addresses"): so what it sends has a MAC that only the two ends
can make (`crypto.pair_mac`), and what it gets has been checked here. That costs a hash, and one
exchange of X25519 for each life of a peer: less than its record took when it came. Forgeries spend
nobody's budget.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterable

from weave_py.crypto.identity import Identity
from weave_py.crypto.pair_mac import PairMac
from weave_py.crypto.replay import ReplayWindow
from weave_py.mesh.service import Authentic
from weave_py.model.errors import AuthenticationError, HandshakeError, PeerError
from weave_py.model.names import PeerName, PeerUID
from weave_py.wire.service_unicast import (
    MAX_MESSAGE,
    ServiceUnicast,
    decode_unicast_untrusted,
    encode_unicast,
    told_bytes,
)
from weave_py.wire.topology import PeerRecord

LABEL = b"weave-py unicast mac v1"
MAX_PAST = 20_000  # peers
MOST_MACS = 12_000  # more than there can be peers: else whoever names all has us make them anew


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
        self._macs: OrderedDict[PeerName, tuple[bytes, PeerUID, PairMac | None]] = OrderedDict()
        """How to tell what peers say (None: there is no way), under which static key and UID. Who
        was named last comes last."""

    def seal(self, channel: str, destination: PeerName, message: bytes) -> bytes | None:
        """The body of a unicast; None if we do not know the peer (any more). ValueError for a
        message of more than MAX_MESSAGE bytes."""
        if len(message) > MAX_MESSAGE:
            raise ValueError(
                f"a unicast of {len(message)} bytes: at most {MAX_MESSAGE} are allowed"
            )
        record = self._record_of(destination)
        pair = None if record is None else self._pair(destination, record)
        if pair is None:
            return None
        self._number += 1
        mac = pair.of(told_bytes(channel, self._number, message))
        return encode_unicast(ServiceUnicast(self._uid, self._number, message, mac))

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
        pair = self._pair(source, record)
        told = told_bytes(channel, came.number, came.message)
        if pair is None or not pair.is_right_untrusted(came.mac, told):
            raise AuthenticationError("a message that does not verify: not for us, now, or forged")
        window.mark(came.number)
        self._heard[source] = came.uid, window
        return Authentic(source, came.message)

    def forget(self, peers: Iterable[PeerName]) -> None:
        """These are gone: remember in short what came from them."""
        for peer in peers:
            self._macs.pop(peer, None)
            heard = self._heard.pop(peer, None)
            if heard is not None:
                uid, window = heard
                self._past[peer] = uid, window.highest
                self._past.move_to_end(peer)
        while len(self._past) > MAX_PAST:
            self._past.popitem(last=False)

    # --- inside ----------------------------------------------------------------------------

    def _pair(self, peer: PeerName, record: PeerRecord) -> PairMac | None:
        known = self._macs.pop(peer, None)
        if known is None or known[:2] != (record.static, record.uid):
            try:
                pair = PairMac(LABEL, self._identity, self._uid, peer, record.static, record.uid)
            except HandshakeError:
                pair = None
            known = record.static, record.uid, pair
        self._macs[peer] = known
        if len(self._macs) > MOST_MACS:
            self._macs.popitem(last=False)
        return known[2]
