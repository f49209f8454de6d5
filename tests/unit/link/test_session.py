"""Do two peers get the same keys, renew them in time, and refuse what is old or foreign?"""

from __future__ import annotations

import itertools
import random

import pytest
from cryptography.exceptions import InvalidTag
from hypothesis import given, settings
from hypothesis import strategies as st

from weave_py.crypto.identity import Identity
from weave_py.crypto.pair_mac import MAC_BYTES
from weave_py.link.handshake_mac import HandshakeMac
from weave_py.link.session import MOST_HANDSHAKES, Session, SessionSettings
from weave_py.model.names import PeerUID
from weave_py.wire.packing import as_list, pack, unpack_untrusted

LOW, HIGH = sorted(
    (Identity.create(random.Random(n).randbytes) for n in (1, 2)), key=lambda i: i.name
)
STRANGER = Identity.create(random.Random(3).randbytes)
LOW_UID, HIGH_UID = PeerUID(11), PeerUID(22)
_index = itertools.count(1000)


def session(
    ours: Identity, uid: int, theirs: Identity, suites: tuple[int, ...] = (1, 2), seed: int = 0
) -> Session:
    dice = random.Random(f"{ours.name.hex()} {uid} {seed}")
    return Session(ours, PeerUID(uid), theirs.name, suites, dice.randbytes, lambda: next(_index))


class Two:
    """The lower-named peer, which initiates, and the higher-named one."""

    def __init__(self, now: float = 1000.0) -> None:
        self.now = now
        self.low = session(LOW, LOW_UID, HIGH)
        self.high = session(HIGH, HIGH_UID, LOW)
        self.installed: dict[str, set[int]] = {"low": set(), "high": set()}
        self.most_installed = 0
        self.messages = 0

    def meet(self) -> None:
        self.high.peer_known(LOW.static_public, LOW_UID, self.now)
        self.low.peer_known(HIGH.static_public, HIGH_UID, self.now)
        self.advance()

    def advance(self) -> None:
        self.low.advance(self.now)
        self.high.advance(self.now)

    def carry(self) -> int:
        """Deliver all messages, and their answers; returns how many there were."""
        count = 0
        for _ in range(4):
            for body in self.low.take_messages():
                self.high.receive_untrusted(body, self.now)
                count += 1
            for body in self.high.take_messages():
                self.low.receive_untrusted(body, self.now)
                count += 1
        self.messages += count
        return count

    def confirm(self) -> None:
        """A record of the initiator reaches the responder."""
        assert self.low.current is not None
        self.high.confirmed(self.low.current.sealer.session, self.now)

    def note_changes(self) -> None:
        for name, one in (("low", self.low), ("high", self.high)):
            new, old = one.take_changes()
            self.installed[name] |= {epoch.index for epoch in new}
            self.installed[name] -= set(old)
            self.most_installed = max(self.most_installed, len(self.installed[name]))

    def run(self, seconds: float, confirms: bool = True, connected: bool = True) -> None:
        """Pass time as a driver would, from deadline to deadline."""
        end = self.now + seconds
        while True:
            due = [d.at for s in (self.low, self.high) if (d := s.next_deadline()) is not None]
            self.now = min([end, *(max(at, self.now) for at in due)])
            self.advance()
            if connected:
                self.carry()
                if confirms and self.low.current is not None:
                    self.confirm()
            else:
                self.low.take_messages()
                self.high.take_messages()
            self.note_changes()
            if self.now >= end:
                return


def fields(message: bytes) -> list[object]:
    return as_list(unpack_untrusted(message[MAC_BYTES:], max_bytes=1024), "message", 4)


def by_low(*said: object) -> bytes:
    """A message that the lower-named peer has made, whatever it says."""
    return HandshakeMac(LOW, LOW_UID, HIGH.name, HIGH.static_public, HIGH_UID).close(pack(said))


def by_high(*said: object) -> bytes:
    return HandshakeMac(HIGH, HIGH_UID, LOW.name, LOW.static_public, LOW_UID).close(pack(said))


