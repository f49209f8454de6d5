"""How is rtnetlink's client imported without all that comes with it, and what is changed of it?

`import pyroute2` runs its package's __init__, which imports every module there is: an SQL database
of interfaces, plan 9, IPVS … That takes each router 40 ms and 6 MiB for nothing. So the package
stands in for itself, empty, while the one module that we need is imported, and may be imported as
a whole by whoever wants it later.
"""

from __future__ import annotations

import errno
import importlib.machinery
import importlib.util
import os
import struct
import sys
import types
from typing import Any

_PACKAGE = "pyroute2"
_SEQUENCE_AT_8 = struct.Struct("=8xI")


def _import_iproute() -> Any:
    if _PACKAGE not in sys.modules and (spec := importlib.util.find_spec(_PACKAGE)) is not None:
        stand_in = types.ModuleType(_PACKAGE)
        stand_in.__spec__ = spec
        stand_in.__path__ = list(spec.submodule_search_locations or ())
        sys.modules[_PACKAGE] = stand_in
        try:
            return _import_linux()
        except ImportError:
            pass  # a version that is laid out otherwise
        finally:
            del sys.modules[_PACKAGE]
    return _import_linux()


def _import_linux() -> Any:
    from pyroute2.iproute.linux import IPRoute

    return IPRoute


_Base = _import_iproute()


class IPRoute(_Base):  # type: ignore[misc, valid-type]
    """pyroute2's, fit to live as long as a router does, and for one thread.

    Refusals are OSError, as those of every other socket. What comes in after its request is over
    (the acknowledgement behind the answer to a `get`, the rest of a list that nobody reads to its
    end) is dropped: pyroute2 would keep it for whoever reads messages of no request, which nobody
    does here, at a page of memory each.
    """

    def __init__(self) -> None:
        super().__init__()
        core = self.asyncore
        core.exception_factory = _as_oserror
        core.protocol.enqueue = _for_the_waiting(core.msg_queue)


def _as_oserror(error: Any, _: object) -> OSError:
    # A list that changed while it was read has no errno.
    code = error.code if error.code > 0 else errno.EINTR
    return OSError(code, os.strerror(code))


def _for_the_waiting(queue: Any) -> Any:
    """What puts a datagram where its request waits for it, or nowhere."""

    def enqueue(data: bytes, _: object) -> None:
        (sequence,) = _SEQUENCE_AT_8.unpack_from(data)
        if sequence and sequence in queue.queues:
            queue.put_nowait(sequence, data)

    return enqueue
