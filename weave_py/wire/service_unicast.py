"""What does an authentic unicast look like? A message that its sender made for one receiver.

The body of a `Unicast` (wire.messages) of a service's channel is msgpack, a list in this order:

    format 1 · sender's uid · number · message · MAC (16)

The MAC (crypto.pair_mac) is of channel, number and message, under a key for one direction of one
pair of peers in one pair of lives: so no relay can alter it, hand it to somebody else or to a later
incarnation of the receiver, or pass it off as another channel's; the number, which only grows
within an incarnation of the sender, tells what was heard before.
"""

from __future__ import annotations

from typing import NamedTuple

from weave_py.model.errors import WireError
from weave_py.model.names import PeerUID
from weave_py.wire.gossip import U64
from weave_py.wire.packing import as_bytes, as_int, as_list, pack, unpack_untrusted

UNICAST_FORMAT = 1
MAC_BYTES = 16
MAX_MESSAGE = 32 * 1024
MAX_BODY = MAX_MESSAGE + 128


class ServiceUnicast(NamedTuple):
    uid: PeerUID
    """The sender's."""
    number: int
    message: bytes
    mac: bytes


def told_bytes(channel: str, number: int, message: bytes) -> bytes:
    """What the MAC is of."""
    return pack([channel, number, message])


def encode_unicast(unicast: ServiceUnicast) -> bytes:
    return pack([UNICAST_FORMAT, *unicast])


def decode_unicast_untrusted(body: bytes) -> ServiceUnicast:
    """WireError if malformed. The MAC is *not* checked here."""
    fields = as_list(unpack_untrusted(body, max_bytes=MAX_BODY), "service's unicast", 8)
    if len(fields) < 5 or fields[0] != UNICAST_FORMAT:
        raise WireError("a service's unicast of an unknown format")
    return ServiceUnicast(
        PeerUID(as_int(fields[1], "uid", 1, U64)),
        as_int(fields[2], "number", 1, U64),
        as_bytes(fields[3], "message", max_length=MAX_MESSAGE),
        as_bytes(fields[4], "MAC", length=MAC_BYTES),
    )
