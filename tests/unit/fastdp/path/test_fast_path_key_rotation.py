"""Are ESP keys made before the last ones break, and kept while anybody may use them?"""

from __future__ import annotations

from fastdp.path.key_rotation import KeyRotation
from fastdp.path.settings import FastSettings
from weave_py.model.fast import DesiredEsp, EspKey

S = FastSettings()


def key(spi: int) -> EspKey:
    return EspKey(spi, spi.to_bytes(36, "big"))


def epochs(inbound: list[int], outbound: int) -> DesiredEsp:
    return DesiredEsp(tuple(key(spi) for spi in inbound), key(outbound))


def spis(keys: KeyRotation) -> list[int]:
    return [k.spi for k in keys.desired.inbound]


def rotated() -> KeyRotation:
    """The session has gone from the epoch 301/401 to 302/402."""
    keys = KeyRotation(S)
    keys.offered(epochs([301], 401))
    keys.installed(301)
    keys.peer_has(401, 0.0)
    keys.offered(epochs([301, 302], 402))
    return keys


def test_nothing_leaves_under_a_key_that_the_peer_does_not_have() -> None:
    keys = KeyRotation(S)
    keys.offered(epochs([301], 401))
    assert keys.outbound is None
    keys.peer_has(0, 0.0)
    assert keys.outbound is None
    keys.peer_has(401, 0.0)
    assert keys.desired == epochs([301], 401)


def test_the_peer_may_be_first() -> None:
    keys = KeyRotation(S)
    keys.peer_has(401, 0.0)
    keys.offered(epochs([301], 401))
    assert keys.outbound == key(401)


def test_we_say_what_is_in_our_kernel() -> None:
    keys = rotated()
    assert keys.spi == 301
    keys.installed(302)
    assert keys.spi == 302
    keys.installed(999)
    assert keys.spi == 302


def test_the_old_outbound_key_is_used_until_the_peer_has_the_new_one() -> None:
    keys = rotated()
    assert keys.outbound == key(401)
    keys.peer_has(401, 1.0)
    assert keys.outbound == key(401)
    keys.peer_has(402, 2.0)
    assert keys.outbound == key(402)


def test_old_inbound_keys_stay_until_the_peer_could_have_changed_over() -> None:
    keys = rotated()
    keys.offered(epochs([302], 402))  # the session forgets sooner
    keys.peer_has(402, 1.0)
    keys.advance(100.0)
    assert spis(keys) == [301, 302]  # 302 is not in the kernel yet
    keys.installed(302)
    keys.advance(200.0)
    assert spis(keys) == [301, 302]  # and then nobody has told us that the peer lives
    keys.peer_has(402, 200.0)
    due = keys.next_deadline()
    assert due is not None
    assert due.at == 200.0 + S.keep_key
    keys.advance(due.at - 0.1)
    assert spis(keys) == [301, 302]
    keys.advance(due.at)
    assert spis(keys) == [302]
    assert keys.next_deadline() is None


def test_keys_are_bounded() -> None:
    keys = KeyRotation(S)
    for spi in range(300, 330):
        keys.offered(epochs([spi], 401))
    assert spis(keys) == [326, 327, 328, 329]


def test_a_session_that_is_lost_changes_nothing() -> None:
    """The peer's router is gone, not its kernel."""
    keys = rotated()
    keys.offered(DesiredEsp((), None))
    keys.advance(1e6)
    assert keys.desired == epochs([301, 302], 401)


def test_what_was_found_in_the_kernel_stays() -> None:
    keys = KeyRotation(S)
    keys.adopt(epochs([301], 401))
    assert keys.spi == 301
    keys.offered(epochs([302], 402))
    assert keys.desired == epochs([301, 302], 401)


def test_with_a_restarted_peer_nothing_is_agreed() -> None:
    keys = rotated()
    keys.peer_has(0, 1.0)
    keys.peer_restarted()
    assert keys.outbound is None
