"""Did somebody change our nft rules? What the kernel tells whoever listens.

`nft flush ruleset`, as many firewalls begin, takes them away. The socket is for a trio task; other
tables may change a thousand times a second, so nothing is read of a message but whose it is
(linux/netfilter/nf_tables.h: the first attribute of every kind is its table's name).
"""

from __future__ import annotations

import socket
from typing import Final

from weave_py.host.firewall.tables import table_of
from weave_py.host.refusal import refused
from weave_py.host.rtnl import attributes, messages, text

_NETLINK_NETFILTER: Final = 12  # linux/netlink.h
_SOL_NETLINK, _ADD_MEMBERSHIP = 270, 1
_GROUP_NFTABLES: Final = 7  # linux/netfilter/nfnetlink.h: NFNLGRP_NFTABLES
_SUBSYSTEM: Final = 10  # NFNL_SUBSYS_NFTABLES
_NFGENMSG_BYTES: Final = 4
_TABLE_NAME: Final = 1  # NFTA_TABLE_NAME, NFTA_CHAIN_TABLE, NFTA_RULE_TABLE …
_RECEIVE_BUFFER = 1 << 18
_RECEIVE_BYTES = 1 << 16
_MOST_AT_ONCE: Final = 100  # datagrams; what is left is read at the next call


def open_events() -> socket.socket:
    """A non-blocking socket that tells of changes in this thread's network namespace.

    HostError when the kernel refuses.
    """
    try:
        sock = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, _NETLINK_NETFILTER)
        try:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _RECEIVE_BUFFER)
            sock.bind((0, 0))
            sock.setsockopt(_SOL_NETLINK, _ADD_MEMBERSHIP, _GROUP_NFTABLES)
            sock.setblocking(False)
        except BaseException:
            sock.close()
            raise
    except OSError as error:
        raise refused("cannot listen to nftables by netlink", error.errno) from None
    return sock


def ours_changed(events: socket.socket, bridge: str) -> bool:
    """Whether this bridge's table is among what was changed since the last call (or may be)."""
    changed = False
    for _ in range(_MOST_AT_ONCE):
        try:
            data = events.recv(_RECEIVE_BYTES)
        except BlockingIOError:
            break
        except OSError:  # more than the socket holds: something has been missed
            changed = True
            continue
        changed = changed or concerns(data, bridge)
    return changed


def concerns(data: bytes, bridge: str) -> bool:
    """Whether what was received is about this bridge's table. Never raises."""
    table = table_of(bridge)
    return any(
        kind >> 8 == _SUBSYSTEM
        and text(attributes(payload, _NFGENMSG_BYTES).get(_TABLE_NAME)) == table
        for kind, _, _, payload in messages(data)
    )
