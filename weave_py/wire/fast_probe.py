"""What does a probe look like on the kernel's path? An Ethernet frame that no bridge forwards.

It leaves through the device that carries the peer's data, as small as frames get or as large, and
is caught on the peer's device before its bridge. Behind the Ethernet header little-endian:

     0                    6                   12            14
     +--------------------+--------------------+-------------+
     | 01:80:c2:00:00:0f  | 00:00:00:00:00:00  | 0x88 0xb5   |
     +--------------------+--------------------+------+------+ 14
     |    number (u32)    | incarnation (u32)  | kind | 0x00 |
     +-------------+------+--------------------+------+------+ 24
     | frame's size (u16) | pattern up to size − 16 …
     +--------------------+----------------------------------+ size − 16
     | tag: BLAKE2s (RFC 7693) of all that, keyed by the receiver's cookie
     +--------------------------------------------------------

* The destination is a link-local group address (IEEE 802.1Q, table 8-1, reserved), which bridges
  do not forward; the source is no address at all, which makes Linux bridges drop the frame. So a
  probe that gets past its filter (a filter was flushed) still goes nowhere.
* `number` counts each kind by itself, from 1, within the sender's incarnation (model.fast).
* The tag covers every byte: frames that were cut or changed on the way (broken checksum or
  segmentation offload), and what containers make up, are all noticed.
"""

from __future__ import annotations

from dataclasses import dataclass
from hashlib import blake2s
from hmac import compare_digest
from struct import Struct

from weave_py.model.errors import WireError

ETHERTYPE = 0x88B5  # IEEE 802, local experimental
HEADER_BYTES = 14
SMALL_BYTES = 60
"""Of a small probe: the least that Ethernet carries, without its checksum."""
TAG_BYTES = 16
_ADDRESSES = bytes.fromhex("0180c200000f") + bytes(6) + ETHERTYPE.to_bytes(2, "big")
_BODY = Struct("<IIBxH")
_LEAST = HEADER_BYTES + _BODY.size + TAG_BYTES
_SMALL, _FULL = 1, 2
# Not all alike, so that parts that change places are noticed even where only sums are compared.
_PATTERN = bytes(range(1, 252)) * 262


@dataclass(frozen=True, slots=True)
class FastProbe:
    number: int
    incarnation: int
    is_full: bool


def full_bytes(mtu: int) -> int:
    """Size of a full-sized probe: a frame as large as the inner MTU allows."""
    return max(HEADER_BYTES + mtu, SMALL_BYTES)


def life_of_untrusted(frame: bytes | memoryview) -> int:
    """The life that a frame names, if it is a probe; 0 if it is none for sure."""
    if len(frame) < _LEAST:
        return 0
    incarnation: int = _BODY.unpack_from(frame, HEADER_BYTES)[1]
    return incarnation


def encode(probe: FastProbe, size: int, cookie: bytes) -> bytes:
    """The frame, `size` bytes, authenticated for whoever made up `cookie`."""
    if not _LEAST <= size <= 0xFFFF:
        raise ValueError(f"no probe has {size} bytes")
    kind = _FULL if probe.is_full else _SMALL
    head = _ADDRESSES + _BODY.pack(probe.number, probe.incarnation, kind, size)
    text = head + _PATTERN[: size - len(head) - TAG_BYTES]
    return text + _tag(text, cookie)


def decode_untrusted(frame: bytes | memoryview, cookie: bytes) -> FastProbe:
    """The probe. WireError if it is none, was damaged, or was not made for `cookie`."""
    if len(frame) < _LEAST:
        raise WireError(f"a probe of {len(frame)} bytes")
    number, incarnation, kind, size = _BODY.unpack_from(frame, HEADER_BYTES)
    if size != len(frame):
        raise WireError(f"a probe of {size} bytes came as {len(frame)}")
    text, tag = frame[:-TAG_BYTES], bytes(frame[-TAG_BYTES:])
    if not compare_digest(_tag(text, cookie), tag):
        raise WireError("a probe that is damaged or not from the peer")
    if frame[:HEADER_BYTES] != _ADDRESSES or kind not in (_SMALL, _FULL) or number == 0:
        raise WireError("a probe of an unknown kind")
    return FastProbe(number, incarnation, kind == _FULL)


def _tag(text: bytes | memoryview, cookie: bytes) -> bytes:
    return blake2s(text, digest_size=TAG_BYTES, key=cookie, person=b"fastprob").digest()
