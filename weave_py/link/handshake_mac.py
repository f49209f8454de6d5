"""Is this session message the peer's? Found out for the price of a hash.

Session messages come through the mesh, from whoever is in it, and reading one takes two or four
exchanges of X25519. What goes before them lets the receiver tell first:

     0                 16
     +-----------------+---------------------------+
     | MAC             | body (msgpack, see        |
     | BLAKE2s-128     |  `session`)               |
     +-----------------+---------------------------+

`crypto.pair_mac` says whose MAC it is. It says nothing about secrecy: the handshake behind it
proves what it proves (Noise KK), also if this key is known.
"""

from __future__ import annotations

from weave_py.crypto.identity import Identity
from weave_py.crypto.pair_mac import MAC_BYTES, PairMac
from weave_py.model.errors import AuthenticationError
from weave_py.model.names import PeerName, PeerUID

LABEL = b"weave-py session mac v1"
MAX_BODY = 1024


class HandshakeMac:
    """For one pair of peers, in one pair of lives. Making it takes one exchange of X25519."""

    __slots__ = ("_pair",)

    def __init__(
        self, identity: Identity, uid: PeerUID, peer: PeerName, static: bytes, peer_uid: PeerUID
    ) -> None:
        """HandshakeError if the peer's `static` key shares no secret with anybody."""
        self._pair = PairMac(LABEL, identity, uid, peer, static, peer_uid)

    def close(self, body: bytes) -> bytes:
        """The message that says `body` to the peer."""
        return self._pair.of(body) + body

    def has_made_untrusted(self, message: bytes) -> bool:
        """Whether `open_untrusted` would take it."""
        mac, body = message[:MAC_BYTES], message[MAC_BYTES:]
        return len(body) <= MAX_BODY and self._pair.is_right_untrusted(mac, body)

    def open_untrusted(self, message: bytes) -> bytes:
        """Its body; AuthenticationError if the peer has not made it, in this life and for ours."""
        if not self.has_made_untrusted(message):
            raise AuthenticationError("a session message that the peer has not made for us, now")
        return message[MAC_BYTES:]
