"""Is a claim on an address recognised, and nothing else?"""

from __future__ import annotations

from ipaddress import IPv4Address

from hypothesis import given
from hypothesis import strategies as st

from weave_py.workloads.arp import decode_claim_untrusted, encode_request
from weave_py.workloads.claim import Claim

OURS = bytes.fromhex("8a3e00000001")
THEIRS = bytes.fromhex("8a3e00000002")
WANTED = IPv4Address("10.2.1.1")
NOBODY = IPv4Address("0.0.0.0")


def reply(mac: bytes, sender: IPv4Address) -> bytes:
    frame = bytearray(encode_request(mac, sender, WANTED))
    frame[21] = 2
    return bytes(frame)


def test_frame_layout() -> None:
    # RFC 826 over Ethernet, as a packet analyser shows it.
    assert encode_request(OURS, NOBODY, WANTED).hex() == (
        "ffffffffffff8a3e00000001" "0806" "0001" "0800" "06" "04" "0001"
        "8a3e00000001" "00000000" "000000000000" "0a020101"
    )  # fmt: skip


def test_who_claims() -> None:
    assert decode_claim_untrusted(reply(THEIRS, WANTED), OURS) == Claim(WANTED, THEIRS)
    announcement = encode_request(THEIRS, WANTED, WANTED)
    assert decode_claim_untrusted(announcement, OURS) == Claim(WANTED, THEIRS)
    probe = encode_request(THEIRS, NOBODY, WANTED)
    assert decode_claim_untrusted(probe, OURS) == Claim(WANTED, THEIRS)


def test_a_question_about_an_address_is_no_claim_on_it() -> None:
    other = IPv4Address("10.2.1.9")
    assert decode_claim_untrusted(encode_request(THEIRS, other, WANTED), OURS) == (other, THEIRS)
    assert decode_claim_untrusted(reply(THEIRS, NOBODY), OURS) is None


def test_our_own_frames_are_no_conflict() -> None:
    assert decode_claim_untrusted(encode_request(OURS, NOBODY, WANTED), OURS) is None


@given(st.binary(max_size=80))
def test_anything_may_arrive(frame: bytes) -> None:
    decode_claim_untrusted(frame, OURS)


@given(st.integers(0, 41), st.binary(min_size=42, max_size=42))
def test_short_and_foreign_frames_claim_nothing(length: int, noise: bytes) -> None:
    assert decode_claim_untrusted(encode_request(THEIRS, WANTED, WANTED)[:length], OURS) is None
    assert decode_claim_untrusted(noise[:12] + b"\x08\x00" + noise[14:], OURS) is None
