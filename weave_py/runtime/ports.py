"""What belongs to a peer on the packet road? Its TAP, and where its frames go."""

from __future__ import annotations

from weave_py.host.tap import Tap
from weave_py.link.hints import Hints
from weave_py.link.outlet import Outlet
from weave_py.link.reassembly import Reassembly
from weave_py.link.sealing import Opener
from weave_py.link.standing import EMPTINESS_INTERVAL, Standing


class Port:
    """A peer's port of the bridge: frames written to `fd` come from the peer, frames read from
    it go there. `fd` is −1 while there is no TAP (yet)."""

    __slots__ = ("fd", "hints", "outlet", "standing", "tap")

    def __init__(self, outlet: Outlet) -> None:
        self.outlet = outlet
        self.tap: Tap | None = None
        self.fd = -1
        self.standing = Standing(EMPTINESS_INTERVAL)
        self.hints = Hints()

    def plug(self, tap: Tap) -> None:
        self.tap = tap
        self.fd = tap.fd

    def unplug(self) -> None:
        if self.tap is not None:
            self.tap.close()
        self.tap = None
        self.fd = -1


class Inlet:
    """One session index of ours: whose records come under it, and how they open."""

    __slots__ = ("index", "more", "more_counter", "opener", "port", "reassembly", "source")

    def __init__(self, index: int, port: Port, opener: Opener) -> None:
        self.index = index
        self.port = port
        self.opener = opener
        self.reassembly = Reassembly()
        self.more = bytearray()
        """Plaintext of records that said there is MORE, up to the one before `more_counter`."""
        self.more_counter = -1
        self.source: tuple[str, int] | None = None
        """Where the last data record came straight from."""
