"""Has this peer made this message, for us, in this life of both? Found out for the price of a hash.

The key is derived from what the two static keys share, so no third peer can make it: neither a
relay nor a member that claims to be the peer. It is another one for each purpose, each direction
and each pair of lives, so nothing said by or to an earlier life passes.

Who has stolen *our* static key can also speak to us as anybody (and could read our sessions); what
a third party shall be able to check has to be signed instead.
"""

from __future__ import annotations

import hmac
from hashlib import blake2s

from weave_py.crypto.exchange import shared_secret_untrusted
from weave_py.crypto.identity import Identity
from weave_py.crypto.suites import hkdf_sha256
from weave_py.model.names import PeerName, PeerUID

MAC_BYTES = 16


class PairMac:
    """For one pair of peers, in one pair of lives. Making it takes one exchange of X25519."""

    __slots__ = ("_receive", "_send")

    def __init__(
        self,
        label: bytes,
        identity: Identity,
        uid: PeerUID,
        peer: PeerName,
        static: bytes,
        peer_uid: PeerUID,
    ) -> None:
        """`label`: the purpose. HandshakeError if the peer's `static` key shares no secret with
        anybody."""
        secret = shared_secret_untrusted(identity.static_private, static)
        ours = identity.name, uid
        theirs = peer, peer_uid
        self._send = _key(label, secret, *ours, *theirs)
        self._receive = _key(label, secret, *theirs, *ours)

    def of(self, message: bytes) -> bytes:
        """BLAKE2s-128 of what we say to the peer."""
        return _mac(self._send, message)

    def is_right_untrusted(self, mac: bytes, message: bytes) -> bool:
        """Whether the peer has said this to us."""
        return hmac.compare_digest(mac, _mac(self._receive, message))


def _key(
    label: bytes, secret: bytes, sender: PeerName, uid: PeerUID, receiver: PeerName, its: PeerUID
) -> bytes:
    info = label + sender + uid.to_bytes(8, "big") + receiver + its.to_bytes(8, "big")
    return hkdf_sha256(secret, info, 32)


def _mac(key: bytes, message: bytes) -> bytes:
    return blake2s(message, key=key, digest_size=MAC_BYTES).digest()
