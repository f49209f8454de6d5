"""Does a reader that remembers give the answers of one that does not?"""

from __future__ import annotations

import pytest

from tests.kit.builders import record, signed, signed_record
from weave_py.mesh.record_verifier import RecordVerifier
from weave_py.model.errors import AuthenticationError, WireError
from weave_py.sim.record_verifier import SharedVerifier
from weave_py.wire.topology import SignedRecord


@pytest.fixture(params=[RecordVerifier, SharedVerifier])
def verifier(request: pytest.FixtureRequest) -> RecordVerifier:
    made = request.param()
    assert isinstance(made, RecordVerifier)
    return made


def test_an_honest_record(verifier: RecordVerifier) -> None:
    sent = signed_record(1)
    for known in (None, record(1, version=7), record(2)):
        came = verifier.decode_untrusted(sent.body, sent.signature)
        assert came == sent
        verifier.authenticate_untrusted(came, known)


def test_a_record_that_somebody_else_signed_is_refused_each_time(verifier: RecordVerifier) -> None:
    forged = signed(2, record(1))
    for _ in range(2):
        came = verifier.decode_untrusted(forged.body, forged.signature)
        with pytest.raises(AuthenticationError):
            verifier.authenticate_untrusted(came, None)


def test_another_signature_under_a_known_body(verifier: RecordVerifier) -> None:
    good = signed_record(1)
    verifier.authenticate_untrusted(verifier.decode_untrusted(good.body, good.signature), None)
    bad = verifier.decode_untrusted(good.body, bytes(64))
    with pytest.raises(AuthenticationError):
        verifier.authenticate_untrusted(bad, None)


def test_nonsense(verifier: RecordVerifier) -> None:
    for _ in range(2):
        with pytest.raises(WireError):
            verifier.decode_untrusted(b"\x00", bytes(64))


def test_all_get_the_same_object() -> None:
    shared, sent = SharedVerifier(), signed_record(1)
    first: SignedRecord = shared.decode_untrusted(bytes(sent.body), sent.signature)
    assert shared.decode_untrusted(bytes(bytearray(sent.body)), sent.signature) is first
