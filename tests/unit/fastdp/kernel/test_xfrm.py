"""Are the messages what iproute2 would send, and does only what is ours come back out of them?"""

from __future__ import annotations

import errno
import struct
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from fastdp.esp.values import (
    ANY_IPV4,
    ANY_IPV6,
    AddState,
    Direction,
    Network,
    Policy,
    Rule,
    Selector,
    State,
    any_of,
    is_ours,
    only,
    request_id,
)
from fastdp.kernel.xfrm import NoEspError, _refusal
from fastdp.kernel.xfrm_codec import (
    decode_policy,
    decode_state,
    encode_policy,
    encode_policy_id,
    encode_state,
    encode_state_id,
)
from weave_py.model.errors import HostError

KEY = bytes(range(36))
REQID = 0x7770_02A5  # of port 677
STATE4 = State(IPv4Address("192.0.2.2"), 0x11223344, IPv4Address("192.0.2.1"), 4789, REQID)
STATE6 = State(IPv6Address("2001:db8::2"), 0x11223344, IPv6Address("2001:db8::1"), 4789, REQID)
TO_PEER = Selector(Direction.OUT, ANY_IPV4, only(IPv4Address("192.0.2.2")), 4789)
FROM_ALL = Selector(Direction.IN, ANY_IPV6, ANY_IPV6, 4789)

# What iproute2 6.1 sends (strace) for the commands that the tests name, byte for byte.
NEWSA4 = bytes.fromhex(
    "000000000000000000000000000000000000000000000000000000000000000012b5ffff0000000002000000"
    "110000000000000000000000c00002020000000000000000000000001122334432000000c000020100000000"
    "0000000000000000ffffffffffffffffffffffffffffffffffffffffffffffff000000000100000000000000"
    "0000000000000000000000000000000000000000000000000000000000000000000000000000000000000000"
    "0000000000000000000000000000000000000000000000000000000000000000a50270770200000080000000"
    "0000000070001200726663343130362867636d28616573292900000000000000000000000000000000000000"
    "0000000000000000000000000000000000000000000000000000000020010000800000000001020304050607"
    "08090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f202122231c001700040000000000000000000000"
    "000000000000000080000000"
)
DELSA4 = bytes.fromhex(
    "c0000202000000000000000000000000112233440200320014000d00c0000201000000000000000000000000"
)
NEWPOLICY4 = bytes.fromhex(
    "c00002020000000000000000000000000000000000000000000000000000000012b5ffff0000000002002000"
    "110000000000000000000000ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff"
    "0000000000000000000000000000000000000000000000000000000000000000000000000000000000000000"
    "0000000000000000000000000000000000000000640000000000000001000000000000004400050000000000"
    "00000000000000000000000011223344320000000200000000000000000000000000000000000000a5027077"
    "00000000ffffffffffffffffffffffff"
)
UPDPOLICY6 = bytes.fromhex(
    "000000000000000000000000000000000000000000000000000000000000000012b5ffff000000000a000000"
    "110000000000000000000000ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff"
    "0000000000000000000000000000000000000000000000000000000000000000000000000000000000000000"
    "0000000000000000000000000000000000000000640000000000000000010000000000004400050000000000"
    "00000000000000000000000000000000320000000a00000000000000000000000000000000000000a5027077"
    "00000100ffffffffffffffffffffffff"
)
DELPOLICY4 = bytes.fromhex(
    "c00002020000000000000000000000000000000000000000000000000000000012b5ffff0000000002002000"
    "1100000000000000000000000000000001000000"
)


def test_a_state_is_what_iproute2_sends() -> None:
    """ip xfrm state add src 192.0.2.1 dst 192.0.2.2 proto esp spi 0x11223344 reqid 2003829413
    mode transport replay-window 128 flag esn aead rfc4106(gcm(aes)) 0x0001… 128
    sel src 0.0.0.0/0 dst 0.0.0.0/0 proto udp dport 4789 limit packet-hard 4294967296"""
    assert encode_state(STATE4, KEY) == NEWSA4
    assert encode_state_id(STATE4) == DELSA4


def test_a_policy_is_what_iproute2_sends() -> None:
    """ip xfrm policy add src 0.0.0.0/0 dst 192.0.2.2/32 proto udp dport 4789 dir out priority 100
    tmpl proto esp spi 0x11223344 reqid 2003829413 mode transport"""
    assert encode_policy(Policy(TO_PEER, Rule.SEALED, REQID, 0x11223344)) == NEWPOLICY4
    assert encode_policy_id(TO_PEER) == DELPOLICY4


def test_a_closed_policy_is_what_iproute2_sends() -> None:
    """ip xfrm policy update src ::/0 dst ::/0 proto udp dport 4789 dir in priority 100
    action block tmpl proto esp reqid 2003829413 mode transport level use"""
    assert encode_policy(Policy(FROM_ALL, Rule.NOTHING, REQID)) == UPDPOLICY6


def test_sizes_are_those_of_the_kernel() -> None:
    assert len(encode_state(STATE6, KEY)) == 364
    assert len(encode_policy(Policy(FROM_ALL, Rule.SEALED, REQID))) == 168 + 68
    assert len(encode_policy_id(FROM_ALL)) == 64


