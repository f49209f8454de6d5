"""Does a reader that remembers give the answers of one that does not?"""

from __future__ import annotations

import pytest

from tests.kit.builders import record, signed, signed_record
from weave_py.mesh.reading import RecordReader
from weave_py.model.errors import AuthenticationError, WireError
from weave_py.sim.reading import SharedReader
from weave_py.wire.topology import SignedRecord


@pytest.fixture(params=[RecordReader, SharedReader])
def reader(request: pytest.FixtureRequest) -> RecordReader:
    made = request.param()
    assert isinstance(made, RecordReader)
    return made


def test_an_honest_record(reader: RecordReader) -> None:
    sent = signed_record(1)
    for known in (None, record(1, version=7), record(2)):
        came = reader.decode_untrusted(sent.body, sent.signature)
        assert came == sent
        reader.authenticate_untrusted(came, known)


def test_a_record_that_somebody_else_signed_is_refused_each_time(reader: RecordReader) -> None:
    forged = signed(2, record(1))
    for _ in range(2):
        came = reader.decode_untrusted(forged.body, forged.signature)
        with pytest.raises(AuthenticationError):
            reader.authenticate_untrusted(came, None)


def test_another_signature_under_a_known_body(reader: RecordReader) -> None:
    good = signed_record(1)
    reader.authenticate_untrusted(reader.decode_untrusted(good.body, good.signature), None)
    bad = reader.decode_untrusted(good.body, bytes(64))
    with pytest.raises(AuthenticationError):
        reader.authenticate_untrusted(bad, None)


def test_nonsense(reader: RecordReader) -> None:
    for _ in range(2):
        with pytest.raises(WireError):
            reader.decode_untrusted(b"\x00", bytes(64))


def test_all_get_the_same_object() -> None:
    shared, sent = SharedReader(), signed_record(1)
    first: SignedRecord = shared.decode_untrusted(bytes(sent.body), sent.signature)
    assert shared.decode_untrusted(bytes(bytearray(sent.body)), sent.signature) is first
