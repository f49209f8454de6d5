"""What looks like another router with our identity, and what only seems to?"""

from __future__ import annotations

from dataclasses import dataclass
from typing import cast

from weave_py.model.names import PeerName
from weave_py.router.duplicate_identity import BROKEN_FOR, COMPLAIN_EVERY, DuplicateIdentity
from weave_py.router.neighbours import Neighbours

PEER, OTHER = PeerName(b"\x02peer!"), PeerName(b"\x02other")


@dataclass
class Hands:
    are_shaking_hands: bool = False


def test_a_refusal_without_another_connection_is_a_duplicates_doing() -> None:
    duplicates = DuplicateIdentity(cast(Neighbours, Hands()))
    assert duplicates.took_our_place(PEER, 100.0)


def test_but_not_while_the_peer_may_not_know_yet_that_ours_has_broken() -> None:
    duplicates = DuplicateIdentity(cast(Neighbours, Hands()))
    duplicates.broke(PEER, 100.0)
    assert not duplicates.took_our_place(PEER, 100.0 + BROKEN_FOR - 0.1)
    assert duplicates.took_our_place(OTHER, 100.0)
    assert duplicates.took_our_place(PEER, 100.0 + BROKEN_FOR)


def test_nor_while_somebody_is_at_the_handshake_who_may_be_the_other_half() -> None:
    hands = Hands(are_shaking_hands=True)
    duplicates = DuplicateIdentity(cast(Neighbours, hands))
    assert not duplicates.took_our_place(PEER, 100.0)
    hands.are_shaking_hands = False
    assert duplicates.took_our_place(PEER, 100.0)


def test_one_line_says_it() -> None:
    duplicates = DuplicateIdentity(cast(Neighbours, Hands()))
    said = [second for second in range(121) if duplicates.complaint({}, 100.0 + second)]
    assert said == [0, COMPLAIN_EVERY, 2 * COMPLAIN_EVERY]
