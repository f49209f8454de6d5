"""How does a router fare on a host without nft? The command, where that program cannot be seen.

python -m tests.kit.without_nft launch …
"""

from __future__ import annotations

import os
import sys

# In a mount namespace of its own: nothing on the machine changes.
_HIDE = 'mount --bind /dev/null "$(command -v nft)" && exec "$@"'

if __name__ == "__main__":
    command = [sys.executable, "-m", "weave_py", *sys.argv[1:]]
    os.execvp("unshare", ["unshare", "--mount", "sh", "-c", _HIDE, "sh", *command])