@pytest.mark.parametrize("length", [0, 32, 35, 37])
def test_a_key_of_another_size_is_refused(length: int) -> None:
    with pytest.raises(ValueError, match="36 bytes"):
        encode_state(STATE4, bytes(length))


def test_no_key_shows_in_words() -> None:
    assert KEY.hex() not in repr(AddState(STATE4, KEY))
    assert str(KEY) not in repr(AddState(STATE4, KEY))


def networks(version: int) -> st.SearchStrategy[Network]:
    width = 32 if version == 4 else 128
    address = st.ip_addresses(v=4) if version == 4 else st.ip_addresses(v=6)
    return st.builds(
        lambda a, bits: ip_network((a, bits), strict=False), address, st.integers(0, width)
    )


@st.composite
def selectors(draw: st.DrawFn) -> Selector:
    version = draw(st.sampled_from((4, 6)))
    ends = networks(version)
    direction = draw(st.sampled_from(Direction))
    return Selector(direction, draw(ends), draw(ends), draw(ports))


@st.composite
def states(draw: st.DrawFn) -> State:
    addresses = st.ip_addresses(v=4) if draw(st.booleans()) else st.ip_addresses(v=6)
    source, destination = draw(addresses), draw(addresses)
    return State(destination, draw(u32), source, draw(ports), request_id(draw(ports)))


ports = st.integers(1, 65535)
u32 = st.integers(0, 0xFFFF_FFFF)
policies = st.builds(
    Policy,
    selectors(),
    st.sampled_from((Rule.SEALED, Rule.ANYTHING, Rule.NOTHING)),
    st.builds(request_id, ports),
    u32,
    u32,
)


@given(states(), st.binary(min_size=36, max_size=36))
def test_states_come_back(state: State, key: bytes) -> None:
    assert decode_state(encode_state(state, key)) == state


@given(policies)
def test_policies_come_back(policy: Policy) -> None:
    assert decode_policy(encode_policy(policy)) == policy


@given(states(), u32)
def test_states_of_others_are_not_ours(state: State, reqid: int) -> None:
    assume(not is_ours(reqid))
    body = bytearray(encode_state(state, KEY))
    struct.pack_into("=I", body, 208, reqid)
    assert decode_state(bytes(body)) is None


@given(policies, u32)
def test_policies_of_others_are_not_ours(policy: Policy, reqid: int) -> None:
    assume(not is_ours(reqid))
    body = bytearray(encode_policy(policy))
    struct.pack_into("=I", body, len(body) - 20, reqid)
    assert decode_policy(bytes(body)) is None


def test_policies_without_a_template_are_not_ours() -> None:
    assert decode_policy(encode_policy(Policy(TO_PEER, Rule.SEALED, REQID))[:168]) is None


def test_what_a_state_has_done_is_told() -> None:
    body = bytearray(encode_state(STATE4, KEY))
    struct.pack_into("=QQ", body, 160, 123456, 789)
    state = decode_state(bytes(body))
    assert state is not None
    assert state.packets == 789
    assert state == STATE4, "but is no part of what it is"


@given(st.binary(max_size=600))
def test_noise_is_refused_or_not_ours(noise: bytes) -> None:
    for decode in (decode_state, decode_policy):
        try:
            found = decode(noise)
        except HostError:
            continue
        assert found is None


@given(policies, st.data())
def test_a_changed_byte_makes_no_other_error(policy: Policy, data: st.DataObject) -> None:
    body = bytearray(encode_policy(policy))
    body[data.draw(st.integers(0, len(body) - 1))] = data.draw(st.integers(0, 255))
    cut = data.draw(st.integers(0, len(body)))
    for raw in (bytes(body), bytes(body[:cut])):
        try:
            decode_policy(raw)
        except HostError:
            continue


def test_request_ids_tell_routers_apart_and_others_from_us() -> None:
    assert request_id(4789) != request_id(4790)
    assert is_ours(request_id(1))
    assert is_ours(request_id(65535))
    for foreign in (0, 1, 16384, 0xD0C4E3, 0x7771_0000, 0xFFFF_FFFF):
        assert not is_ours(foreign)


def test_families_have_their_own_everything() -> None:
    assert any_of(4) == ANY_IPV4
    assert any_of(6) == ANY_IPV6
    assert only(ip_address("::1")) == ip_network("::1/128")
    assert only(ip_address("0.0.0.1")) == ip_network("0.0.0.1/32")


def test_refusals_have_words() -> None:
    doing = "cannot add ESP state 0x1 to 192.0.2.2"
    for code in (errno.ENOSYS, errno.EPROTONOSUPPORT, errno.ENOENT):
        error = _refusal(doing, code, "", is_state=True)
        assert isinstance(error, NoEspError)
        assert "load the modules" in str(error)
    assert "another program" in str(_refusal(doing, errno.EEXIST, "", is_state=False))
    assert "CAP_NET_ADMIN" in str(_refusal(doing, errno.EPERM, "", is_state=True))
    assert str(_refusal(doing, errno.EINVAL, "Bad flag", is_state=True)).endswith("(Bad flag)")
