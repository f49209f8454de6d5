"""How do a thousand routers in one process read each other's records? Together.

Decoding a record and checking its signature are functions of its bytes; a router does either once
per record. Here the first router does it for all, and all hold the same object: without that most
of the time and of the memory of a large simulation would go into doing the same again.
"""

from __future__ import annotations

from collections import OrderedDict

from weave_py.mesh.record_verifier import RecordVerifier
from weave_py.model.errors import AuthenticationError, PeerError
from weave_py.wire.topology import PeerRecord, SignedRecord

REMEMBERED = 20_000  # records; those not seen for longest are read again at need


class SharedVerifier(RecordVerifier):
    """Remembers what it has read, and which of it is authentic."""

    def __init__(self) -> None:
        self._read: OrderedDict[tuple[bytes, bytes], SignedRecord] = OrderedDict()
        self._authentic: dict[tuple[bytes, bytes], bool] = {}

    def decode_untrusted(self, body: bytes, signature: bytes) -> SignedRecord:
        key = body, signature
        signed = self._read.get(key)
        if signed is not None:
            self._read.move_to_end(key)
            return signed
        signed = super().decode_untrusted(body, signature)
        self._read[signed.body, signed.signature] = signed
        if len(self._read) > REMEMBERED:
            oldest, _ = self._read.popitem(last=False)
            self._authentic.pop(oldest, None)
        return signed

    def authenticate_untrusted(self, signed: SignedRecord, known: PeerRecord | None) -> None:
        key = signed.body, signed.signature
        verdict = self._authentic.get(key)
        if verdict is None:
            # Whoever asks next may not know the peer yet: so the certificate is checked always.
            try:
                super().authenticate_untrusted(signed, None)
            except PeerError:
                self._authentic[key] = False
                raise
            self._authentic[key] = True
        elif not verdict:
            raise AuthenticationError("a topology record that its owner did not sign")