def crosses(source: Session, destination_opener_of: Session) -> bool:
    """Whether what `source` seals now opens under the other's current epoch."""
    assert source.current is not None
    assert destination_opener_of.current is not None
    plain, sealed = b"hello", bytearray(21)
    counter = source.current.sealer.seal(0, memoryview(plain), memoryview(sealed))
    out = bytearray(5)
    try:
        opener = destination_opener_of.current.opener
        return opener.open_untrusted(0, counter, sealed, memoryview(out)) and out == plain
    except InvalidTag:
        return False


def test_one_exchange_gives_both_the_same_keys() -> None:
    two = Two()
    two.meet()
    assert two.carry() == 2
    assert two.low.current is not None
    assert two.high.current is not None  # there was nothing to break
    assert two.low.current.sealer.session == two.high.current.index
    assert two.high.current.sealer.session == two.low.current.index
    assert two.low.current.suite is two.high.current.suite
    assert crosses(two.low, two.high)
    assert crosses(two.high, two.low)
    assert two.low.last_error == two.high.last_error == ""


def test_only_the_lower_name_initiates() -> None:
    two = Two()
    two.meet()
    assert two.low.initiates
    assert not two.high.initiates
    assert two.high.take_messages() == []
    two.high.renew(two.now)
    two.high.advance(two.now)
    assert two.high.take_messages() == []


def test_nothing_is_said_to_a_peer_without_a_record() -> None:
    two = Two()
    two.advance()
    assert two.low.take_messages() == []
    assert two.low.next_deadline() is None


def test_the_responder_keeps_its_keys_until_the_new_ones_are_confirmed() -> None:
    two = Two()
    two.meet()
    two.carry()
    two.confirm()
    old = two.high.current
    assert old is not None
    two.now += 120
    two.advance()
    two.carry()
    assert two.high.current is old
    two.high.confirmed(12345, two.now)
    two.high.confirmed(old.index, two.now)
    assert two.high.current is old
    two.confirm()
    assert two.high.current is not None
    assert two.high.current is not old
    assert crosses(two.high, two.low)


def test_renewed_after_120_seconds_and_the_old_keys_kept_for_10() -> None:
    two = Two()
    two.meet()
    two.carry()
    two.confirm()
    two.note_changes()
    first = two.low.current
    assert first is not None
    two.run(119.9)
    assert two.low.current is first
    two.run(0.2)
    assert two.low.current is not None
    assert two.low.current is not first
    assert first.index in two.installed["low"]
    two.run(9.5)
    assert first.index in two.installed["low"]
    two.run(0.6)
    assert two.installed == {
        "low": {two.low.current.index},
        "high": {two.low.current.sealer.session},
    }


def test_a_day_takes_few_handshakes_and_few_epochs_at_a_time() -> None:
    two = Two()
    two.meet()
    two.run(24 * 3600)
    assert two.low.handshakes == pytest.approx(720, abs=2)
    assert two.messages <= 2 * two.low.handshakes + 2
    assert two.most_installed == 2
    assert len(two.installed["low"]) <= 2


def test_an_epoch_of_180_seconds_seals_nothing_any_more() -> None:
    two = Two()
    two.meet()
    two.carry()
    two.confirm()
    two.run(179.9, connected=False)
    assert two.low.current is not None
    assert two.high.current is not None
    two.run(0.2, connected=False)
    assert two.low.current is None
    assert two.high.current is None
    assert two.installed == {"low": set(), "high": set()}
    two.run(6)  # and it heals as soon as messages get through again
    assert two.low.current is not None
    assert two.high.current is not None


def test_retries_are_bounded_and_go_on_for_ever() -> None:
    two = Two()
    two.meet()
    times: list[float] = []
    end = two.now + 3600
    while two.now < end:
        times += [two.now] * len(two.low.take_messages())
        deadline = two.low.next_deadline()
        assert deadline is not None
        assert deadline.at > two.now
        two.now = deadline.at
        two.low.advance(two.now)
    pauses = [b - a for a, b in itertools.pairwise(times)]
    assert pauses[0] == pytest.approx(0.5)
    assert all(b >= a - 1e-6 for a, b in itertools.pairwise(pauses))
    assert max(pauses) == pytest.approx(SessionSettings().longest_retry)
    assert times[-1] > end - 6


