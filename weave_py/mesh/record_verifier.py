"""What does a record say, and did its owner say it? Decoding and checking, in one place.

A router does each record's decoding and its signature once, so this class remembers nothing. Where
many routers live in one process (the simulation) they can share one that does: the answers are
functions of the bytes alone.
"""

from __future__ import annotations

from weave_py.crypto.identity import check_certificate_untrusted, verify_untrusted
from weave_py.mesh.disputes import check_dispute_untrusted
from weave_py.mesh.ourself import RECORD_CONTEXT
from weave_py.wire.topology import PeerRecord, SignedRecord, decode_record_untrusted


class RecordVerifier:
    """Reads records that came over the network."""

    def decode_untrusted(self, body: bytes, signature: bytes) -> SignedRecord:
        """WireError if malformed. Nothing is checked yet."""
        return decode_record_untrusted(body, signature)

    def authenticate_untrusted(self, signed: SignedRecord, known: PeerRecord | None) -> None:
        """AuthenticationError unless its owner signed it and its static key; `known` is an
        authentic record of the same peer: what was checked once need not be for every version. (Of
        a dispute: unless both keys' certificates are right.)"""
        record = signed.record
        if record.rival is not None:
            check_dispute_untrusted(record, record.rival)
            return
        if known is None or (known.identity, known.static, known.certificate) != (
            record.identity,
            record.static,
            record.certificate,
        ):
            check_certificate_untrusted(record.identity, record.static, record.certificate)
        verify_untrusted(record.identity, RECORD_CONTEXT, signed.body, signed.signature)
