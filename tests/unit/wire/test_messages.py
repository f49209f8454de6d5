"""Do control messages come back as they were sent, and does everything else get refused?"""

from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from weave_py.model.close_codes import CloseCode
from weave_py.model.errors import WireError
from weave_py.model.names import PeerName
from weave_py.wire.messages import (
    MAX_CHANNEL,
    MAX_MESSAGE_BYTES,
    ControlMessage,
    Goodbye,
    Gossip,
    Ping,
    Pong,
    Renewal,
    Train,
    Unicast,
    decode_message_untrusted,
    encode_message,
)
from weave_py.wire.packing import pack, unpack_untrusted
from weave_py.wire.sleeve import MAX_UDP_PAYLOAD
from weave_py.wire.stream import MAX_FRAME_BYTES

names = st.binary(min_size=6, max_size=6).map(PeerName)
channels = st.text(max_size=MAX_CHANNEL)
bodies = st.binary(max_size=200) | st.just(b"x" * 65000)
messages = st.one_of(
    st.builds(Ping, st.integers(0, 2**32 - 1)),
    st.builds(Pong, st.integers(0, 2**32 - 1)),
    st.builds(Goodbye, st.text(max_size=200), st.sampled_from(CloseCode)),
    st.builds(Gossip, channels, bodies),
    st.builds(Unicast, channels, names, names, st.integers(0, 255), bodies),
    st.builds(Renewal, st.integers(1, 3), st.binary(max_size=96)),
    st.builds(Train, st.integers(1024, 65_507), st.binary(min_size=1, max_size=200)),
)
# Like messages, but with anything in any place.
likely = st.lists(
    st.none()
    | st.booleans()
    | st.integers(-9, 2**33)
    | st.binary(max_size=8)
    | st.text(max_size=9),
    max_size=8,
)


@given(messages)
@example(
    Unicast("\U0010ffff" * MAX_CHANNEL, PeerName(b"n" * 6), PeerName(b"m" * 6), 0, bytes(65000))
)
@example(Train(1472, bytes(MAX_UDP_PAYLOAD)))
@example(Train(MAX_UDP_PAYLOAD, bytes(MAX_UDP_PAYLOAD)))
@example(Train(17, bytes(17 * 64)))
def test_a_message_comes_back_and_fits_a_sealed_frame(message: ControlMessage) -> None:
    encoded = encode_message(message)
    assert decode_message_untrusted(encoded) == message
    assert len(encoded) <= MAX_MESSAGE_BYTES
    assert len(encoded) + 16 <= MAX_FRAME_BYTES


@given(messages, st.lists(st.integers() | st.text(max_size=3), max_size=3))
def test_fields_may_be_appended(message: ControlMessage, more: list[int | str]) -> None:
    fields = unpack_untrusted(encode_message(message), max_bytes=MAX_MESSAGE_BYTES)
    assert isinstance(fields, list)
    small = [m for m in more if not isinstance(m, int) or -(2**63) <= m < 2**64]
    assert decode_message_untrusted(pack(fields + small)) == message


@given(messages, st.data())
def test_no_field_may_be_missing(message: ControlMessage, data: st.DataObject) -> None:
    fields = unpack_untrusted(encode_message(message), max_bytes=MAX_MESSAGE_BYTES)
    assert isinstance(fields, list)
    with pytest.raises(WireError):
        decode_message_untrusted(pack(fields[: data.draw(st.integers(0, len(fields) - 1))]))


@given(st.binary(max_size=300) | likely.map(pack) | st.integers(1, 6).map(lambda t: pack([t])))
def test_any_bytes_give_a_message_or_a_wire_error(data: bytes) -> None:
    try:
        message = decode_message_untrusted(data)
    except WireError:
        return
    if message is not None:
        assert decode_message_untrusted(encode_message(message)) == message


@pytest.mark.parametrize("tag", [8, 255, 2**64 - 1])
def test_a_newer_peers_message_is_none(tag: int) -> None:
    assert decode_message_untrusted(pack([tag])) is None
    assert decode_message_untrusted(pack([tag, {"a": [1.5]}])) is None


@pytest.mark.parametrize(
    "fields",
    [
        pytest.param([0], id="tag 0"),
        pytest.param([-1], id="negative tag"),
        pytest.param([6.5], id="a fraction for a tag"),
        pytest.param([None], id="nil for a tag"),
        pytest.param([1, 2**32], id="number too large"),
        pytest.param([1, True], id="boolean number"),
        pytest.param([3, "x" * 201], id="long goodbye"),
        pytest.param([4, "c" * (MAX_CHANNEL + 1), b""], id="long channel"),
        pytest.param([4, "c", "text"], id="text for bytes"),
        pytest.param([4, "c", bytes(65001)], id="long gossip"),
        pytest.param([5, "c", b"1234567", b"123456", 0, b""], id="long source"),
        pytest.param([5, "c", b"123456", b"12345", 0, b""], id="short destination"),
        pytest.param([5, "c", b"123456", b"123456", 256, b""], id="hop limit too large"),
        pytest.param([5, "c", b"123456", b"123456", 0, bytes(65001)], id="long unicast"),
        pytest.param([6, 16, b"x"], id="datagrams without room for anything"),
        pytest.param([6, 65_508, b"x"], id="datagrams longer than UDP has"),
        pytest.param([6, 17, b""], id="empty train"),
        pytest.param([6, 17, bytes(17 * 64 + 1)], id="more datagrams than a record takes"),
        pytest.param([6, 1472, bytes(65_508)], id="long train"),
        pytest.param([7] + [None] * 16, id="too many fields"),
    ],
)
def test_refused(fields: list[object]) -> None:
    with pytest.raises(WireError):
        decode_message_untrusted(pack(fields))


def test_a_close_code_of_the_future_is_no_reason_to_refuse_the_goodbye() -> None:
    assert decode_message_untrusted(pack([3, "tired", 999, "more"])) == Goodbye("tired")
