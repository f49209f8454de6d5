"""How does a FastStatus travel? As the body of a control record, of a kind of its own.

`wire.probes` has the other kinds. Little-endian, 60 bytes and the reason:

     0      1      2             4                    8
     +------+------+-------------+--------------------+--------------------+
     | 0x05 |flags |  UDP port   |    incarnation     |       number       |
     +------+------+-------------+--------------------+--------------------+ 12
     | heard incarnation  |         VNI        |     small seen     |
     +--------------------+--------------------+--------------------+ 24
     |     full seen      |      received      |         SPI        |
     +--------------------+--------------------+--------------------+ 36
     |  MTU (u16)  | reason's length (u16)  |    cookie (16 bytes)   |
     +-------------+------------------------+------------------------+ 56
     |  zeros (u32)       |  reason code, ASCII …
     +--------------------+----------------------

* `flags`: 1 able, 2 using, 4 proven; others are ignored, and so is what follows the reason: room
  for what comes later.
* `received` wraps; incarnations are never 0.
"""

from __future__ import annotations

import re
from struct import Struct

from weave_py.model.errors import WireError
from weave_py.model.fast import MAX_VNI, FastStatus

KIND = 5
COOKIE_BYTES = 16
MAX_REASON = 32
_HEAD = Struct("<BBH" + "I" * 8 + "HH16sI")
_U32 = 0xFFFF_FFFF
_ABLE, _USING, _PROVEN = 1, 2, 4
_REASON = re.compile(rb"[a-z0-9-]*")


def is_fast_status(body: bytes | memoryview) -> bool:
    """Whether a control record's body claims to be one (it may still be malformed)."""
    return len(body) > 0 and body[0] == KIND


def encode(status: FastStatus) -> bytes:
    """The body. ValueError if the status could not be decoded again."""
    reason = status.why.encode("ascii")
    if len(reason) > MAX_REASON or not _REASON.fullmatch(reason):
        raise ValueError(f"not a reason code: {status.why!r}")
    if len(status.cookie) != COOKIE_BYTES:
        raise ValueError(f"a cookie of {len(status.cookie)} bytes, not {COOKIE_BYTES}")
    flags = status.able * _ABLE | status.using * _USING | status.proven * _PROVEN
    head = _HEAD.pack(
        KIND,
        flags,
        status.udp_port,
        status.incarnation,
        status.number,
        status.heard_incarnation,
        status.vni,
        status.small_seen,
        status.full_seen,
        status.received & _U32,
        status.spi,
        status.mtu,
        len(reason),
        status.cookie,
        0,
    )
    return head + reason


def decode_untrusted(body: bytes | memoryview) -> FastStatus:
    """The status. WireError if it is malformed, or nobody could act upon it."""
    if not is_fast_status(body) or len(body) < _HEAD.size:
        raise WireError(f"a fast path status of {len(body)} bytes")
    (
        _,
        flags,
        udp_port,
        incarnation,
        number,
        heard_incarnation,
        vni,
        small_seen,
        full_seen,
        received,
        spi,
    ) = (fields := _HEAD.unpack_from(body))[:11]
    mtu, length, cookie, _ = fields[11:]
    reason = bytes(body[_HEAD.size : _HEAD.size + length])
    # The code goes to logs and terminals: nothing but what a code is made of.
    if length > MAX_REASON or len(reason) < length or not _REASON.fullmatch(reason):
        raise WireError("a fast path status with a malformed reason")
    able = bool(flags & _ABLE)
    if incarnation == 0 or vni > MAX_VNI or (able and not (udp_port and vni)):
        raise WireError(
            "a fast path status that says it is able, but not where, or has no incarnation"
        )
    return FastStatus(
        incarnation=incarnation,
        number=number,
        able=able,
        using=bool(flags & _USING),
        proven=bool(flags & _PROVEN),
        udp_port=udp_port,
        vni=vni,
        mtu=mtu,
        cookie=cookie,
        heard_incarnation=heard_incarnation,
        small_seen=small_seen,
        full_seen=full_seen,
        received=received,
        spi=spi,
        why=reason.decode("ascii"),
    )