def test_the_answer_to_an_earlier_try_is_passed_over() -> None:
    two = Two()
    two.meet()
    (first,) = two.low.take_messages()
    two.now += 0.5
    two.low.advance(two.now)
    (second,) = two.low.take_messages()
    two.high.receive_untrusted(first, two.now)
    two.high.receive_untrusted(second, two.now)
    early, late = two.high.take_messages()
    two.low.receive_untrusted(early, two.now)
    assert two.low.current is None
    two.low.receive_untrusted(late, two.now)
    assert two.low.current is not None
    two.confirm()
    assert crosses(two.low, two.high)
    assert crosses(two.high, two.low)
    two.run(11)
    assert len(two.installed["high"]) == 1  # the epoch of the first try is gone


def test_a_replayed_or_overtaken_initiation_is_refused() -> None:
    two = Two()
    two.meet()
    (first,) = two.low.take_messages()
    two.now += 0.5
    two.low.advance(two.now)
    (second,) = two.low.take_messages()
    two.high.receive_untrusted(second, two.now)
    assert len(two.high.take_messages()) == 1
    for old in (second, first):
        two.high.receive_untrusted(old, two.now)
        assert "replayed" in two.high.last_error
        assert two.high.take_messages() == []


def test_an_initiation_of_another_peer_is_refused() -> None:
    two = Two()
    two.meet()
    two.carry()
    two.confirm()
    kept = two.high.current
    foreign = session(STRANGER, 33, HIGH)
    foreign.initiates = True
    foreign.peer_known(HIGH.static_public, HIGH_UID, two.now)
    foreign.advance(two.now)
    (message,) = foreign.take_messages()
    two.high.receive_untrusted(message, two.now)
    assert two.high.last_error
    assert two.high.take_messages() == []
    assert two.high.current is kept


def test_an_initiation_of_another_life_is_refused() -> None:
    two = Two()
    two.meet()
    old_life = session(LOW, 10, HIGH)
    old_life.peer_known(HIGH.static_public, HIGH_UID, two.now)
    old_life.advance(two.now)
    (message,) = old_life.take_messages()
    two.high.receive_untrusted(message, two.now)
    assert two.high.last_error
    assert two.high.take_messages() == []


def test_an_initiation_for_another_life_of_ours_is_refused() -> None:
    two = Two()
    two.meet()
    (message,) = two.low.take_messages()
    other_life = session(HIGH, 23, LOW)
    other_life.peer_known(LOW.static_public, LOW_UID, two.now)
    other_life.receive_untrusted(message, two.now)
    assert "has not made" in other_life.last_error
    assert other_life.take_messages() == []
    two.now += 0.5  # the next try works
    two.advance()
    two.carry()
    assert two.low.current is not None


def test_an_initiation_from_the_wrong_side_is_refused() -> None:
    two = Two()
    two.meet()
    two.low.take_messages()
    two.high.initiates = True
    two.high.renew(two.now)
    two.high.advance(two.now)
    (message,) = two.high.take_messages()
    two.low.receive_untrusted(message, two.now)
    assert "wrong side" in two.low.last_error
    assert two.low.take_messages() == []


def test_a_restarted_peer_gets_new_keys_at_once() -> None:
    two = Two()
    two.meet()
    two.carry()
    two.confirm()
    two.note_changes()
    two.high = session(HIGH, 23, LOW)
    two.installed["high"] = set()
    two.high.peer_known(LOW.static_public, LOW_UID, two.now)
    two.low.peer_known(HIGH.static_public, PeerUID(23), two.now)
    assert two.low.current is None
    two.advance()
    assert two.carry() == 2
    two.confirm()
    two.note_changes()
    assert crosses(two.low, two.high)
    assert len(two.installed["low"]) == 1


def test_a_restarted_initiator_is_believed_although_it_counts_anew() -> None:
    two = Two()
    two.meet()
    two.run(600)
    two.low = session(LOW, 12, HIGH)
    two.now = 1.0  # its clock is another one, too
    two.low.peer_known(HIGH.static_public, HIGH_UID, two.now)
    two.high.peer_known(LOW.static_public, PeerUID(12), two.now)
    two.advance()
    two.carry()
    assert two.high.last_error == ""
    assert two.low.current is not None


