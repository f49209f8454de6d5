"""How do we run `ip`, `nft` and friends, and say in one line what went wrong?"""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

import weave_py
from weave_py.model.errors import HostError

PACKAGES = {
    "ip": "iproute2",
    "mount": "mount",
    "nft": "nftables",
    "ping": "iputils-ping",
    "unshare": "util-linux",
}
"""Command → Debian package."""


def environment(extra: Mapping[str, str] | None = None) -> dict[str, str]:
    """Our environment, made fit for parsing output and for finding `ip`, `nft` and `weave_py`."""
    # Settings the user has for the router of this machine are not for the routers of a lab.
    found = {name: value for name, value in os.environ.items() if not name.startswith("WEAVE_")}
    # Debian leaves the sbin directories out of the PATH of ordinary users; nft lives there.
    found["PATH"] = ":".join([*found.get("PATH", "").split(":"), "/usr/sbin", "/sbin"])
    found["LC_ALL"] = "C"
    # A checkout that is not installed must work from any directory.
    root = str(Path(weave_py.__file__).parents[1])
    found["PYTHONPATH"] = ":".join([root, *filter(None, [found.get("PYTHONPATH")])])
    found.update(extra or {})
    return found


def require(*tools: str) -> None:
    """HostError that names the packages to install, if one of the commands is missing."""
    path = environment()["PATH"]
    missing = [tool for tool in tools if shutil.which(tool, path=path) is None]
    if missing:
        packages = " ".join(sorted({PACKAGES.get(tool, tool) for tool in missing}))
        raise HostError(f"{', '.join(missing)} not found; run: apt install {packages}")


def run(
    argv: Sequence[str],
    *,
    stdin: str | None = None,
    timeout: float = 30.0,
    check: bool = True,
    extra: Mapping[str, str] | None = None,
) -> subprocess.CompletedProcess[str]:
    """Run a command to its end, at most `timeout` seconds.

    HostError if it cannot be started, takes too long, or (with `check`) fails.
    """
    what = " ".join(argv[:6])
    try:
        done = subprocess.run(
            argv,
            input=stdin,
            stdin=subprocess.DEVNULL if stdin is None else None,
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
            env=environment(extra),
        )
    except subprocess.TimeoutExpired:
        raise HostError(f"`{what}` did not end within {timeout:g} s") from None
    except OSError as error:
        raise HostError(f"`{what}` cannot be started: {error.strerror}") from None
    if check and done.returncode != 0:
        lines = (done.stderr.strip() or done.stdout.strip() or "no message").splitlines()
        raise HostError(f"`{what}` failed ({done.returncode}): {lines[0]}")
    return done
