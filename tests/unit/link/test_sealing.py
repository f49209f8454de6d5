"""Is a key and nonce used once, a record opened once, and every bit of it authentic?"""

from __future__ import annotations

import pytest
from cryptography.exceptions import InvalidTag
from hypothesis import given
from hypothesis import strategies as st

from weave_py.crypto.replay import WIDTH
from weave_py.crypto.suites import Suite
from weave_py.link.sealing import MAX_RECORDS, Opener, Sealer
from weave_py.wire.sleeve import FLAG_CONTROL, FLAG_LAST, FLAG_MORE

KEY = bytes(range(32))
suites = pytest.mark.parametrize("suite", list(Suite))


def seal(sealer: Sealer, plain: bytes, flags: int = 0) -> tuple[int, bytes]:
    out = bytearray(len(plain) + 16)
    return sealer.seal(flags, memoryview(plain), memoryview(out)), bytes(out)


def open_(opener: Opener, flags: int, counter: int, sealed: bytes) -> bytes | None:
    out = bytearray(len(sealed) - 16)
    return bytes(out) if opener.open_untrusted(flags, counter, sealed, memoryview(out)) else None


@suites
@given(plains=st.lists(st.binary(max_size=300), min_size=1, max_size=20))
def test_what_is_sealed_opens_in_any_order(suite: Suite, plains: list[bytes]) -> None:
    sealer, opener = Sealer(suite, KEY, 7), Opener(suite, KEY)
    records = [seal(sealer, plain) for plain in plains]
    for (counter, sealed), plain in reversed(list(zip(records, plains, strict=True))):
        assert open_(opener, 0, counter, sealed) == plain
    assert opener.opened == len(plains)


@suites
def test_no_counter_is_used_twice(suite: Suite) -> None:
    sealer = Sealer(suite, KEY, 7)
    counters = [seal(sealer, b"same", flags)[0] for flags in (0, 1, 4, 5) * 500]
    assert counters == list(range(1, 2001))


@suites
def test_the_same_plaintext_never_looks_the_same(suite: Suite) -> None:
    sealer = Sealer(suite, KEY, 7)
    assert len({seal(sealer, bytes(32))[1] for _ in range(100)}) == 100


@suites
def test_a_replayed_record_is_not_opened_again(suite: Suite) -> None:
    sealer, opener = Sealer(suite, KEY, 7), Opener(suite, KEY)
    counter, sealed = seal(sealer, b"once")
    assert open_(opener, 0, counter, sealed) == b"once"
    assert open_(opener, 0, counter, sealed) is None
    assert opener.opened == 1


@suites
def test_a_record_from_before_the_window_is_refused(suite: Suite) -> None:
    sealer, opener = Sealer(suite, KEY, 7), Opener(suite, KEY)
    late = seal(sealer, b"late")
    for _ in range(WIDTH):
        last = seal(sealer, b"")
    open_(opener, 0, *last)
    assert open_(opener, 0, *late) is None


@suites
@pytest.mark.parametrize("flag", [FLAG_CONTROL, FLAG_MORE])
def test_flags_that_mean_something_are_authentic(suite: Suite, flag: int) -> None:
    counter, sealed = seal(Sealer(suite, KEY, 7), b"hello", flag)
    with pytest.raises(InvalidTag):
        open_(Opener(suite, KEY), 0, counter, sealed)
    with pytest.raises(InvalidTag):
        open_(Opener(suite, KEY), FLAG_CONTROL | FLAG_MORE, counter, sealed)
    assert open_(Opener(suite, KEY), flag | FLAG_LAST, counter, sealed) == b"hello"


@suites
def test_an_altered_record_is_refused_and_does_not_spoil_the_true_one(suite: Suite) -> None:
    counter, sealed = seal(Sealer(suite, KEY, 7), b"hello")
    opener = Opener(suite, KEY)
    for place in range(len(sealed)):
        altered = bytearray(sealed)
        altered[place] ^= 0x10
        with pytest.raises(InvalidTag):
            open_(opener, 0, counter, bytes(altered))
    for wrong in (0, counter + 1, 2**48 - 1):
        with pytest.raises(InvalidTag):
            open_(opener, 0, wrong, sealed)
    assert opener.window.highest == -1  # forged counters do not move the window
    assert open_(opener, 0, counter, sealed) == b"hello"


@suites
def test_another_key_opens_nothing(suite: Suite) -> None:
    counter, sealed = seal(Sealer(suite, KEY, 7), b"hello")
    with pytest.raises(InvalidTag):
        open_(Opener(suite, KEY[::-1]), 0, counter, sealed)


def test_a_sealer_is_spent_before_the_bound_of_its_cipher() -> None:
    sealer = Sealer(Suite.AES_256_GCM, KEY, 7)
    assert not sealer.is_spent
    sealer.counter = MAX_RECORDS - 1
    seal(sealer, b"")
    assert sealer.is_spent
