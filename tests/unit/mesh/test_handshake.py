"""Do two routers of one network always understand each other, and nobody else ever?

initiator >> preface             << preface              responder
          >> message 1           << message 2
          >> message 3           << welcome
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.kit.builders import handshake, hello, identity, membership, place, tokens
from weave_py.crypto.identity import Identity
from weave_py.crypto.membership import DEFAULT_NETWORK, Membership
from weave_py.crypto.noise import Handshake
from weave_py.mesh.control_keys import RenewalSettings
from weave_py.mesh.handshake import (
    ALERT_BUSY,
    ALERT_HAS_NO_SECRET,
    ALERT_NEEDS_SECRET,
    ALERT_PASSWORD,
    ALERTS,
    MAX_HANDSHAKE_FRAME,
    PROTOCOL,
    TOO_MANY,
    WRONG_PASSWORD,
    ControlHandshake,
    Step,
)
from weave_py.model.errors import AuthenticationError, HandshakeError, PeerError, WireError
from weave_py.model.names import Endpoint
from weave_py.wire.packing import as_list, pack, unpack_untrusted
from weave_py.wire.preface import preface
from weave_py.wire.stream import FrameReader, alert, frame

ALICE, BOB = 1, 2


@dataclass
class Side:
    """A handshake with its stream; `said` is every chunk that it wanted sent."""

    handshake: ControlHandshake
    reader: FrameReader = field(default_factory=FrameReader)
    said: list[bytes] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.said.append(self.handshake.start())

    def hear(self, data: bytes) -> bytes:
        self.reader.feed(data)
        answer = self.handshake.proceed_untrusted(self.reader, 0.0)
        if answer:
            self.said.append(answer)
        return answer

    @property
    def is_done(self) -> bool:
        return self.handshake.step is Step.DONE


def whole(data: bytes) -> Iterable[bytes]:
    yield data


def byte_by_byte(data: bytes) -> Iterable[bytes]:
    for value in data:
        yield bytes((value,))


def talk(a: Side, b: Side, chunks: Callable[[bytes], Iterable[bytes]] = whole) -> None:
    """Let two sides speak until both are silent."""
    pending = [(a, b.said[0]), (b, a.said[0])]
    while pending:
        listener, data = pending.pop(0)
        speaker = b if listener is a else a
        for chunk in chunks(data):
            answer = listener.hear(chunk)
            if answer:
                pending.append((speaker, answer))


def pair(
    secret_a: str | None = "same", secret_b: str | None = "same", seed: int = 0
) -> tuple[Side, Side]:
    return (
        Side(handshake(ALICE, initiator=True, secret=secret_a, seed=2 * seed, remote=place(2))),
        Side(handshake(BOB, initiator=False, secret=secret_b, seed=2 * seed + 1, remote=place(1))),
    )


# --- understanding ---------------------------------------------------------------------------


@pytest.mark.parametrize("chunks", [whole, byte_by_byte])
@pytest.mark.parametrize("secret", [None, "same"])
def test_both_sides_end_with_the_same_view(
    secret: str | None, chunks: Callable[[bytes], Iterable[bytes]]
) -> None:
    a, b = pair(secret, secret)
    talk(a, b, chunks)
    assert a.is_done
    assert b.is_done
    assert a.handshake.theirs == hello(BOB)
    assert b.handshake.theirs == hello(ALICE)
    assert a.handshake.hash == b.handshake.hash != b""
    assert a.handshake.observed == place(1)
    assert b.handshake.observed is None
    keys_a, keys_b = (side.handshake.take_keys(0.0, RenewalSettings()) for side in (a, b))
    assert keys_b.open_untrusted(keys_a.seal(b"to b")) == b"to b"
    assert keys_a.open_untrusted(keys_b.seal(b"to a")) == b"to a"


@given(st.data())
@settings(deadline=None, max_examples=20)
def test_any_chunking_is_the_same_dialogue(data: st.DataObject) -> None:
    def cut(sent: bytes) -> Iterable[bytes]:
        cuts = sorted(data.draw(st.sets(st.integers(1, len(sent) - 1), max_size=3)))
        for start, end in pairwise([0, *cuts, len(sent)]):
            yield sent[start:end]

    a, b = pair()
    talk(a, b, cut)
    reference_a, reference_b = pair()
    talk(reference_a, reference_b)
    assert b"".join(a.said) == b"".join(reference_a.said)
    assert b"".join(b.said) == b"".join(reference_b.said)
    assert a.is_done
    assert b.is_done


def test_what_comes_behind_the_last_message_stays_in_the_stream() -> None:
    a, b = pair()
    first, second = b.hear(a.said[0]), a.hear(b.said[0])
    assert first == b""
    welcome = b.hear(a.hear(b.hear(second)))
    assert b.is_done
    assert not a.is_done
    assert a.hear(welcome + frame(b"tail")) == b""
    assert a.is_done
    assert a.reader.next_frame_untrusted() == b"tail"


def test_the_responder_leaves_the_tail_too() -> None:
    a, b = pair()
    b.hear(a.said[0])
    third = a.hear(b.hear(a.hear(b.said[0])))
    b.hear(third + frame(b"tail"))
    assert b.is_done
    assert b.reader.next_frame_untrusted() == b"tail"


def test_two_handshakes_of_the_same_peers_share_nothing() -> None:
    hashes, bytes_said = set(), set()
    for seed in (0, 1):
        a, b = pair(seed=seed)
        talk(a, b)
        hashes.add(a.handshake.hash)
        bytes_said.update(a.said[1:] + b.said[1:])
    assert len(hashes) == 2
    assert len(bytes_said) == 8


def test_the_names_are_read_by_nobody_else() -> None:
    a, b = pair()
    talk(a, b)
    heard = b"".join(a.said + b.said)
    for number in (ALICE, BOB):
        assert identity(number).public not in heard
        assert identity(number).static_public not in heard
        assert hello(number).nickname.encode() not in heard


# --- refusing --------------------------------------------------------------------------------


def end(side: Side, data: bytes) -> str:
    """Feed what must end this side; the text of its error."""
    with pytest.raises(PeerError) as caught:
        side.hear(data)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_wrong_password_is_told_to_both_sides() -> None:
    a, b = pair("right", "wrong")
    b.hear(a.said[0])
    third = a.hear(b.hear(a.hear(b.said[0])))
    assert end(b, third) == WRONG_PASSWORD
    assert b.handshake.farewell == alert(ALERT_PASSWORD)
    assert b.handshake.theirs is None
    assert "refused our password" in end(a, b.handshake.farewell)
    assert not a.is_done
    assert not b.is_done


@pytest.mark.parametrize(
    ("secret_a", "secret_b", "code", "text_b", "text_a"),
    [
        ("s", None, ALERT_HAS_NO_SECRET, "has a network password and we have none", "has no pass"),
        (None, "s", ALERT_NEEDS_SECRET, "has no network password", "we were started without one"),
    ],
)
def test_secret_on_one_side_only(
    secret_a: str | None, secret_b: str | None, code: int, text_b: str, text_a: str
) -> None:
    a, b = pair(secret_a, secret_b)
    b.hear(a.said[0])
    first = a.hear(b.said[0])
    assert text_b in end(b, first)
    assert b.handshake.farewell == alert(code)
    assert len(b.said) == 1, "nothing but the preface before it is known to be in vain"
    assert text_a in end(a, b.handshake.farewell)


def test_networks_of_other_names_do_not_mix() -> None:
    prs = b"p" * 32
    a = Side(handshake(1, initiator=True, network=Membership(prs, DEFAULT_NETWORK, is_open=False)))
    b = Side(handshake(2, initiator=False, network=Membership(prs, "other", is_open=False)))
    b.hear(a.said[0])
    assert end(b, a.hear(b.hear(a.hear(b.said[0])))) == WRONG_PASSWORD


def test_an_unknown_alert_is_still_an_end() -> None:
    a, b = pair()
    a.hear(b.said[0])
    assert "alert 77" in end(a, alert(77))
    assert 77 not in ALERTS


def test_alerts_may_come_at_once() -> None:
    a, b = pair()
    assert ALERTS[ALERT_PASSWORD] in end(a, b.said[0] + alert(ALERT_PASSWORD))


# --- altering --------------------------------------------------------------------------------

# What each side hears, in order: (from the responder, from the initiator).
SCRIPT_A, SCRIPT_B = pair()
talk(SCRIPT_A, SCRIPT_B)
HEARD_BY_A, HEARD_BY_B = SCRIPT_B.said, SCRIPT_A.said


def replay(is_initiator: bool, heard: list[bytes]) -> Side:
    side = pair()[0 if is_initiator else 1]
    for data in heard:
        side.hear(data)
    return side


@pytest.mark.parametrize("is_initiator", [True, False])
@pytest.mark.parametrize("place_in_script", [1, 2])
def test_every_flipped_bit_of_a_message_is_refused(
    is_initiator: bool, place_in_script: int
) -> None:
    script = HEARD_BY_A if is_initiator else HEARD_BY_B
    before, sent = script[:place_in_script], script[place_in_script]
    replay(is_initiator, [*before, sent])  # unaltered it passes
    for bit in range(8 * len(sent)):
        altered = bytearray(sent)
        altered[bit // 8] ^= 1 << bit % 8
        side = replay(is_initiator, before)
        step = side.handshake.step
        if bit < 16:
            # The length: either too long, or the side waits for ever, or the message is cut.
            try:
                assert side.hear(bytes(altered)) == b""
            except PeerError:
                continue
            assert side.handshake.step is step
            continue
        with pytest.raises((AuthenticationError, HandshakeError)):
            side.hear(bytes(altered))
        assert not side.is_done


@pytest.mark.parametrize("bit", range(64))
@pytest.mark.parametrize("is_initiators", [True, False])
def test_every_flipped_bit_of_a_preface_is_refused(is_initiators: bool, bit: int) -> None:
    """Even bits without a meaning: both prefaces are in the prologue."""
    altered = bytearray(preface())
    altered[bit // 8] ^= 1 << bit % 8
    a, b = pair()
    said_a, said_b = (bytes(altered), b.said[0]) if is_initiators else (a.said[0], bytes(altered))
    with pytest.raises(PeerError):
        listen_to_prefaces(a, said_b, b, said_a)
    assert not a.is_done
    assert not b.is_done


def listen_to_prefaces(a: Side, said_b: bytes, b: Side, said_a: bytes) -> None:
    b.hear(said_a)
    a.hear(b.hear(a.hear(said_b)))


def test_a_replayed_dialogue_does_not_convince() -> None:
    """The same bytes once more, to a responder with new randomness."""
    b = Side(handshake(BOB, initiator=False, secret="same", seed=99))
    b.hear(HEARD_BY_B[0])
    b.hear(HEARD_BY_B[1])
    with pytest.raises(PeerError):
        b.hear(HEARD_BY_B[2])
    a = Side(handshake(ALICE, initiator=True, secret="same", seed=98))
    a.hear(HEARD_BY_A[0])
    with pytest.raises(PeerError):
        a.hear(HEARD_BY_A[1])


def test_a_message_too_long_is_refused_before_it_has_come() -> None:
    a, b = pair()
    b.hear(a.said[0])
    with pytest.raises(WireError, match="at most 2048"):
        b.hear((MAX_HANDSHAKE_FRAME + 1).to_bytes(2, "big"))


# --- strangers -------------------------------------------------------------------------------


class FixedPsk(Membership):
    """A member whose psk comes out as we say, while its share is the same."""

    __slots__ = ("psk",)
    psk: bytes

    def psk_untrusted(self, share: object, their_public: bytes, initiator: bool) -> bytes:
        return self.psk


def test_the_responder_says_nothing_that_depends_on_the_password_before_it_was_proved() -> None:
    """Its bytes are the same whatever the psk is, so they are no test for guesses of it."""
    said = set()
    for psk in (b"\0" * 32, b"\xff" * 32):
        network = FixedPsk(b"prs", DEFAULT_NETWORK, is_open=False)
        network.psk = psk
        a = Side(handshake(1, initiator=True, secret="guess"))
        b = Side(handshake(2, initiator=False, network=network))
        b.hear(a.said[0])
        third = a.hear(b.hear(a.hear(b.said[0])))
        assert end(b, third) == WRONG_PASSWORD
        said.add((*b.said, b.handshake.farewell))
    assert len(said) == 1


def test_sizes_do_not_depend_on_the_password() -> None:
    sizes = set()
    for number in range(5):
        a, b = pair(f"password {number}", f"password {number}")
        talk(a, b)
        sizes.add(tuple(map(len, a.said + b.said)))
    assert len(sizes) == 1


def test_every_wrong_guess_looks_the_same() -> None:
    """A guesser learns that it was wrong, by the same alert, and nothing else."""
    farewells, sizes = set(), set()
    for guess in ("a", "sama", "same ", "x" * 32):
        a, b = pair(guess, "same")
        b.hear(a.said[0])
        end(b, a.hear(b.hear(a.hear(b.said[0]))))
        farewells.add(b.handshake.farewell)
        sizes.add(tuple(map(len, b.said)))
    assert len(farewells) == len(sizes) == 1


def as_raw_initiator(heard: bytes) -> Handshake:
    """Noise without our discipline around it, to send what we never would."""
    return Handshake(
        PROTOCOL,
        initiator=True,
        prologue=preface() + heard + b"weave-py control v1",
        static=identity(ALICE).static_private,
        ephemeral=Identity.create(tokens(5)).static_private,
    )


@pytest.mark.parametrize(
    "payload",
    [
        pytest.param(b"", id="nothing"),
        pytest.param(pack([True]), id="field missing"),
        pytest.param(pack([1, b"k" * 32]), id="not a boolean"),
        pytest.param(pack([True, b"k" * 31]), id="short share"),
        pytest.param(pack([True, b"\0" * 32]), id="share of low order"),
        pytest.param(pack([True, b"\1" + b"\0" * 31]), id="another of low order"),
        pytest.param(pack({"a": 1}), id="a map"),
        pytest.param(pack([True, b"k" * 32, b"x" * 1000]), id="too long"),
    ],
)
def test_a_malformed_first_payload_is_refused(payload: bytes) -> None:
    _, b = pair()
    noise = as_raw_initiator(b.said[0])
    b.hear(preface())
    with pytest.raises(PeerError):
        b.hear(frame(noise.write_message(payload)))
    assert len(b.said) == 1


def test_fields_may_be_appended_by_later_versions() -> None:
    _, b = pair()
    noise = as_raw_initiator(b.said[0])
    b.hear(preface())
    share = membership("same").share(tokens(7))
    second = b.hear(frame(noise.write_message(pack([True, share.public, "news"]))))
    fields = as_list(
        unpack_untrusted(noise.read_message_untrusted(second[2:]), max_bytes=999), "", 9
    )
    assert fields[1] == identity(BOB).public


@pytest.mark.parametrize("stolen", [True, False])
def test_a_certificate_of_somebody_else_is_refused(stolen: bool) -> None:
    """Bob's identity and certificate said by Alice; or Bob's key certified by Alice for herself."""
    _, b = pair()
    noise = as_raw_initiator(b.said[0])
    b.hear(preface())
    share = membership("same").share(tokens(7))
    second = b.hear(frame(noise.write_message(pack([True, share.public]))))
    fields = as_list(
        unpack_untrusted(noise.read_message_untrusted(second[2:]), max_bytes=999), "", 9
    )
    theirs = fields[0]
    assert isinstance(theirs, bytes)
    noise.set_psk(membership("same").psk_untrusted(share, theirs, initiator=True))
    certificate = identity(3).certificate if stolen else identity(ALICE).certificate
    said = [identity(3).public, certificate, [5, "mallory", 6783]]
    with pytest.raises(AuthenticationError):
        b.hear(frame(noise.write_message(pack(said))))
    assert not b.is_done
    assert b.handshake.theirs is None


def test_a_dialler_without_the_password_is_told_a_key_and_nothing_else() -> None:
    """F16: it learned nickname, UID and port of whoever it called."""
    _, b = pair()
    noise = as_raw_initiator(b.said[0])
    b.hear(preface())
    share = membership("guess").share(tokens(7))
    second = b.hear(frame(noise.write_message(pack([True, share.public]))))
    fields = as_list(
        unpack_untrusted(noise.read_message_untrusted(second[2:]), max_bytes=999), "", 9
    )
    assert fields[1:] == [identity(BOB).public, identity(BOB).certificate]


class OneAnswer:
    """A gate that lets so much through."""

    def __init__(self, answers: int, looks: int) -> None:
        self.answers, self.looks = answers, looks
        self.proved: list[bytes] = []

    def may_be_answered(self, now: float) -> bool:
        self.answers -= 1
        return self.answers >= 0

    def may_prove(self, static: bytes, now: float) -> bool:
        self.looks -= 1
        return self.looks >= 0

    def has_proved(self, static: bytes, now: float) -> None:
        self.proved.append(static)


@pytest.mark.parametrize("secret", ["same", "another"])
@pytest.mark.parametrize(("answers", "looks"), [(0, 0), (1, 0), (1, 1)])
def test_a_gate_decides_before_anything_is_judged(secret: str, answers: int, looks: int) -> None:
    """F8, F14: what is not looked at says the same whether it was right or wrong."""
    gate = OneAnswer(answers, looks)
    a, b = pair(secret)
    b = Side(handshake(BOB, initiator=False, secret="same", remote=place(1), gate=gate))
    if not answers:
        assert end(b, a.said[0]) == TOO_MANY
        assert len(b.said) == 1
    else:
        b.hear(a.said[0])
        first = a.hear(b.said[0])
        third = a.hear(b.hear(first))
        if looks and secret == "same":
            a.hear(b.hear(third))
            assert a.is_done
            assert gate.proved == [identity(ALICE).static_public]
            return
        assert end(b, third) == (WRONG_PASSWORD if looks else TOO_MANY)
    assert gate.proved == []
    if not looks:
        assert b.handshake.farewell == alert(ALERT_BUSY)
        preface_too = b"" if answers else b.said[0]
        assert "called again soon" in end(a, preface_too + b.handshake.farewell)


@pytest.mark.parametrize("remote", [Endpoint("10.0.0.1\n", 1), Endpoint("10.0.0.1", 0)])
def test_a_bad_observed_address_is_refused(remote: Endpoint) -> None:
    a = Side(handshake(ALICE, initiator=True))
    b = Side(handshake(BOB, initiator=False, remote=remote))
    with pytest.raises(WireError):
        talk(a, b)
    assert not a.is_done


@given(st.lists(st.binary(max_size=120), max_size=4), st.booleans(), st.booleans())
@settings(deadline=None)
def test_any_bytes_end_in_a_peer_error_or_nothing(
    heard: list[bytes], is_initiator: bool, after_preface: bool
) -> None:
    side = pair()[0 if is_initiator else 1]
    try:
        if after_preface:
            side.hear(preface())
        for data in heard:
            side.hear(data)
    except PeerError:
        pass
    assert not side.is_done
