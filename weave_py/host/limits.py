"""How many descriptors may we have? A TAP for each peer, a socket for each neighbour, and more."""

from __future__ import annotations

import resource
from contextlib import suppress
from typing import Final

WANTED: Final = 16_384
"""Ports of a bridge, connections, handshakes, requests: far from all of it."""


def raise_descriptor_limit() -> int:
    """As many as we may have, and want; how many that are.

    The usual soft limit of 1,024 is there for programs that use select(2); we do not.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = WANTED if hard == resource.RLIM_INFINITY else min(WANTED, hard)
    if soft == resource.RLIM_INFINITY or soft >= wanted:
        return soft
    with suppress(OSError, ValueError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
    return resource.getrlimit(resource.RLIMIT_NOFILE)[0]