def test_a_link_that_was_forgotten_and_made_anew_is_believed() -> None:
    """The initiator forgot the peer for a while (a partition), the responder did not."""
    two = Two()
    two.meet()
    two.run(3600)
    two.low = session(LOW, LOW_UID, HIGH, seed=1)
    two.low.peer_known(HIGH.static_public, HIGH_UID, two.now)
    two.advance()
    two.carry()
    assert two.high.last_error == ""
    assert two.low.current is not None


def test_keys_that_nobody_has_confirmed_give_way_to_newer_ones() -> None:
    """The first answer gets lost, and the initiator has no way to send anything."""
    two = Two()
    two.meet()
    for message in two.low.take_messages():
        two.high.receive_untrusted(message, two.now)
    two.high.take_messages()
    two.now += 0.5
    two.advance()
    two.carry()
    assert crosses(two.high, two.low)
    assert crosses(two.low, two.high)
    two.confirm()
    kept = two.high.current
    two.low.renew(two.now)
    two.advance()
    two.carry()
    assert two.high.current is kept  # confirmed ones are used until the new ones are, too
    two.high.renew(two.now)  # unless they do not work any more
    assert two.high.current is not kept
    assert crosses(two.high, two.low)


def test_renewed_at_once_when_asked_but_not_twice_at_a_time() -> None:
    two = Two()
    two.meet()
    two.carry()
    two.confirm()
    two.low.renew(two.now)
    two.low.advance(two.now)
    two.low.renew(two.now)
    two.low.advance(two.now)
    assert len(two.low.take_messages()) == 1


def test_no_cipher_in_common_is_said() -> None:
    two = Two()
    two.high = session(HIGH, HIGH_UID, LOW, suites=(2,))
    two.low = session(LOW, LOW_UID, HIGH, suites=(1,))
    two.meet()
    two.carry()
    assert "no cipher in common" in two.high.last_error
    assert two.low.current is None


def test_the_cipher_is_the_one_both_want() -> None:
    two = Two()
    two.high = session(HIGH, HIGH_UID, LOW, suites=(2,))
    two.meet()
    two.carry()
    two.confirm()
    assert two.low.current is not None
    assert two.low.current.suite == 2
    assert crosses(two.low, two.high)


def test_altered_messages_change_nothing() -> None:
    """F9: the true message works all the same, however many altered ones came before it."""
    two = Two()
    two.meet()
    (message,) = two.low.take_messages()
    for place in range(len(message)):
        two.high.receive_untrusted(altered(message, place), two.now)
        assert two.high.take_messages() == []
    two.high.receive_untrusted(message, two.now)
    (answer,) = two.high.take_messages()
    for place in range(len(answer)):
        two.low.receive_untrusted(altered(answer, place), two.now)
        assert two.low.last_error
    two.low.receive_untrusted(answer, two.now)
    assert two.low.current is not None
    two.confirm()
    assert crosses(two.low, two.high)
    assert crosses(two.high, two.low)


def altered(message: bytes, place: int) -> bytes:
    return message[:place] + bytes([message[place] ^ 1]) + message[place + 1 :]


def test_an_answer_that_does_not_verify_does_not_end_the_handshake() -> None:
    """F9, should the MAC before it be of no use (the receiver's static key is known): Noise's own
    verification must not be a way to end it either, within what the peer may cost."""
    two = Two()
    two.meet()
    (message,) = two.low.take_messages()
    two.high.receive_untrusted(message, two.now)
    (answer,) = two.high.take_messages()
    kind, number, sealed = fields(answer)
    assert isinstance(sealed, bytes)
    for place in range(MOST_HANDSHAKES - 1):
        two.low.receive_untrusted(by_high(kind, number, altered(sealed, place)), two.now)
        assert two.low.last_error
        assert two.low.current is None
    two.low.receive_untrusted(answer, two.now)
    assert two.low.current is not None
    two.confirm()
    assert crosses(two.low, two.high)


