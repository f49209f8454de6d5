"""What do ESP states and policies look like in a NETLINK_XFRM message?

Layouts are those of linux/xfrm.h, in the host's byte order but for addresses,
ports and SPIs:

    usersa_info      selector 56 | destination, SPI, protocol 24 | source 16 | limits 64 | used 32
                     | statistics 12 | sequence, request id, family, mode, window, flags, pad 24
    userpolicy_info  selector 56 | limits 64 | used 32 | priority, index, direction, action, … 16
    user_tmpl        destination, SPI, protocol 24 | family 4 | source 16 | request id 4
                     | mode, share, optional, pad 4 | algorithms 12

The algorithm is `rfc4106(gcm(aes))` with 256 bits, an ICV of 16 bytes and extended sequence
numbers (RFC 4303 §2.2.1), in transport mode. What is not ours decodes to None.
"""

from __future__ import annotations

import struct
from ipaddress import ip_address, ip_network
from socket import AF_INET, AF_INET6, IPPROTO_UDP

from fastdp.esp.values import (
    Address,
    Direction,
    Network,
    Policy,
    Rule,
    Selector,
    State,
    any_of,
    is_ours,
)
from weave_py.host.rtnl import attribute, attributes
from weave_py.model.errors import HostError

KEY_BYTES = 36
REPLAY_WINDOW = 128
"""Packets. Those of one flow may overtake each other where they cross several queues."""
MAX_PACKETS = 1 << 32
"""Under one key; then the state is dead (GCM's bound for packets of 1,500 bytes is 2^-52 there).
Only a host whose router is gone gets that far: a session's keys live for three minutes."""

_ESP = 50
_TRANSPORT = 0
_ESN = 128
_FOREVER = (1 << 64) - 1
_ALLOW, _BLOCK = 0, 1
_XFRMA_TMPL, _XFRMA_SRCADDR, _XFRMA_ALG_AEAD, _XFRMA_REPLAY_ESN_VAL = 5, 13, 18, 23

_PORTS = struct.Struct(">HHHH")
_SELECTOR_END = struct.Struct("=HBBB3xiI")
_LIMITS = struct.Struct("=8Q")
_SA_END = struct.Struct("=IIHBBB7x")
_POLICY_END = struct.Struct("=IIBBBB4x")
_ID = struct.Struct(">16sIB3x")
_TMPL_END = struct.Struct("=IBBBx3I")
_USED = 56 + 24 + 16 + 64
_SELECTOR_BYTES, _SA_BYTES, _POLICY_BYTES, _TMPL_BYTES = 56, 224, 168, 64


