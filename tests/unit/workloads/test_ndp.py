"""Is a claim on an IPv6 address recognised, and nothing else?"""

from __future__ import annotations

from ipaddress import IPv6Address

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from weave_py.workloads.claim import Claim
from weave_py.workloads.ndp import (
    decode_claim_untrusted,
    encode_announcement,
    encode_probe,
    solicited_node,
)

OURS = bytes.fromhex("8a3e00000001")
THEIRS = bytes.fromhex("8a3e00000002")
WANTED = IPv6Address("fd44::12:3456")

macs = st.binary(min_size=6, max_size=6)
unicast = (
    st.ip_addresses(v=6)
    .map(lambda a: IPv6Address(str(a)))
    .filter(lambda address: not address.is_multicast and not address.is_unspecified)
)


def checked(frame: bytes) -> bytes:
    """The frame with the checksum that its contents deserve, reckoned another way."""
    body = frame[54 : 54 + int.from_bytes(frame[18:20], "big")]
    data = frame[22:54] + frame[18:20] + b"\x00\x3a" + body[:2] + b"\0\0" + body[4:]
    # One's complement addition is addition modulo 0xFFFF (RFC 1071).
    total = int.from_bytes(data + bytes(len(data) % 2), "big") % 0xFFFF
    return frame[:56] + (0xFFFF - total).to_bytes(2, "big") + frame[58:]


def altered(frame: bytes, at: int, value: bytes) -> bytes:
    return checked(frame[:at] + value + frame[at + len(value) :])


def test_probe_layout() -> None:
    # RFC 4862 §5.4.2 over Ethernet, as a packet analyser shows it.
    assert encode_probe(OURS, WANTED).hex() == (
        "3333ff123456" "8a3e00000001" "86dd"
        "60000000" "0018" "3a" "ff" + "00" * 16 + "ff0200000000000000000001ff123456"
        "8700" "1493" "00000000" "fd440000000000000000000000123456"
    )  # fmt: skip


@pytest.mark.parametrize(("from_router", "flags"), [(False, "20000000"), (True, "a0000000")])
def test_announcement_layout(from_router: bool, flags: str) -> None:
    # RFC 4861 §7.2.6: to all nodes, override set, solicited not; with our MAC.
    frame = encode_announcement(OURS, WANTED, from_router=from_router)
    address = "fd440000000000000000000000123456"
    assert frame.hex() == (
        "333300000001" "8a3e00000001" "86dd"
        "60000000" "0020" "3a" "ff" + address + "ff020000000000000000000000000001"
        "8800" + checked(frame)[56:58].hex() + flags + address + "0201" "8a3e00000001"
    )  # fmt: skip


@given(macs, unicast, st.booleans())
def test_claims_are_read_back(mac: bytes, address: IPv6Address, from_router: bool) -> None:
    assume(mac != OURS)
    for frame in (
        encode_probe(mac, address),
        encode_announcement(mac, address, from_router=from_router),
    ):
        assert checked(frame) == frame
        assert decode_claim_untrusted(frame, OURS) == Claim(address, mac)
        assert decode_claim_untrusted(frame + bytes(8), OURS) == Claim(address, mac)  # padded
        assert decode_claim_untrusted(frame, mac) is None  # our own
    assert encode_probe(mac, address)[38:54] == solicited_node(address).packed


def test_the_mac_advertised_counts_for_more_than_the_senders() -> None:
    frame = encode_announcement(THEIRS, WANTED, from_router=False)
    another = bytes.fromhex("8a3e00000003")
    assert decode_claim_untrusted(altered(frame, 80, another), OURS) == Claim(WANTED, another)
    bare = altered(frame[:78], 18, b"\x00\x18")
    assert decode_claim_untrusted(bare, OURS) == Claim(WANTED, THEIRS)


def test_a_question_about_an_address_is_no_claim_on_it() -> None:
    question = altered(encode_probe(THEIRS, WANTED), 22, IPv6Address("fd44::9").packed)
    assert decode_claim_untrusted(question, OURS) is None


@pytest.mark.parametrize(
    ("at", "value"),
    [
        (12, b"\x08\x00"),  # IPv4
        (14, b"\x40"),  # version
        (18, b"\x00\x21"),  # longer than what came
        (18, b"\x00\x10"),  # too short for a target
        (18, b"\x00\x1c"),  # an option cut off
        (20, b"\x11"),  # UDP
        (21, b"\x40"),  # came over a router
        (54, b"\x80"),  # an echo request
        (55, b"\x01"),  # code
        (62, b"\xff"),  # a multicast target
        (79, b"\x00"),  # an option of no length
        (79, b"\x02"),  # one longer than the packet
    ],
)
def test_what_is_malformed_claims_nothing(at: int, value: bytes) -> None:
    frame = encode_announcement(THEIRS, WANTED, from_router=False)
    assert decode_claim_untrusted(frame, OURS) is not None
    assert decode_claim_untrusted(altered(frame, at, value), OURS) is None


def test_a_probe_counts_at_its_own_group_only() -> None:
    frame = altered(encode_probe(THEIRS, WANTED), 38, IPv6Address("ff02::1").packed)
    assert decode_claim_untrusted(frame, OURS) is None


@given(st.integers(0, 85 * 8), st.booleans())
def test_a_flipped_bit_claims_nothing(bit: int, probe: bool) -> None:
    """Whatever the checksum covers (all but the Ethernet header and the IPv6 header's start)."""
    frame = (
        encode_probe(THEIRS, WANTED)
        if probe
        else encode_announcement(THEIRS, WANTED, from_router=False)
    )
    at = 22 + bit // 8
    assume(at < len(frame))
    broken = bytearray(frame)
    broken[at] ^= 1 << bit % 8
    assert decode_claim_untrusted(bytes(broken), OURS) is None


@given(st.binary(max_size=120))
def test_anything_may_arrive(frame: bytes) -> None:
    decode_claim_untrusted(frame, OURS)


@given(st.binary(max_size=64))
def test_any_options_may_arrive(options: bytes) -> None:
    frame = encode_announcement(THEIRS, WANTED, from_router=False)[:78] + options
    length = (24 + len(options)).to_bytes(2, "big")
    claim = decode_claim_untrusted(altered(frame, 18, length), OURS)
    assert claim is None or (claim.address == WANTED and len(claim.mac) == 6)


@given(st.integers(0, 85))
def test_short_frames_claim_nothing(length: int) -> None:
    frame = encode_announcement(THEIRS, WANTED, from_router=True)
    assert decode_claim_untrusted(frame[:length], OURS) is None