def test_what_was_said_to_another_life_is_not_read() -> None:
    """A relay that has kept initiations and answers of earlier lives cannot spend anything."""
    two = Two()
    two.meet()
    (initiation,) = two.low.take_messages()
    two.high.receive_untrusted(initiation, two.now)
    (answer,) = two.high.take_messages()
    two.low = session(LOW, LOW_UID + 1, HIGH)
    two.high = session(HIGH, HIGH_UID + 1, LOW)
    two.high.peer_known(LOW.static_public, PeerUID(LOW_UID + 1), two.now)
    two.low.peer_known(HIGH.static_public, PeerUID(HIGH_UID + 1), two.now)
    two.advance()
    for _ in range(10 * MOST_HANDSHAKES):
        two.high.receive_untrusted(initiation, two.now)
        two.low.receive_untrusted(answer, two.now)
    assert "has not made" in two.high.last_error
    assert two.high.take_messages() == []
    assert two.carry() == 2
    assert two.low.current is not None


def test_a_static_key_that_shares_no_secret_costs_nothing_more() -> None:
    two = Two()
    two.high.peer_known(bytes(32), LOW_UID, two.now)
    assert "low order" in two.high.last_error
    two.high.receive_untrusted(by_low(3), two.now)
    two.high.call(two.now)
    two.high.advance(two.now)
    assert two.high.take_messages() == []


_values = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(0, 2**64 - 1), st.binary(max_size=120)),
    lambda inner: st.lists(inner, max_size=4),
    max_leaves=8,
)


@settings(max_examples=200, deadline=None)
@given(st.lists(st.one_of(st.binary(max_size=60), _values.map(pack)), max_size=8))
def test_garbage_changes_nothing(bodies: list[bytes]) -> None:
    two = Two()
    two.meet()
    for body in bodies:
        two.low.receive_untrusted(body, two.now)
        two.high.receive_untrusted(body, two.now)
    assert two.high.take_messages() == []
    two.run(1)
    assert two.low.current is not None
    assert crosses(two.low, two.high)


def test_a_peer_that_asks_for_new_keys_all_the_time_gets_some_now_and_then() -> None:
    two = Two()
    two.meet()
    two.carry()
    two.high.take_changes()
    epochs = 0
    for tenth in range(200):
        now = two.now + tenth / 10
        two.low._initiate(now)
        for body in two.low.take_messages():
            two.high.receive_untrusted(body, now)
        epochs += len(two.high.take_changes()[0])
    assert MOST_HANDSHAKES <= epochs <= 2 * MOST_HANDSHAKES
    assert "more session handshakes" in two.high.last_error


# --- on demand -------------------------------------------------------------------------------


class TestCall:
    """The responder wants keys, and the initiator may not know that it should begin."""

    def test_the_initiator_begins_when_it_is_called(self) -> None:
        two = Two()
        two.high.peer_known(LOW.static_public, LOW_UID, two.now)
        two.high.call(two.now)
        two.high.advance(two.now)
        (call,) = two.high.take_messages()
        two.low.peer_known(HIGH.static_public, HIGH_UID, two.now)  # a link was made for it
        two.low.receive_untrusted(call, two.now)
        two.advance()
        two.carry()
        assert two.low.current is not None
        assert two.high.current is not None

    def test_calls_are_repeated_less_and_less_often_until_there_are_keys(self) -> None:
        two = Two()
        two.high.peer_known(LOW.static_public, LOW_UID, two.now)
        two.high.call(two.now)
        calls = 0
        for _ in range(6):
            deadline = two.high.next_deadline()
            assert deadline is not None
            assert deadline.why == "call for a session"
            two.now = deadline.at
            two.high.advance(two.now)
            calls += len(two.high.take_messages())
        assert calls == 6
        assert two.now > 1005
        two.meet()
        two.carry()
        two.run(20)
        two.high.take_messages()
        deadline = two.high.next_deadline()
        assert deadline is None or deadline.why != "call for a session"

    def test_who_has_keys_or_initiates_itself_does_not_call(self) -> None:
        two = Two()
        two.meet()
        two.carry()
        two.low.call(two.now)
        two.high.call(two.now)
        two.advance()
        assert two.low.take_messages() == two.high.take_messages() == []

    def test_a_call_does_not_renew_keys_that_are_there(self) -> None:
        two = Two()
        two.meet()
        two.carry()
        two.low.receive_untrusted(by_high(3), two.now)
        two.low.advance(two.now)
        assert two.low.take_messages() == []
        two.high.receive_untrusted(by_low(3), two.now)
        two.high.advance(two.now)
        assert two.high.take_messages() == [], "who is not the initiator never begins"
