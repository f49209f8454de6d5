"""Is this session message the peer's? Found out for the price of a hash.

Session messages come through the mesh, from whoever is in it, and reading one takes two or four
exchanges of X25519. What goes before them lets the receiver tell first:

     0                 16
     +-----------------+---------------------------+
     | MAC             | body (msgpack, see        |
     | BLAKE2s-128     |  `session`)               |
     +-----------------+---------------------------+

The key is derived from what the two static keys share, so no third peer can make it: neither a
relay nor a member that claims to be the peer. It is another one for each direction and for each
pair of lives, so nothing said by or to an earlier life passes. It says nothing about secrecy: the
handshake behind it proves what it proves (Noise KK), also if this key is known.
"""

from __future__ import annotations

import hmac
from hashlib import blake2s

from weave_py.crypto.exchange import shared_secret_untrusted
from weave_py.crypto.identity import Identity
from weave_py.crypto.suites import hkdf_sha256
from weave_py.model.errors import AuthenticationError
from weave_py.model.names import PeerName, PeerUID

LABEL = b"weave-py session mac v1"
MAC_BYTES = 16
MAX_BODY = 1024


class HandshakeMac:
    """For one pair of peers, in one pair of lives. Making it takes one exchange of X25519."""

    __slots__ = ("_receive", "_send")

    def __init__(
        self, identity: Identity, uid: PeerUID, peer: PeerName, static: bytes, peer_uid: PeerUID
    ) -> None:
        """HandshakeError if the peer's `static` key shares no secret with anybody."""
        secret = shared_secret_untrusted(identity.static_private, static)
        ours = identity.name, uid
        theirs = peer, peer_uid
        self._send = _key(secret, *ours, *theirs)
        self._receive = _key(secret, *theirs, *ours)

    def close(self, body: bytes) -> bytes:
        """The message that says `body` to the peer."""
        return _mac(self._send, body) + body

    def has_made_untrusted(self, message: bytes) -> bool:
        """Whether `open_untrusted` would take it."""
        mac, body = message[:MAC_BYTES], message[MAC_BYTES:]
        return len(body) <= MAX_BODY and hmac.compare_digest(mac, _mac(self._receive, body))

    def open_untrusted(self, message: bytes) -> bytes:
        """Its body; AuthenticationError if the peer has not made it, in this life and for ours."""
        if not self.has_made_untrusted(message):
            raise AuthenticationError("a session message that the peer has not made for us, now")
        return message[MAC_BYTES:]


def _key(
    secret: bytes, sender: PeerName, uid: PeerUID, receiver: PeerName, its_uid: PeerUID
) -> bytes:
    info = LABEL + sender + uid.to_bytes(8, "big") + receiver + its_uid.to_bytes(8, "big")
    return hkdf_sha256(secret, info, 32)


def _mac(key: bytes, body: bytes) -> bytes:
    return blake2s(body, key=key, digest_size=MAC_BYTES).digest()
