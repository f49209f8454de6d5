"""Which keys do we share with this peer? The end-to-end session, its epochs and their renewal.

Two peers agree on keys with `Noise_KK_25519_ChaChaPoly_BLAKE2s` (Noise rev 34): both know the
other's static key from its signed topology record. The two messages travel through the mesh as
unicasts, whether the peers are neighbours or strangers; UDP itself never starts a handshake.

Whoever is in the mesh can send us such messages, and whoever is on the way can change, repeat and
hold back the true ones. So nothing is worked on that is not the peer's (`handshake_mac`) and new,
not even the peer's own without a limit, and nothing that fails to verify changes anything.

Of two peers the lower-named one always initiates, so there is no race to settle. A session is a
row of *epochs*, each with its own keys and session indexes, made before the last one breaks:

    initiator: sends under the new epoch once the answer is here
    responder: sends under the new epoch once a record under it has come (WireGuard's confirmation)
    both keep opening the previous epoch for a while

While there is nothing to break, the responder does not wait for that record: behind a NAT it is
the only one that can send the first datagram.

Where sessions are made only on demand, the demand may be the responder's: it then asks the
initiator to begin (`call`).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from weave_py.crypto.identity import Identity
from weave_py.crypto.noise import Handshake
from weave_py.crypto.suites import Suite, choose, derive
from weave_py.link.handshake_mac import MAX_BODY, HandshakeMac
from weave_py.link.sealing import Opener, Sealer
from weave_py.model.deadlines import Deadline, earliest
from weave_py.model.errors import HandshakeError, PeerError, WireError
from weave_py.model.load import LocalLoad
from weave_py.model.names import PeerName, PeerUID
from weave_py.model.token_bucket import TokenBucket
from weave_py.wire.packing import as_bytes, as_int, as_list, pack, unpack_untrusted

PROTOCOL = "Noise_KK_25519_ChaChaPoly_BLAKE2s"
LABEL = b"weave-py session v1"
U32 = 0xFFFF_FFFF
# Session indexes begin here, because they also serve as SPIs of ESP, of which RFC 4303 §2.1
# reserves those below.
MIN_INDEX = 256
# Handshakes of the peer's that are worked on at once, and a second: each may be a set of keys for
# the kernel to keep. Nobody tries more often (`SessionSettings.first_retry`, `longest_retry`).
MOST_HANDSHAKES = 8
HANDSHAKES_PER_SECOND = 0.2
U64 = (1 << 64) - 1
GRACE = 4.0  # seconds more to wait for an answer, for each second that we are late ourselves
_INIT = 1
_ANSWER = 2
_CALL = 3


@dataclass(frozen=True, slots=True)
class SessionSettings:
    """Seconds. 120 and 180 are WireGuard's constants."""

    renew_after: float = 120.0
    stop_after: float = 180.0
    """An epoch this old seals nothing any more."""
    keep_previous: float = 10.0
    """How long records under the epoch before are still opened."""
    first_retry: float = 0.5
    longest_retry: float = 5.0


@dataclass(slots=True)
class Epoch:
    """One set of keys, as one side holds it."""

    index: int
    """Ours: the peer puts it into the header of what it sends us."""
    suite: Suite
    sealer: Sealer
    opener: Opener
    born_at: float
    theirs: int
    """The peer's index."""
    send_key: bytes = field(repr=False)
    """The two directions' keys as the handshake made them: others are derived from them, too."""
    receive_key: bytes = field(repr=False)


@dataclass(slots=True)
class _Pending:
    """An initiation without an answer yet."""

    handshake: Handshake
    index: int


