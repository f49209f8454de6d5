"""May this peer take part? One question, asked wherever a peer is accepted.

It is asked when a connection has proved who is at its other end, when a record of a peer comes in
that we did not know, and when a peer begins a session with us. Whoever does not take part has no
connection, no record, no route and no keys here.
"""

from __future__ import annotations

from typing import NamedTuple, Protocol

from weave_py.model.names import PeerName


class Claimant(NamedTuple):
    """Somebody whose key is proved."""

    name: PeerName
    identity: bytes
    """Its public key."""


class Authorizer(Protocol):
    def refusal(self, claimant: Claimant) -> str:
        """Why this peer may not take part, for people; empty if it may."""


class WhoeverGotIn:
    """The answer of an open network (anybody may), and of one with a password: its handshake lets
    nobody in who does not know it, and records come from those that are in."""

    def refusal(self, claimant: Claimant) -> str:
        return ""
