"""What can this machine do for us? Measured and asked at start, in a few milliseconds."""

from __future__ import annotations

from collections.abc import Callable

from weave_py.crypto.suites import KEY_BYTES, NONCE_BYTES, TAG_BYTES, Suite

# What a busy link seals: large records. Small ones cost the call itself, the same for all suites.
SAMPLE_BYTES = 32 * 1024
ROUNDS = 5


def suites_by_speed(clock: Callable[[], float]) -> tuple[Suite, ...]:
    """Our AEAD suites, the fastest on this CPU first (AES-GCM needs AES instructions for that).

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
    return tuple(sorted(Suite, key=lambda suite: (best[suite], suite)))