def encode_state(state: State, key: bytes) -> bytes:
    """Body of a NEWSA message; ValueError for a key that is not 36 bytes."""
    if len(key) != KEY_BYTES:
        raise ValueError(f"an ESP key has {KEY_BYTES} bytes, not {len(key)}")
    version = state.destination.version
    limits = (_FOREVER, _FOREVER, _FOREVER, MAX_PACKETS, 0, 0, 0, 0)
    everywhere = any_of(version)
    return b"".join(
        (
            _selector(everywhere, everywhere, state.port),
            _ID.pack(_padded(state.destination), state.spi, _ESP),
            _padded(state.source),
            _LIMITS.pack(*limits),
            bytes(32 + 12),
            _SA_END.pack(0, state.reqid, _family(version), _TRANSPORT, 0, _ESN),
            attribute(
                _XFRMA_ALG_AEAD,
                struct.pack("=64sII", b"rfc4106(gcm(aes))", KEY_BYTES * 8, 128) + key,
            ),
            attribute(
                _XFRMA_REPLAY_ESN_VAL,
                struct.pack("=6I", REPLAY_WINDOW // 32, 0, 0, 0, 0, REPLAY_WINDOW),
            ),
        )
    )


def encode_state_id(state: State) -> bytes:
    """Body of a DELSA message."""
    family = struct.pack("=HBx", _family(state.destination.version), _ESP)
    address = _padded(state.destination) + struct.pack(">I", state.spi)
    return address + family + attribute(_XFRMA_SRCADDR, _padded(state.source))


def encode_policy(policy: Policy) -> bytes:
    """Body of a NEWPOLICY or UPDPOLICY message."""
    selector = policy.selector
    action = _BLOCK if policy.rule is Rule.NOTHING else _ALLOW
    # Where no state is needed, an optional one: it changes nothing but carries our request id.
    optional = int(policy.rule is not Rule.SEALED)
    unlimited = (_FOREVER, _FOREVER, _FOREVER, _FOREVER, 0, 0, 0, 0)
    version = selector.destination.version
    template = b"".join(
        (
            _ID.pack(bytes(16), policy.spi, _ESP),
            struct.pack("=H2x16x", _family(version)),
            _TMPL_END.pack(policy.reqid, _TRANSPORT, 0, optional, *[0xFFFF_FFFF] * 3),
        )
    )
    return b"".join(
        (
            _selector(selector.source, selector.destination, selector.port),
            _LIMITS.pack(*unlimited),
            bytes(32),
            _POLICY_END.pack(policy.priority, 0, selector.direction, action, 0, 0),
            attribute(_XFRMA_TMPL, template),
        )
    )


def encode_policy_id(selector: Selector) -> bytes:
    """Body of a DELPOLICY message."""
    packed = _selector(selector.source, selector.destination, selector.port)
    return packed + struct.pack("=IB3x", 0, selector.direction)


def decode_state(body: bytes) -> State | None:
    """What a NEWSA message tells, or None if it is not a state of ours."""
    if len(body) < _SA_BYTES:
        raise _short("state")
    _, reqid, family, mode, _, _ = _SA_END.unpack_from(body, _SA_BYTES - _SA_END.size)
    if not is_ours(reqid) or mode != _TRANSPORT or family not in (AF_INET, AF_INET6):
        return None
    destination, spi, protocol = _ID.unpack_from(body, _SELECTOR_BYTES)
    source = body[_SELECTOR_BYTES + _ID.size :][:16]
    port = _PORTS.unpack_from(body, 32)[0]
    packets = struct.unpack_from("=Q", body, _USED + 8)[0]
    if protocol != _ESP:
        return None
    ends = _address(destination, family), _address(source, family)
    return State(ends[0], spi, ends[1], port, reqid, packets)


def decode_policy(body: bytes) -> Policy | None:
    """What a NEWPOLICY message tells, or None if it is not a policy of ours."""
    if len(body) < _POLICY_BYTES:
        raise _short("policy")
    template = attributes(body, _POLICY_BYTES).get(_XFRMA_TMPL, b"")
    if len(template) != _TMPL_BYTES:
        return None
    _, spi, protocol = _ID.unpack_from(template)
    reqid, mode, _, optional, *_ = _TMPL_END.unpack_from(template, _TMPL_BYTES - _TMPL_END.size)
    end = _POLICY_BYTES - _POLICY_END.size
    priority, _, direction, action, _, _ = _POLICY_END.unpack_from(body, end)
    selector = _decode_selector(body, direction)
    if selector is None or not is_ours(reqid) or protocol != _ESP or mode != _TRANSPORT:
        return None
    rule = Rule.ANYTHING if optional else Rule.SEALED
    return Policy(selector, rule if action == _ALLOW else Rule.NOTHING, reqid, spi, priority)


def _decode_selector(body: bytes, direction: int) -> Selector | None:
    port, port_mask, _, source_mask = _PORTS.unpack_from(body, 32)
    family, to_bits, from_bits, protocol, _, _ = _SELECTOR_END.unpack_from(body, 40)
    width = {AF_INET: 32, AF_INET6: 128}.get(family, 0)
    if protocol != IPPROTO_UDP or port_mask != 0xFFFF or source_mask or direction not in (0, 1):
        return None
    if to_bits > width or from_bits > width or not width:
        return None
    destination, source = (
        _network(body[:16], family, to_bits),
        _network(body[16:], family, from_bits),
    )
    return Selector(Direction(direction), source, destination, port)


def _selector(source: Network, destination: Network, port: int) -> bytes:
    family = _family(destination.version)
    lengths = (family, destination.prefixlen, source.prefixlen, IPPROTO_UDP, 0, 0)
    addresses = _padded(destination.network_address) + _padded(source.network_address)
    return addresses + _PORTS.pack(port, 0xFFFF, 0, 0) + _SELECTOR_END.pack(*lengths)


def _family(version: int) -> int:
    return AF_INET if version == 4 else AF_INET6


def _padded(address: Address) -> bytes:
    return address.packed.ljust(16, b"\0")


def _address(packed: bytes, family: int) -> Address:
    return ip_address(packed[: 4 if family == AF_INET else 16])


def _network(packed: bytes, family: int, bits: int) -> Network:
    return ip_network((_address(packed, family), bits), strict=False)


def _short(what: str) -> HostError:
    return HostError(f"the kernel told of an XFRM {what} that is cut short: report this as a bug")
