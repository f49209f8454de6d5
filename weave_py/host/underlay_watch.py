"""When do this host's addresses, routes or devices change? The kernel says so on a netlink socket
(RFC 3549)."""

from __future__ import annotations

import socket
from types import TracebackType
from typing import Self

from weave_py.host.refusal import doing
from weave_py.host.rtnl import open_netlink

# linux/rtnetlink.h: RTMGRP_LINK; RTMGRP_IPV4_IFADDR, RTMGRP_IPV6_IFADDR; …_ROUTE of both
GROUPS = 0x1 | 0x10 | 0x100 | 0x40 | 0x400


class UnderlayWatch:
    """Readable whenever one came, went or changed: `drain`, then look. A context manager."""

    PROTOCOL = socket.NETLINK_ROUTE
    GROUPS = GROUPS
    WHAT = "this host's addresses and routes"

    def __init__(self) -> None:
        """HostError if the kernel refuses."""
        with doing(f"cannot watch {self.WHAT}"):
            self.sock = open_netlink(self.PROTOCOL, groups=self.GROUPS)
            self.sock.setblocking(False)

    def drain(self) -> bool:
        """Forget what has been said so far; what it was does not matter. Whether anything was."""
        said = False
        while True:
            try:
                self.sock.recv(65_536)
            except BlockingIOError:
                return said
            except OSError:
                pass  # more than the socket could hold: as good as any message
            said = True

    def close(self) -> None:
        self.sock.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()
