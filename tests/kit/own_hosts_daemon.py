"""A router's process that reads names from a file of its own instead of /etc/hosts.

As a command: `python -m tests.kit.own_hosts_daemon launch …`, the file named in `HOSTS_FILE`.
"""

from __future__ import annotations

import os
import sys

HOSTS_FILE = "TEST_HOSTS_FILE"
_BIND = 'mount --bind "$0" /etc/hosts && exec "$@"'

if __name__ == "__main__":
    # Each step replaces the one before: the process that was started is the router.
    router = [sys.executable, "-m", "weave_py", *sys.argv[1:]]
    os.execvp("unshare", ["unshare", "--mount", "sh", "-c", _BIND, os.environ[HOSTS_FILE], *router])
