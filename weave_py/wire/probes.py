"""What do the two ends of a session tell each other inside it? Probes of paths, and new keys.

These are the plaintexts of control records (wire.sleeve), little-endian:

    probe   1, number u32, bytes of its datagram u16, data datagrams sent before it u32,
            zeros up to that size
    answer  2, number u32, bytes of the datagram that arrived u16, the probe's count u32,
            data datagrams received before the probe u32,
            port u16 and address (4 or 16 bytes; none if it came through a relay)
    session 3, a message of the session's next handshake (see link.session)
    punch   4, number u32, step u16 (0 ask, 1 ready, 2 fire), version of the sender's record u32

Two hosts behind NATs or firewalls let each other's probes in once both have sent some; punches
go over whatever way works meanwhile, so that they do so at the same time (see link.volley).

The answer goes back the way the probe came. It carries the address it came from, so that the
prober learns how the world sees it behind its NAT, and counts (modulo 2^32), so that it learns
what share of its datagrams arrives.
"""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass
from enum import IntEnum
from struct import Struct

from weave_py.model.errors import WireError
from weave_py.model.names import Endpoint, endpoint

_HEAD = Struct("<BIHI")
_RECEIVED = Struct("<I")
_PORT = Struct("<H")
PROBE_BYTES = _HEAD.size
_U32 = 0xFFFF_FFFF
_PROBE = 1
_ANSWER = 2
_SESSION = 3
_PUNCH = 4


@dataclass(frozen=True, slots=True)
class Probe:
    number: int
    datagram_bytes: int
    sent: int


@dataclass(frozen=True, slots=True)
class ProbeAnswer:
    number: int
    datagram_bytes: int
    sent: int
    received: int
    seen_from: Endpoint | None


@dataclass(frozen=True, slots=True)
class SessionMessage:
    """The session's next handshake, within the session: no relay can hold that back alone."""

    body: bytes


class Step(IntEnum):
    """Of two ends on their way to probe each other at the same moment."""

    ASK = 0
    READY = 1
    FIRE = 2


@dataclass(frozen=True, slots=True)
class Punch:
    """Let us probe all addresses of each other. It names none; the record does."""

    step: Step
    number: int
    """Of the question (ASK); an answer repeats it."""
    version: int
    """Of the sender's record, modulo 2^32."""


ControlBody = Probe | ProbeAnswer | SessionMessage | Punch


def encode_punch(punch: Punch) -> bytes:
    # As long as a probe, so that who knows no punches takes it for a kind to be ignored.
    return _HEAD.pack(_PUNCH, punch.number, punch.step, punch.version & _U32)


def encode_session_message(message: SessionMessage) -> bytes:
    return bytes((_SESSION,)) + message.body


def encode_probe(probe: Probe, body_bytes: int) -> bytes:
    """The probe, padded to `body_bytes`."""
    head = _HEAD.pack(_PROBE, probe.number, probe.datagram_bytes, probe.sent & _U32)
    return head.ljust(body_bytes, b"\0")


def encode_answer(answer: ProbeAnswer) -> bytes:
    head = _HEAD.pack(_ANSWER, answer.number, answer.datagram_bytes, answer.sent & _U32)
    head += _RECEIVED.pack(answer.received & _U32)
    if answer.seen_from is None:
        return head
    address = ipaddress.ip_address(answer.seen_from.host.partition("%")[0])
    return head + _PORT.pack(answer.seen_from.port) + address.packed


def decode_untrusted(body: bytes | memoryview) -> ControlBody | None:
    """Decode a control record; None if its kind is unknown, WireError if malformed."""
    if len(body) > 1 and body[0] == _SESSION:
        return SessionMessage(bytes(body[1:]))
    if len(body) < _HEAD.size:
        raise WireError(f"a control record of {len(body)} bytes")
    kind, number, size, sent = _HEAD.unpack_from(body)
    if kind == _PROBE:
        return Probe(number, size, sent)
    if kind == _PUNCH:
        # A step of a later version is one to be ignored.
        return Punch(Step(size), number, sent) if size in tuple(Step) else None
    if kind != _ANSWER:
        return None
    rest = bytes(body[_HEAD.size :])
    if len(rest) < _RECEIVED.size:
        raise WireError("a probe answer that is cut short")
    (received,) = _RECEIVED.unpack_from(rest)
    return ProbeAnswer(number, size, sent, received, _seen_from(rest[_RECEIVED.size :]))


def _seen_from(rest: bytes) -> Endpoint | None:
    if not rest:
        return None
    try:
        address = ipaddress.ip_address(rest[2:])
        return endpoint(str(address), _PORT.unpack_from(rest)[0])
    except ValueError:
        raise WireError("a probe answer with a malformed address") from None
