"""Where do a router's socket and claim lie while it runs, and can nobody else put theirs there?

In /run/weave-py, which is root's (or that of the user a router runs as): there is no option to
choose another, since two routers that look in two places do not see each other. Bridges live per
network namespace, and namespaces share /run, so names begin with the namespace's inode
(`stat -Lc %i /proc/self/ns/net`).
"""

from __future__ import annotations

import os
from pathlib import Path

from weave_py.host.refusal import checked_ifname
from weave_py.model.errors import HostError

RUN_DIRECTORY = Path("/run/weave-py")
MODE = 0o755
"""Of the directory: whomever a socket in it admits must get to it."""


def api_socket(bridge: str) -> str:
    """The path of the control API's socket of the router on `bridge`, in our namespace."""
    return str(_beginning(bridge)) + ".sock"


def claim_file(bridge: str) -> str:
    """The path of what that router locks."""
    return str(_beginning(bridge)) + ".claim"


def make_fit(directory: str) -> None:
    """Make a directory for our sockets and locks, or see that it is fit; HostError if others can
    change what lies there: they could put something of their own in the place of ours."""
    try:
        os.mkdir(directory, MODE)
        os.chmod(directory, MODE)  # (whatever the umask made of it)
    except FileExistsError:
        pass
    except OSError as error:
        raise HostError(f"cannot make {directory}: {error.strerror}: run as root (sudo)") from error
    found = os.stat(directory)
    if found.st_uid not in (0, os.geteuid()) or found.st_mode & 0o022:
        raise HostError(
            f"other users can change {directory}: choose a directory that only root can change, "
            f"like {RUN_DIRECTORY}"
        )


def _beginning(bridge: str) -> Path:
    namespace = os.stat("/proc/thread-self/ns/net").st_ino
    return RUN_DIRECTORY / f"{namespace}-{checked_ifname(bridge)}"
