"""When do both ends of a link probe each other's addresses? At the same moment, by agreement.

A gateway that merely masquerades (any Linux host) keeps the port of its host, unless that port is
taken. A stranger's datagram that arrives before its host has sent any takes it: from then on the
host's own ones to that stranger come from another port, which nobody can foretell, for as long as
anything goes on arriving, and 30 s more. So who cannot tell that it is let in holds its fire until
both are ready, and both fire together: what goes out at both ends before anything comes in finds
the ports free. (libp2p calls it DCUtR; no clocks are compared.)

    follower        leader (the lower name)
       │ ── ask ──────▸ │      only if it is the one with news, or was not ready when asked
       │ ◂────── ask ── │      with a number, and the version of one's record
       │ ── ready ────▸ │      the round trip is known to the leader
       │ ◂───── fire ── │      it fires half a round trip later,
     fires            fires    who hears it at once

Ready is who is seen by somebody (so that its outer address is in its record) and holds the other's
record as that is now. After three questions in vain we fire alone: the peer may be of an earlier
build, which fires whenever it likes, or what carries the questions does not work.

A volley that failed is repeated soon (something may have got lost), and then whenever flows that
did not get an answer are forgotten by all on the way.
"""

from __future__ import annotations

from dataclasses import dataclass

from weave_py.link.path import PathSettings
from weave_py.model.deadlines import Deadline
from weave_py.wire.probes import Punch, Step


@dataclass(slots=True)
class Standing:
    """How this router stands to the world; shared by all its links."""

    version: int = 0
    """Of its topology record."""
    is_seen: bool = False
    """Whether any peer has said where our datagrams come from, and our record says so too."""
    gives_way: bool = True
    """Whether our port cannot be taken away, as far as we know: it is our own address that peers
    see, or a port of a NAT that seems to choose all of them. Then the other end goes first."""


class Volley:
    """Engine: `want` one, hear `receive`, `advance` says what to send; then `take_fire`."""

    def __init__(self, leads: bool, standing: Standing, now: float, settings: PathSettings) -> None:
        self._leads = leads
        self._standing = standing
        self._settings = settings
        self._patient_until = now + settings.volley_patience
        self._known = 0
        self._needed = 0
        """Versions of the peer's record: the one we have, and the one it has."""
        self._number = 0
        self._asked_at: float | None = None
        """When the question was sent that waits for its answer."""
        self._questions = 0
        self._ask_at: float | None = None
        self._fire_at: float | None = None
        self._fired_at = float("-inf")
        self._volleys = 0
        """Since there was fresh hope."""
        self._fires = False
        self._outputs: list[Punch] = []

    # --- in ------------------------------------------------------------------------------

    def peer_known(self, version: int) -> None:
        """This version of the peer's record is what its candidates are from."""
        self._known = version & 0xFFFF_FFFF

    def begin(self, now: float) -> None:
        """New keys: nothing was asked under them yet."""
        self._asked_at = self._fire_at = None
        self._needed = 0
        self._patient_until = now + self._settings.volley_patience
        self.want(now)

    def want(self, now: float) -> None:
        """There is fresh hope: another volley soon, but no more than one a while."""
        self._volleys = 0
        self._ask_soon(now)

    def receive(self, punch: Punch, now: float) -> None:
        """The peer says this, inside the session."""
        match punch.step:
            case Step.ASK:
                self._needed = punch.version
                if not self._leads and self._is_ready(now):
                    self._say(Step.READY, punch.number)
                elif now >= self._fired_at + self._settings.punch_every:
                    self._ask_soon(now)
            case Step.READY:
                if not self._leads or punch.number != self._number or self._asked_at is None:
                    return
                rtt, self._asked_at = now - self._asked_at, None
                self._needed = punch.version
                if self._is_ready(now):
                    self._say(Step.FIRE, punch.number)
                    self._aim(now, rtt / 2)
                else:
                    self._ask_soon(now)
            case Step.FIRE:
                if not self._leads and now >= self._fired_at + self._settings.punch_every:
                    self._aim(now, 0.0)

    def advance(self, now: float, is_wanted: bool) -> None:
        """Time has passed."""
        if self._fire_at is not None:
            if now >= self._fire_at:
                self._fire(now)
        elif not is_wanted:
            return
        elif self._ask_at is not None and now >= self._ask_at and self._is_ready(now):
            if self._questions >= self._settings.volley_questions:
                self._fire(now)
                return
            self._questions += 1
            self._number = self._number % 0xFFFF_FFFF + 1
            self._asked_at = now
            self._ask_at = now + self._settings.punch_every
            self._say(Step.ASK, self._number)

    # --- out -----------------------------------------------------------------------------

    def take_punches(self) -> list[Punch]:
        taken, self._outputs = self._outputs, []
        return taken

    def take_fire(self) -> bool:
        """Whether it is the moment."""
        taken, self._fires = self._fires, False
        return taken

    def next_deadline(self, is_wanted: bool) -> Deadline | None:
        if self._fire_at is not None:
            return Deadline(self._fire_at, "fire")
        if self._ask_at is None or not is_wanted:
            return None
        # Who does not know enough is told when that changes.
        soonest = self._ask_at if self._knows else max(self._ask_at, self._patient_until)
        return Deadline(soonest, "ask for a volley")

    # --- inside --------------------------------------------------------------------------

    def _is_ready(self, now: float) -> bool:
        return self._knows or now >= self._patient_until

    @property
    def _knows(self) -> bool:
        return self._standing.is_seen and self._known >= self._needed

    def _ask_soon(self, now: float) -> None:
        if self._fire_at is None:
            self._questions = 0
            self._ask_at = max(now, self._fired_at + self._settings.punch_every)

    def _say(self, step: Step, number: int) -> None:
        self._outputs.append(Punch(step, number, self._standing.version))

    def _aim(self, now: float, wait: float) -> None:
        # In every other volley: two who give way to each other, or one who is mistaken, must not
        # miss for ever.
        gives_way = self._standing.gives_way and self._volleys % 2 == 0
        self._fire_at = now + wait + (self._settings.volley_lag if gives_way else 0.0)

    def _fire(self, now: float) -> None:
        self._fires = True
        self._fired_at = now
        self._fire_at = self._asked_at = None
        self._volleys += 1
        self._questions = 0
        first, later = self._settings.volley_again, self._settings.volley_pause
        self._ask_at = now + (first if self._volleys == 1 else later)
