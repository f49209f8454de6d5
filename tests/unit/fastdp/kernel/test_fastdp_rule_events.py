"""Is it noticed whose nft rules were changed, and nothing else read?"""

from __future__ import annotations

import socket
import struct

from hypothesis import given
from hypothesis import strategies as st

from fastdp.kernel.rule_events import concerns, ours_changed

NEWTABLE, DELTABLE, DELRULE = 0xA00, 0xA02, 0xA08  # linux/netfilter/nf_tables.h


def message(kind: int, table: str) -> bytes:
    name = table.encode() + b"\0"
    attribute = struct.pack("=HH", 4 + len(name), 1) + name + bytes(-len(name) % 4)
    payload = struct.pack("=BBH", 1, 0, 0) + attribute
    return struct.pack("=IHHII", 16 + len(payload), kind, 0, 0, 0) + payload


def test_whose_table_it_is() -> None:
    for kind in (NEWTABLE, DELTABLE, DELRULE):
        assert concerns(message(kind, "weave-py-weave"), "weave")
        assert not concerns(message(kind, "weave-py-weave"), "weave2")
        assert not concerns(message(kind, "filter"), "weave")
    assert not concerns(message(0x100, "weave-py-weave"), "weave"), "connection tracking"
    several = message(DELTABLE, "filter") + message(DELRULE, "weave-py-weave")
    assert concerns(several, "weave")


@given(data=st.binary(max_size=80), kind=st.integers(0, 0xFFFF))
def test_no_bytes_are_too_strange(data: bytes, kind: int) -> None:
    concerns(data, "weave")
    concerns(struct.pack("=IHHII", 16 + len(data), kind, 0, 0, 0) + data, "weave")


def test_everything_that_waits_is_read() -> None:
    kernel, events = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
    with kernel, events:
        events.setblocking(False)
        assert not ours_changed(events, "weave")
        for table in ("weave-py-weave", "filter", "filter"):
            kernel.send(message(DELTABLE, table))
        assert ours_changed(events, "weave")
        assert not ours_changed(events, "weave")
