"""What does a sleeve datagram look like? The header of a record's segment, one and in trains.

A *record* is what one AEAD call seals: a bundle of frames (or one control message) for one peer.
It leaves as one datagram or a *train* of equal ones, at most 64, which a single sendmsg with
UDP_SEGMENT carries. Every datagram of a train has this header; integers are little-endian:

     0      1      2      3      4                    8                       14       16
     +------+------+------+------+--------------------+-----------------------+--------+-------
     | 0x11 |flags |index |  0   | session index (u32)| record counter (u48)  | length | sealed…
     +------+------+------+------+--------------------+-----------------------+--------+-------

* `index`: number of this segment in the record. `flags` LAST marks the last one, which may be
  shorter than the others; so a segment's place in the record is index × its size, or, for the
  last one, length − its size.
* `session index`: random number the *receiver* chose for this epoch of the session.
* `length`: bytes of the sealed record, tag included; the same in all its segments.
* flag PARITY marks a datagram in front of a train, as long as the longest, whose payload is the
  exclusive or of all the record's segments, the last one padded with zeros: whoever misses one
  segment works it out. It has index 0. Like everything in transit it proves nothing: what it
  yields is opened like any other record.
* flags CONTROL and MORE are part of the AEAD nonce, hence authenticated. MORE: the plaintext goes
  on in the record with the next counter (a frame larger than a record).

A datagram that travels through other peers has this prefix, which only relays read and change:

     0      1          2                                8
     +------+----------+--------------------------------+---
     | 0x12 |hop limit | name of the destination peer   | 0x11 …
     +------+----------+--------------------------------+---

The nonce of a record is `flags & NONCE_FLAGS`, three zero bytes, the counter as u64.

Inside a data record frames lie back to back, each behind the 16 bytes that the TAP reads and
writes with it: the virtio-net header (12 bytes, with a 2-byte field unused), then its own length
(u32, these 16 bytes included): so the receiver writes each slice to its TAP as it is.
The records that carry on a frame begun in one with MORE begin with 16 zero bytes instead, so
that they are never taken for frames themselves.
"""

from __future__ import annotations

from struct import Struct

from weave_py.model.names import PeerName

# Protocol constants: changing one of them breaks peers.
KIND_RECORD = 0x11
KIND_RELAYED = 0x12
FLAG_CONTROL = 0x01
FLAG_LAST = 0x02
FLAG_MORE = 0x04
FLAG_PARITY = 0x08
NONCE_FLAGS = FLAG_CONTROL | FLAG_MORE
HEADER_BYTES = 16
RELAY_PREFIX_BYTES = 8
TAG_BYTES = 16
FRAME_HEADER_BYTES = 16
FRAME_LENGTH_OFFSET = 12
MAX_SEGMENTS = 64  # the kernel's UDP_MAX_SEGMENTS before 6.9
MAX_UDP_PAYLOAD = 65_507
MAX_RECORD_BYTES = 0xFFFF
MAX_COUNTER = (1 << 48) - 1
# A relayed datagram may cross this many peers: more than the diameter of any sensible mesh, few
# enough that a transient loop costs little.
HOP_LIMIT = 32

_HEADER = Struct("<BBBxIQ")  # counter and length share the last 8 bytes
parse_header = _HEADER.unpack_from
"""(kind, flags, segment index, session index, counter | length << 48) at an offset."""

FRAME_LENGTH = Struct("<I")


def header_value(flags: int, session: int, counter: int, length: int) -> int:
    """The 16 bytes of a header as one little-endian integer, for segment 0."""
    return KIND_RECORD | flags << 8 | session << 32 | counter << 64 | length << 112


def relay_prefix(destination: PeerName, hop_limit: int = HOP_LIMIT) -> bytes:
    """The 8 bytes in front of a datagram that relays are to pass on to `destination`."""
    return bytes((KIND_RELAYED, hop_limit)) + destination


def datagram_overhead(through_relay: bool) -> int:
    """Bytes of a one-datagram record that are not its plaintext."""
    return HEADER_BYTES + TAG_BYTES + (RELAY_PREFIX_BYTES if through_relay else 0)
