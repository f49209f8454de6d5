"""How does a router fare on a kernel without VXLAN? The command, on a kernel made to look so.

python -m tests.kit.without_vxlan launch …
"""

from __future__ import annotations

import errno
import os
import sys
from typing import Any

from fastdp.kernel import vxlan
from weave_py.__main__ import main


def _refuse(*_: Any) -> int:
    """As rtnetlink does for a kind of device that it does not know."""
    raise OSError(errno.EOPNOTSUPP, os.strerror(errno.EOPNOTSUPP))


if __name__ == "__main__":
    setattr(vxlan, "create", _refuse)  # noqa: B010 - to mypy another function is another type
    sys.exit(main())
