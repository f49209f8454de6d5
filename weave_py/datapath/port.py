"""What belongs to a peer on the data plane? Its TAP, and where its frames go."""

from __future__ import annotations

from weave_py.datapath.codel import EMPTINESS_INTERVAL, CoDel
from weave_py.datapath.flow_drop import FlowDrop
from weave_py.datapath.reassembly import PiecePool, Reassembly
from weave_py.host.tap import Tap
from weave_py.link.egress import Egress
from weave_py.link.sealing import Opener


class Port:
    """A peer's port of the bridge: frames written to `fd` come from the peer, frames read from
    it go there. `fd` is −1 while there is no TAP (yet)."""

    __slots__ = ("egress", "fd", "hints", "standing", "tap")

    def __init__(self, egress: Egress) -> None:
        self.egress = egress
        self.tap: Tap | None = None
        self.fd = -1
        self.standing = CoDel(EMPTINESS_INTERVAL)
        self.hints = FlowDrop()

    def plug(self, tap: Tap) -> None:
        self.tap = tap
        self.fd = tap.fd

    def unplug(self) -> None:
        if self.tap is not None:
            self.tap.close()
        self.tap = None
        self.fd = -1


class IngressSession:
    """One session index of ours: whose records come under it, and how they open."""

    __slots__ = ("index", "more", "more_counter", "opener", "port", "reassembly", "source")

    def __init__(self, index: int, port: Port, opener: Opener, pool: PiecePool) -> None:
        """`pool`: where incomplete records of all sessions are kept."""
        self.index = index
        self.port = port
        self.opener = opener
        self.reassembly = Reassembly(pool)
        self.more = bytearray()
        """Plaintext of records that said there is MORE, up to the one before `more_counter`."""
        self.more_counter = -1
        self.source: tuple[str, int] | None = None
        """Where the last data record came straight from."""
