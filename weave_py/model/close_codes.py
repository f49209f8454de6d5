"""Why does a connection end on purpose? Codes that the other side acts on (protocol).

The sentence beside a code is for people and may be reworded at any time.
"""

from __future__ import annotations

from enum import IntEnum


class CloseCode(IntEnum):
    """As in a Goodbye. Codes that a later version adds are read as UNSPECIFIED."""

    UNSPECIFIED = 0
    LEAVING = 1  #: the router stops
    DUPLICATE = 2  #: there is another connection between the two
    MADE_ROOM = 3  #: too many connections, and others are more useful: call again later
    SUPERFLUOUS = 4  #: the network does not need this connection any more
    OURSELF = 5  #: it leads back to the router that called
    CLONED = 6  #: another router runs with the same identity
    REFUSED = 7  #: the peer may not take part
    BUSY = 8  #: too many strangers call at the moment: call again soon

    @classmethod
    def of(cls, number: int) -> CloseCode:
        return cls(number) if number in cls._value2member_map_ else cls.UNSPECIFIED
