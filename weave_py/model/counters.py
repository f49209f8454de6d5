"""How many frames went where? Plain integers on slotted objects: one addition per event.

Every frame that comes out of a TAP or out of a record ends in exactly one of these counters of
its link; every datagram in exactly one of the router's.
"""

from __future__ import annotations


class _Counters:
    __slots__: tuple[str, ...] = ()

    def __init__(self) -> None:
        for name in self.__slots__:
            setattr(self, name, 0)

    def as_dict(self) -> dict[str, int]:
        return {name: getattr(self, name) for name in self.__slots__}


class LinkCounters(_Counters):
    """Of the traffic with one peer. Frames are counted where they end."""

    __slots__ = (
        "bytes_in",  # of frames delivered
        "bytes_out",  # of frames sealed
        "datagrams_in",  # of data records, whole or not
        "datagrams_out",
        "drop_device",  # the TAP would not take the frame
        "drop_endless",  # a super-frame to be cut into more packets than make sense
        "drop_no_path",  # no way to the peer now
        "drop_no_session",  # no keys with the peer now
        "drop_queue",  # segments of transfers whose queue stands: that slows them down
        "drop_send_refused",  # the kernel would not send (queue full, no route)
        "frames_in",  # delivered to the TAP
        "frames_out",  # sealed and handed to the kernel
        "records_bad",  # not authentic
        "records_in",
        "records_incomplete",  # a datagram of it never came
        "records_malformed",  # authentic, but not frames
        "records_out",
        "records_replayed",
    )
    bytes_in: int
    bytes_out: int
    datagrams_in: int
    datagrams_out: int
    drop_device: int
    drop_endless: int
    drop_no_path: int
    drop_no_session: int
    drop_queue: int
    drop_send_refused: int
    frames_in: int
    frames_out: int
    records_bad: int
    records_in: int
    records_incomplete: int
    records_malformed: int
    records_out: int
    records_replayed: int


class DatapathCounters(_Counters):
    """Of the router's sleeve sockets, where no peer is to be named."""

    __slots__ = (
        "datagrams_in",
        "datagrams_malformed",
        "datagrams_relayed",
        "datagrams_unknown_session",
        "relay_hop_limit",
        "relay_no_route",
        "relay_send_refused",
    )
    datagrams_in: int
    datagrams_malformed: int
    datagrams_relayed: int
    datagrams_unknown_session: int
    relay_hop_limit: int
    relay_no_route: int
    relay_send_refused: int
