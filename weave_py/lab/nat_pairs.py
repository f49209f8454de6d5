"""Which path do two hosts behind NATs and firewalls find, how soon, and was that to be expected?"""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

from weave_py.lab.hosts import Host, LaunchOptions
from weave_py.lab.internet import PUBLIC, PUBLIC_ADDRESS, Internet, pair_of
from weave_py.lab.mesh import LabMesh, overlay_address
from weave_py.lab.nats import Kind
from weave_py.lab.pings import ping
from weave_py.model.errors import HostError

ONE, OTHER = "h2", "h3"
WITHOUT_UDP = frozenset({Kind.NO_UDP, Kind.TCP_OUT})
ANSWERS_TCP = frozenset({Kind.OPEN, Kind.NO_UDP})
# Who lets in only what comes from exactly where something was sent to.
STRICT = frozenset(
    {Kind.PORT_RESTRICTED, Kind.FIREWALL, Kind.DOUBLE, Kind.SYMMETRIC, Kind.MASQUERADE}
)
FIND_SECONDS = 15.0
STAY_SECONDS = 2.0
POLL_SECONDS = 0.05


class Kinds(NamedTuple):
    """Kinds of path, from each host to the other."""

    there: str
    back: str

    @property
    def text(self) -> str:
        return self.there if self.there == self.back else f"{self.there}/{self.back}"

    @property
    def by_sleeve(self) -> Kinds:
        """Without the kernel's help. (What it may carry is its own affair: docs/fastdp.md.)"""
        return Kinds(*("direct" if kind == "fastdp" else kind for kind in self))


@dataclass(frozen=True, slots=True)
class Finding:
    """What two hosts behind `one` and `other` found."""

    one: Kind
    other: Kind
    kinds: Kinds
    seconds: float
    """From when both had joined the mesh until both used that path."""
    reasons: tuple[str, str]
    answered: int
    """Of three pings between containers."""

    @property
    def is_expected(self) -> bool:
        return self.kinds.by_sleeve == expected(self.one, self.other) and self.answered == 3


def expected(one: Kind, other: Kind) -> Kinds:
    """The best path there can be, by the rules of the NATs and firewalls."""
    blocked = [kind in WITHOUT_UDP for kind in (one, other)]
    if any(blocked):
        # Who has UDP goes by it to the public host, unless there is a connection between the two.
        connected = one in ANSWERS_TCP or other in ANSWERS_TCP
        there, back = ("tcp" if is_blocked or connected else "relay" for is_blocked in blocked)
        return Kinds(there, back)
    pairs = ((one, other), (other, one))
    if any(a is Kind.SYMMETRIC and b in STRICT for a, b in pairs):
        return Kinds("relay", "relay")
    return Kinds("direct", "direct")


@contextmanager
def started(
    one: Kind, other: Kind, directory: Path, fastdp: bool = False
) -> Iterator[tuple[Internet, LabMesh]]:
    """A public host and two behind these, with routers that have just started. With `fastdp` it
    is an open network, in which the kernel may carry the frames where it can."""
    options = LaunchOptions(password=None if fastdp else "through every wall", fastdp=fastdp)
    with pair_of(one, other) as internet, LabMesh(internet, directory, options) as mesh:
        mesh[PUBLIC].launch([])
        mesh[PUBLIC].wait_ready()
        for name in (ONE, OTHER):
            mesh[name].launch([PUBLIC_ADDRESS])
        mesh.wait_ready()
        yield internet, mesh


def find(one: Kind, other: Kind, mesh: LabMesh) -> Finding:
    """Wait for the path to be expected (or for long enough), and see whether frames take it."""
    wanted = expected(one, other)
    seconds = wait_for(mesh, wanted)
    if wanted != Kinds("direct", "direct") or mesh[ONE].options.fastdp:
        time.sleep(STAY_SECONDS)  # is there a better one after all?
    found, reasons = _paths(mesh)
    for name in (ONE, OTHER):
        mesh.attach_one(mesh[name])
    result = ping(mesh.lab, "c2", overlay_address("c3"), count=3)
    return Finding(one, other, found, seconds, reasons, result.received)


def wait_for(mesh: LabMesh, wanted: Kinds) -> float:
    """Seconds from when both have a connection with the public host until both paths are so."""
    deadline = time.monotonic() + FIND_SECONDS
    while _paths(mesh)[0].by_sleeve != wanted and time.monotonic() < deadline:
        time.sleep(POLL_SECONDS)
    joined = max(_connected_at(mesh[name]) for name in (ONE, OTHER))
    return (datetime.now(UTC) - joined).total_seconds()


def _paths(mesh: LabMesh) -> tuple[Kinds, tuple[str, str]]:
    """Kinds, and the reasons for them."""
    ways = [_path(mesh[ONE], OTHER), _path(mesh[OTHER], ONE)]
    return Kinds(ways[0][0], ways[1][0]), (ways[0][1], ways[1][1])


def _path(host: Host, nickname: str) -> tuple[str, str]:
    for path in host.report()["Router"]["Paths"]:
        if path["NickName"] == nickname:
            return path["Kind"], path["Why"]
    return "none", "unknown peer"


def _connected_at(host: Host) -> datetime:
    lines = host.log_path.read_text(errors="replace")
    found = re.search(r"(\S+Z) connection established", lines)
    if found is None:
        raise HostError(f"{host.name}: never connected with the public host")
    return datetime.fromisoformat(found[1])
