"""How do two routers avoid working on the same bridge?

The claim is an abstract unix socket: such names live per network namespace, as bridges do, and the
kernel frees them when the process ends, however it ends.
"""

from __future__ import annotations

import errno
import socket
from collections.abc import Iterator
from contextlib import contextmanager

from weave_py.host.refusal import checked_ifname, refused
from weave_py.model.errors import HostError
from weave_py.model.marks import claim_name


@contextmanager
def claim_bridge(bridge: str) -> Iterator[None]:
    """Hold `bridge` for this process while the context lasts; HostError when it is held already."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as claim:
        try:
            claim.bind(b"\0" + claim_name(checked_ifname(bridge)).encode())
        except OSError as error:
            if error.errno == errno.EADDRINUSE:
                raise HostError(
                    f"another weave-py router runs on bridge {bridge}: "
                    f"stop it with 'weave-py stop', or give this one another --bridge"
                ) from None
            raise refused(f"cannot claim bridge {bridge}", error.errno) from None
        yield


def is_claimed(bridge: str) -> bool:
    """Whether a router works on `bridge`. Needs no rights, disturbs nobody; False if it cannot
    be found out."""
    entry = f" @{claim_name(bridge)}\n"
    try:
        with open("/proc/thread-self/net/unix", errors="replace") as table:
            return any(line.endswith(entry) for line in table)
    except OSError:
        return False
