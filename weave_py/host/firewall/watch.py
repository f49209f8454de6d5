"""When do this host's nftables change? The kernel says so on a netlink socket."""

from __future__ import annotations

from typing import Final

from weave_py.host.underlay_watch import UnderlayWatch

_NETLINK_NETFILTER: Final = 12  # linux/netlink.h (socket has no name for it)


class RulesWatch(UnderlayWatch):
    """Readable whenever somebody has changed them: `drain`, then look. A context manager."""

    PROTOCOL = _NETLINK_NETFILTER
    GROUPS = 1 << 7 - 1  # linux/netfilter/nfnetlink.h: NFNLGRP_NFTABLES is group 7
    WHAT = "the host's firewall"
