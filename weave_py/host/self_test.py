"""What can this machine do for us? Measured and tried at start, in a few milliseconds."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable
from contextlib import suppress

from weave_py.crypto.suites import KEY_BYTES, NONCE_BYTES, TAG_BYTES, Suite
from weave_py.host.tap import open_tap
from weave_py.host.udp import open_udp
from weave_py.model.errors import HostError
from weave_py.model.marks import TAP_PREFIX

# What a busy link seals: large records. Small ones cost the call itself, the same for all suites.
SAMPLE_BYTES = 32 * 1024
ROUNDS = 5

Ranking = tuple[tuple[Suite, float], ...]
"""(Suite, bytes per second that one core seals), the fastest first."""


def suites_by_speed(clock: Callable[[], float]) -> Ranking:
    """Our AEAD suites and the bytes per second they seal, the fastest on this CPU first (AES-GCM
    needs AES instructions for that).

    The best of a few rounds each, taken in turn: another process's burst then spoils no ranking.
    """
    data = bytes(SAMPLE_BYTES)
    out = bytearray(SAMPLE_BYTES + TAG_BYTES)
    nonce = bytes(NONCE_BYTES)  # the key is used for nothing else
    aeads = {suite: suite.new(bytes(KEY_BYTES)) for suite in Suite}
    best = dict.fromkeys(Suite, float("inf"))
    for _ in range(ROUNDS):
        for suite, aead in aeads.items():
            start = clock()
            aead.encrypt_into(nonce, data, None, out)
            best[suite] = min(best[suite], clock() - start)
    ranked = sorted(Suite, key=lambda suite: (best[suite], suite))
    return tuple((suite, SAMPLE_BYTES / max(best[suite], 1e-9)) for suite in ranked)


def tap_offloads() -> frozenset[str]:
    """What a TAP of this kernel leaves undone. HostError if there can be none."""
    with open_tap(f"{TAP_PREFIX}-{os.getpid()}") as tap:
        return tap.offloads


def udp_offloads() -> tuple[bool, bool]:
    """Whether UDP sockets of this kernel can (send, receive) trains."""
    found: list[tuple[bool, bool]] = []
    with suppress(HostError, OSError):
        for udp in open_udp("127.0.0.1", 0):
            found.append((udp.gso, udp.gro))
            udp.close()
    return found[0] if found else (False, False)


def kernel_release() -> str:
    return os.uname().release


def is_port_free(port: int) -> bool:
    """Whether a router could listen on this port, TCP and UDP."""
    for kind in (socket.SOCK_STREAM, socket.SOCK_DGRAM):
        with socket.socket(socket.AF_INET, kind) as sock:
            if kind == socket.SOCK_STREAM:
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                sock.bind(("0.0.0.0", port))
            except OSError:
                return False
    return True
