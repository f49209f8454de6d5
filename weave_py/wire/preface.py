"""Do we speak the same protocol? The first 8 bytes of a control connection, in clear.

     0            4         5         6          8
     +------------+---------+---------+----------+
     | "wvpy"     | min ver | max ver | reserved |
     +------------+---------+---------+----------+

Both prefaces go into the prologue of the handshake: whoever changes a bit makes it fail.
"""

from __future__ import annotations

from weave_py.model.errors import WireError

MAGIC = b"wvpy"
PREFACE_BYTES = 8
MIN_VERSION = 2  # 1 did not renew the keys of control connections, and ended by our limits
MAX_VERSION = 2


def preface() -> bytes:
    return MAGIC + bytes((MIN_VERSION, MAX_VERSION, 0, 0))


def agree_untrusted(theirs: bytes) -> int:
    """The highest version both sides speak; WireError if there is none or it is not weave-py."""
    if len(theirs) != PREFACE_BYTES or theirs[:4] != MAGIC:
        raise WireError("the other side does not speak weave-py: is it another program's port?")
    low, high = theirs[4], theirs[5]
    version = min(high, MAX_VERSION)
    if version < max(low, MIN_VERSION):
        raise WireError(
            f"the peer speaks protocol {low}..{high}, we speak {MIN_VERSION}..{MAX_VERSION}: "
            "upgrade the older one"
        )
    return version