class Session:
    """Engine of one session. Call `advance` at `next_deadline`, take `take_messages`."""

    def __init__(
        self,
        identity: Identity,
        uid: PeerUID,
        peer: PeerName,
        suites: Sequence[int],
        token_bytes: Callable[[int], bytes],
        new_index: Callable[[], int],
        settings: SessionSettings | None = None,
        load: LocalLoad | None = None,
    ) -> None:
        """`new_index` returns an index that no session of this router uses. `load`: the
        router's own."""
        self._load = load or LocalLoad()
        self.peer = peer
        self.current: Epoch | None = None
        """The epoch to seal under, unless it is too old."""
        self.initiates = identity.name < peer
        self.handshakes = 0
        self.last_error = ""
        self._budget = TokenBucket(MOST_HANDSHAKES, HANDSHAKES_PER_SECOND)
        """What the peer may cost us."""
        self._identity = identity
        self._uid = uid
        self._suites = list(suites)
        self._token_bytes = token_bytes
        self._new_index = new_index
        self._settings = settings or SessionSettings()
        self._static: bytes | None = None
        self._peer_uid: PeerUID | None = None
        self._mac: HandshakeMac | None = None
        """None until the peer is known, or if its static key is good for nothing."""
        self._pending: _Pending | None = None
        self._previous: Epoch | None = None
        self._next: Epoch | None = None
        self._is_confirmed = False
        """Whether the other side has the keys of `current` for sure."""
        self._retire_previous_at: float | None = None
        self._initiate_at: float | None = None
        self._call_at: float | None = None
        self._retry = self._settings.first_retry
        self._sequence = 0
        self._heard_sequence = 0
        self._messages: list[bytes] = []
        self._installed: list[Epoch] = []
        self._retired: list[int] = []

    def __repr__(self) -> str:
        state = "established" if self.current else "handshaking" if self._pending else "none"
        return f"<Session with {self.peer.hex(':')} {state}>"

    # --- in ------------------------------------------------------------------------------

    def peer_known(self, static: bytes, uid: PeerUID, now: float) -> None:
        """The peer's record says this. A new UID means a restart: its old keys are gone."""
        if (static, uid) == (self._static, self._peer_uid):
            return
        self._static, self._peer_uid = static, uid
        try:
            self._mac = HandshakeMac(self._identity, self._uid, self.peer, static, uid)
        except HandshakeError as error:
            self._mac = None
            self.last_error = str(error)
        self._heard_sequence = 0
        self.drop()
        if self.initiates:
            self._initiate_at = now

    def call(self, now: float) -> None:
        """Keys are wanted, and the peer may not know that there is anything to agree on."""
        if not self.initiates and self.current is None and self._call_at is None:
            self._call_at = now

    def renew(self, now: float) -> None:
        """Something is wrong (nothing gets through): agree on new keys, if that is ours to do; if
        not, use those that are not confirmed yet."""
        if self._next is not None:
            self._promote(self._next, now, is_confirmed=False)
        if self.initiates and self._pending is None and self._peer_uid is not None:
            self._initiate_at = now

    def drop(self) -> None:
        """Forget all keys."""
        for epoch in (self.current, self._previous, self._next):
            if epoch is not None:
                self._retired.append(epoch.index)
        if self._pending is not None:
            self._pending = None
        self.current = self._previous = self._next = None
        self._retire_previous_at = self._initiate_at = self._call_at = None
        self._retry = self._settings.first_retry

    def confirmed(self, index: int, now: float) -> None:
        """An authentic record came in under the epoch with this index of ours."""
        if self._next is not None and self._next.index == index:
            self._promote(self._next, now, is_confirmed=True)
        elif self.current is not None and self.current.index == index:
            self._is_confirmed = True

    def receive_untrusted(
        self, message: bytes, now: float, introducer: TokenBucket | None = None
    ) -> bool:
        """A session message came. What is wrong with it goes to `last_error`; False if the peer
        has not made it, and so nothing has changed.

        `introducer`: what the neighbour it came through may cost us; None if it came from the peer
        itself, sealed.
        """
        try:
            if self._mac is None:
                raise HandshakeError("a session message from a peer we have no record of yet")
            body = self._mac.open_untrusted(message)
        except PeerError as error:
            self.last_error = str(error)
            return False
        try:
            self._receive_body_untrusted(body, now, introducer)
        except PeerError as error:
            self.last_error = str(error)
        return True

    def advance(self, now: float) -> None:
        if self._retire_previous_at is not None and now >= self._retire_previous_at:
            self._retire_previous()
        if self.current is not None and (now >= self.current.born_at + self._settings.stop_after):
            self._retired.append(self.current.index)
            self.current = None
        if self._initiate_at is not None and now >= self._initiate_at and self._static is not None:
            self._initiate(now)
        if self._call_at is not None and now >= self._call_at:
            self._call_at = None
            if self.current is None:
                self._say(pack([_CALL]))
                self._call_at = now + self._retry
                self._retry = min(self._retry * 2, self._settings.longest_retry)

    # --- out -----------------------------------------------------------------------------

    @property
    def epochs(self) -> list[Epoch]:
        """All whose records are opened, oldest first."""
        return [e for e in (self._previous, self.current, self._next) if e is not None]

    def take_messages(self) -> list[bytes]:
        """Bodies to send to the peer as mesh unicasts."""
        taken, self._messages = self._messages, []
        return taken

    def take_changes(self) -> tuple[list[Epoch], list[int]]:
        """(Epochs that can be opened from now on, indexes that cannot any more)."""
        taken = self._installed, self._retired
        self._installed, self._retired = [], []
        return taken

    def next_deadline(self) -> Deadline | None:
        due: list[Deadline] = []
        if self.current is not None:
            stop_at = self.current.born_at + self._settings.stop_after
            due.append(Deadline(stop_at, "session epoch too old"))
        if self._initiate_at is not None:
            due.append(Deadline(self._initiate_at, "session handshake"))
        if self._call_at is not None:
            due.append(Deadline(self._call_at, "call for a session"))
        if self._retire_previous_at is not None:
            due.append(Deadline(self._retire_previous_at, "retire the previous epoch"))
        return earliest(due)

    # --- inside --------------------------------------------------------------------------

    def _receive_body_untrusted(
        self, body: bytes, now: float, introducer: TokenBucket | None
    ) -> None:
        fields = as_list(unpack_untrusted(body, max_bytes=MAX_BODY), "session message", 8)
        match fields:
            case [kind, handshake_id, sealed, sequence, *_] if kind == _INIT:
                number = as_int(handshake_id, "handshake id", 0, U32)
                data = as_bytes(sealed, "session handshake", max_length=512)
                self._may_answer(as_int(sequence, "sequence", 1, U64))
                self._spend(now, introducer)
                self._answer_untrusted(number, data, now)
            case [kind, handshake_id, sealed, *_] if kind == _ANSWER:
                data = as_bytes(sealed, "session handshake", max_length=512)
                if self._pending is not None and self._pending.index == handshake_id:
                    self._spend(now, introducer)
                    self._complete_untrusted(self._pending, data, now)
            case [kind, *_] if kind == _CALL:
                if self.initiates and self.current is None and self._pending is None:
                    self._initiate_at = now
            case _:
                raise WireError("an unknown session message")

    def _say(self, body: bytes) -> None:
        if self._mac is not None:
            self._messages.append(self._mac.close(body))

    def _may_answer(self, sequence: int) -> None:
        """HandshakeError if an initiation need not even be read."""
        if self.initiates:
            raise HandshakeError("a session handshake from the wrong side")
        if sequence <= self._heard_sequence:
            raise HandshakeError("a session handshake that was replayed or overtaken")

    def _spend(self, now: float, introducer: TokenBucket | None) -> None:
        """Before exchanges of X25519. HandshakeError if that is too often; who pays is the peer
        first, so that it cannot spend what others have who come through the same neighbour."""
        if not self._budget.has(now):
            raise HandshakeError("more session handshakes than anybody needs")
        if introducer is not None and not introducer.take(now):
            raise HandshakeError("more session handshakes through one neighbour than there can be")
        self._budget.take(now)

    def _handshake(self, initiator: bool) -> Handshake:
        ours, theirs = self._identity.name, self.peer
        return Handshake(
            PROTOCOL,
            initiator=initiator,
            prologue=LABEL + (ours + theirs if initiator else theirs + ours),
            static=self._identity.static_private,
            ephemeral=X25519PrivateKey.from_private_bytes(self._token_bytes(32)),
            remote_static=self._static,
        )

    def _initiate(self, now: float) -> None:
        handshake = self._handshake(initiator=True)
        index = self._new_index()
        # By the clock: it goes on where a forgotten link to the same peer had stopped counting.
        self._sequence = max(self._sequence + 1, int(now * 1000))
        payload = pack([index, self._uid, self._sequence, self._suites])
        self._initiate_at = now + self._retry + GRACE * self._load.delay(now)
        self._retry = min(self._retry * 2, self._settings.longest_retry)
        try:
            message = handshake.write_message(payload)
        except PeerError as error:  # a static key that makes no secret
            self.last_error = str(error)
            return
        self._pending = _Pending(handshake, index)
        self._say(pack([_INIT, index, message, self._sequence]))

    def _answer_untrusted(self, handshake_id: int, message: bytes, now: float) -> None:
        handshake = self._handshake(initiator=False)
        payload = unpack_untrusted(handshake.read_message_untrusted(message), max_bytes=MAX_BODY)
        fields = as_list(payload, "session offer", 16, at_least=4)
        theirs = as_int(fields[0], "session index", MIN_INDEX, U32)
        uid = as_int(fields[1], "uid", 1, U64)
        sequence = as_int(fields[2], "sequence", 1, U64)
        suites = [as_int(s, "suite", 0, 255) for s in as_list(fields[3], "suites", 16)]
        if uid != self._peer_uid:
            raise HandshakeError("a session handshake from another life of the peer")
        self._may_answer(sequence)  # in clear it was only a hint
        suite = choose(self._suites, suites)
        self._heard_sequence = sequence
        index = self._new_index()
        answer = handshake.write_message(pack([index, self._uid, int(suite)]))
        self._say(pack([_ANSWER, handshake_id, answer]))
        if self._next is not None:
            self._retired.append(self._next.index)
        self._next = self._epoch(handshake, suite, index, theirs, now)
        if self.current is None or not self._is_confirmed:
            self._promote(self._next, now, is_confirmed=False)

    def _complete_untrusted(self, pending: _Pending, message: bytes, now: float) -> None:
        handshake = pending.handshake.for_reading()
        payload = unpack_untrusted(handshake.read_message_untrusted(message), max_bytes=MAX_BODY)
        fields = as_list(payload, "session answer", 16, at_least=3)
        theirs = as_int(fields[0], "session index", MIN_INDEX, U32)
        if as_int(fields[1], "uid", 1, U64) != self._peer_uid:
            raise HandshakeError("a session answer from another life of the peer")
        suite_id = as_int(fields[2], "suite", 0, 255)
        if suite_id not in self._suites:
            raise HandshakeError(f"the peer chose suite {suite_id}, which we did not offer")
        self._pending = None
        self._initiate_at = now + self._settings.renew_after
        self._retry = self._settings.first_retry
        epoch = self._epoch(handshake, Suite(suite_id), pending.index, theirs, now)
        self._promote(epoch, now, is_confirmed=True)

    def _epoch(
        self, handshake: Handshake, suite: Suite, ours: int, theirs: int, now: float
    ) -> Epoch:
        send, receive = handshake.split_keys()
        label = f"weave-py data {suite.text}"
        epoch = Epoch(
            ours,
            suite,
            Sealer(suite, derive(send, label, 32), theirs),
            Opener(suite, derive(receive, label, 32)),
            now,
            theirs,
            send,
            receive,
        )
        self.handshakes += 1
        self.last_error = ""
        self._installed.append(epoch)
        return epoch

    def _promote(self, epoch: Epoch, now: float, is_confirmed: bool) -> None:
        self._retire_previous()
        self._previous, self.current, self._next = self.current, epoch, None
        self._is_confirmed = is_confirmed
        if self._previous is not None:
            self._retire_previous_at = now + self._settings.keep_previous

    def _retire_previous(self) -> None:
        if self._previous is not None:
            self._retired.append(self._previous.index)
        self._previous = None
        self._retire_previous_at = None
