"""How is pyroute2 used without all that comes with it?

It is for what is done when somebody attaches a container, in many forms and seldom. No router
imports it: that took each 7 MiB and 80 ms. And `import pyroute2` runs its package's __init__,
which imports every module there is: an SQL database of interfaces, plan 9, IPVS … another 40 ms
and 6 MiB. So the package stands in for itself, empty, while the one module that we need is
imported, and may be imported as a whole by whoever wants it later.
"""

from __future__ import annotations

import importlib.machinery
import importlib.util
import os
import sys
import types
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

_PACKAGE = "pyroute2"


@contextmanager
def iproute() -> Iterator[Any]:
    """pyroute2's synchronous `IPRoute`, in the network namespace of the calling thread. What the
    kernel refuses is an OSError."""
    route, netlink_error = _import_iproute()
    with route() as ip:
        try:
            yield ip
        except netlink_error as error:
            raise OSError(error.code, os.strerror(error.code)) from None


def _import_iproute() -> tuple[Any, Any]:
    if _PACKAGE not in sys.modules and (spec := importlib.util.find_spec(_PACKAGE)) is not None:
        stand_in = types.ModuleType(_PACKAGE)
        stand_in.__spec__ = spec
        stand_in.__path__ = list(spec.submodule_search_locations or ())
        sys.modules[_PACKAGE] = stand_in
        try:
            return _import_parts()
        except ImportError:
            pass  # a version that is laid out otherwise
        finally:
            del sys.modules[_PACKAGE]
    return _import_parts()


def _import_parts() -> tuple[Any, Any]:
    from pyroute2.iproute.linux import IPRoute
    from pyroute2.netlink.exceptions import NetlinkError

    return IPRoute, NetlinkError
