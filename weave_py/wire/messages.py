"""What do neighbours say to each other once the handshake is done? Control messages.

Each is one sealed frame of the control stream: msgpack `[tag, field…]`. Unknown tags are ignored
by the receiver and fields may be appended, so that versions can differ by one.
"""

from __future__ import annotations

from dataclasses import dataclass

from weave_py.model.close_codes import CloseCode
from weave_py.model.errors import WireError
from weave_py.model.names import NAME_BYTES, PeerName
from weave_py.wire.packing import as_bytes, as_int, as_list, as_text, pack, unpack_untrusted
from weave_py.wire.sleeve import HEADER_BYTES, MAX_SEGMENTS, MAX_UDP_PAYLOAD

MAX_MESSAGE_BYTES = 65_519
MAX_CHANNEL = 32
RENEWAL_OFFER = 1
RENEWAL_ANSWER = 2
RENEWAL_SWITCH = 3
MAX_RENEWAL = 96
"""Bytes: a key, two tags, and room."""


@dataclass(frozen=True, slots=True)
class Ping:
    """Are you alive? Answered by a Pong with the same number."""

    number: int


@dataclass(frozen=True, slots=True)
class Pong:
    """I am."""

    number: int


@dataclass(frozen=True, slots=True)
class Goodbye:
    """This connection ends on purpose: no need to wait for a timeout, or to wonder."""

    reason: str
    """For people."""
    code: CloseCode = CloseCode.UNSPECIFIED


@dataclass(frozen=True, slots=True)
class Gossip:
    """Mergeable data of a named channel, for the neighbour itself."""

    channel: str
    body: bytes


@dataclass(frozen=True, slots=True)
class Unicast:
    """A message of a channel for one peer, passed on from neighbour to neighbour."""

    channel: str
    source: PeerName
    destination: PeerName
    hop_limit: int
    body: bytes


@dataclass(frozen=True, slots=True)
class Train:
    """Sleeve datagrams (see wire.sleeve), back to back: how they travel where UDP does not."""

    size: int
    """Bytes of each but the last, which may be shorter."""
    datagrams: bytes


@dataclass(frozen=True, slots=True)
class Renewal:
    """New keys for this connection (see mesh.control_keys)."""

    step: int
    """RENEWAL_OFFER, RENEWAL_ANSWER, RENEWAL_SWITCH."""
    body: bytes
    """A handshake message; nothing in the last step."""


ControlMessage = Ping | Pong | Goodbye | Gossip | Unicast | Train | Renewal


def encode_message(message: ControlMessage) -> bytes:
    match message:
        case Ping(number):
            return pack([1, number])
        case Pong(number):
            return pack([2, number])
        case Goodbye(reason, code):
            return pack([3, reason, int(code)])
        case Gossip(channel, body):
            return pack([4, channel, body])
        case Unicast(channel, source, destination, hop_limit, body):
            return pack([5, channel, source, destination, hop_limit, body])
        case Train(size, datagrams):
            return pack([6, size, datagrams])
        case Renewal(step, body):
            return pack([7, step, body])


def decode_message_untrusted(data: bytes) -> ControlMessage | None:
    """Decode a message; None if its tag is unknown (a newer peer's), WireError if malformed."""
    fields = as_list(unpack_untrusted(data, max_bytes=MAX_MESSAGE_BYTES), "control message", 16)
    match fields:
        case [1, number, *_]:
            return Ping(as_int(number, "ping number", 0, 0xFFFF_FFFF))
        case [2, number, *_]:
            return Pong(as_int(number, "pong number", 0, 0xFFFF_FFFF))
        case [3, reason, code, *_]:
            number = as_int(code, "close code", 0, 0xFFFF)
            return Goodbye(as_text(reason, "goodbye reason", 200), CloseCode.of(number))
        case [4, channel, body, *_]:
            return Gossip(
                as_text(channel, "channel", MAX_CHANNEL), as_bytes(body, "gossip", max_length=65000)
            )
        case [5, channel, source, destination, hop_limit, body, *_]:
            return Unicast(
                as_text(channel, "channel", MAX_CHANNEL),
                PeerName(as_bytes(source, "source", length=NAME_BYTES)),
                PeerName(as_bytes(destination, "destination", length=NAME_BYTES)),
                as_int(hop_limit, "hop limit", 0, 255),
                as_bytes(body, "unicast", max_length=65000),
            )
        case [6, size, datagrams, *_]:
            return _train(
                as_int(size, "datagram size", HEADER_BYTES + 1, MAX_UDP_PAYLOAD),
                as_bytes(datagrams, "train", max_length=MAX_UDP_PAYLOAD),
            )
        case [7, step, body, *_]:
            return Renewal(
                as_int(step, "renewal step", RENEWAL_OFFER, RENEWAL_SWITCH),
                as_bytes(body, "renewal", max_length=MAX_RENEWAL),
            )
        case [int(tag), *_] if tag > 7 and not isinstance(tag, bool):
            return None
    raise WireError("a malformed control message")


def _train(size: int, datagrams: bytes) -> Train:
    if not datagrams or len(datagrams) > size * MAX_SEGMENTS:
        raise WireError(f"a train of {len(datagrams)} bytes in datagrams of {size}")
    return Train(size, datagrams)
