"""Does a fast path's status come back as it was sent, and is nonsense refused?"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace
from struct import Struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from weave_py.model.errors import WireError
from weave_py.model.fast import MAX_VNI, FastStatus
from weave_py.wire import probes
from weave_py.wire.fast_status import decode_untrusted, encode, is_fast_status

u32, u16 = st.integers(0, 2**32 - 1), st.integers(0, 65535)
statuses = st.builds(
    FastStatus,
    incarnation=st.integers(1, 2**32 - 1),
    number=u32,
    able=st.booleans(),
    using=st.booleans(),
    proven=st.booleans(),
    udp_port=st.integers(1, 65535),
    vni=st.integers(1, MAX_VNI),
    mtu=u16,
    cookie=st.binary(min_size=16, max_size=16),
    heard_incarnation=u32,
    small_seen=u32,
    full_seen=u32,
    received=u32,
    spi=u32,
    why=st.text("abcdefghijklmnopqrstuvwxyz0123456789-", max_size=32),
)
ONE = FastStatus(
    incarnation=1,
    number=2,
    able=True,
    using=False,
    proven=True,
    udp_port=4789,
    vni=5,
    mtu=1376,
    cookie=bytes(range(16)),
    heard_incarnation=6,
    small_seen=7,
    full_seen=8,
    received=9,
    spi=10,
    why="mtu",
)
# As the layout in the module's docstring has it, written down a second time.
LAYOUT = Struct("<BBHIIIIIIIIHH16s4x")
BODY = LAYOUT.pack(5, 5, 4789, 1, 2, 6, 5, 7, 8, 9, 10, 1376, 3, bytes(range(16))) + b"mtu"


@given(statuses)
def test_it_comes_back_as_it_was(status: FastStatus) -> None:
    body = encode(status)
    assert decode_untrusted(body) == decode_untrusted(memoryview(body)) == status
    assert is_fast_status(body)


@given(statuses, st.binary(max_size=40))
def test_what_follows_is_for_later_versions(status: FastStatus, more: bytes) -> None:
    assert decode_untrusted(encode(status) + more) == status


def test_the_layout() -> None:
    assert encode(ONE) == BODY
    assert decode_untrusted(BODY) == ONE


def test_the_receive_counter_wraps() -> None:
    assert decode_untrusted(encode(replace(ONE, received=2**32 + 3))).received == 3


def test_nobody_else_uses_its_kind() -> None:
    """Routers that know no fast paths take it for a kind to be ignored."""
    assert probes.decode_untrusted(BODY) is None


@pytest.mark.parametrize(
    "body",
    [
        pytest.param(b"", id="nothing"),
        pytest.param(BODY[:59], id="cut short"),
        pytest.param(BODY[:-1], id="reason cut short"),
        pytest.param(b"\1" + BODY[1:], id="another kind"),
        pytest.param(BODY[:-3] + b"m\x1bu", id="a reason that is no code"),
        pytest.param(BODY[:4] + bytes(4) + BODY[8:], id="no life"),
        pytest.param(BODY[:2] + bytes(2) + BODY[4:], id="able, but at no port"),
        pytest.param(BODY[:16] + bytes(4) + BODY[20:], id="able, but no VNI"),
        pytest.param(BODY[:16] + b"\0\0\0\1" + BODY[20:], id="a VNI of 25 bits"),
    ],
)
def test_nonsense(body: bytes) -> None:
    with pytest.raises(WireError):
        decode_untrusted(body)


def test_who_is_not_able_needs_no_port() -> None:
    status = replace(ONE, able=False, udp_port=0, vni=0, why="disabled")
    assert decode_untrusted(encode(status)) == status


@given(st.binary(max_size=120))
def test_any_bytes(body: bytes) -> None:
    with suppress(WireError):
        decode_untrusted(body)
    with suppress(WireError):
        decode_untrusted(b"\5" + body)


@pytest.mark.parametrize("why", ["No Code", "x" * 33])
def test_only_codes_are_sent(why: str) -> None:
    with pytest.raises(ValueError, match="reason code"):
        encode(replace(ONE, why=why))
