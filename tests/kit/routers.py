"""What do the routers of a lab say about themselves, put so that tests read well?"""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

from tests.kit.waiting import until
from weave_py.lab.hosts import Host, LaunchOptions
from weave_py.lab.mesh import LabMesh
from weave_py.lab.namespaces import Lab
from weave_py.lab.topology import build

BRIDGE = "weave"
SLEEVE_PORT = 6783
REACHABLE_SECONDS = 30.0


@contextmanager
def started(
    kind: str,
    hosts: int,
    directory: Path,
    options: LaunchOptions | None = None,
    *,
    mtu: int = 1500,
    ipv6: bool = False,
    offload: bool = True,
) -> Iterator[LabMesh]:
    """A lab whose routers run, each with its container attached, all of them reaching all."""
    lab = Lab(build(kind, hosts), mtu=mtu, ipv6=ipv6, offload=offload)
    with lab, LabMesh(lab, directory, options) as mesh:
        mesh.launch()
        bring_up(mesh)
        yield mesh


def bring_up(mesh: LabMesh) -> None:
    """Wait for the routers, attach the containers, wait until each has reached each."""
    mesh.wait_ready()
    mesh.attach()
    mesh.wait_reachable(REACHABLE_SECONDS)


def paths(host: Host) -> dict[str, Any]:
    """The report's paths by nickname of their peer."""
    return {path["NickName"]: path for path in host.report()["Router"]["Paths"]}


def path_kind(host: Host, nickname: str) -> str:
    """`direct`, `relay`, …; `none` also for a peer that is not known (any more)."""
    path = paths(host).get(nickname)
    return "none" if path is None else str(path["Kind"])


def wait_path(host: Host, nickname: str, kind: str, seconds: float = 10.0) -> None:
    """Until frames to that peer take a path of this kind."""
    what = f"{host.name}'s path to {nickname} is {kind}"
    until(lambda: path_kind(host, nickname) == kind, seconds, what)


def via(host: Host, nickname: str) -> str | None:
    """Nickname of the relay on the way to a peer; None if there is no relay."""
    router = host.report()["Router"]
    nicknames = {peer["Name"]: peer["NickName"] for peer in router["Peers"]}
    ways = [path["Via"] for path in router["Paths"] if path["NickName"] == nickname]
    return nicknames.get(ways[0]) if ways else None


def established(host: Host) -> list[str]:
    """Nicknames at the other ends of established connections, sorted."""
    return sorted(
        connection["Info"].rpartition("(")[2].removesuffix(")")
        for connection in host.report()["Router"]["Connections"]
        if connection["State"] == "established"
    )


def wait_established(host: Host, nicknames: Iterable[str], seconds: float = 15.0) -> None:
    """Until the host has established connections with exactly these."""
    wanted = sorted(nicknames)
    until(lambda: established(host) == wanted, seconds, f"{host.name} connected with {wanted}")


def devices(lab: Lab, name: str) -> set[str]:
    """Names of the network devices in a host or container."""
    shown = json.loads(lab.exec(name, ["ip", "-j", "link", "show"]).stdout or "[]")
    return {device["ifname"] for device in shown}


def our_devices(lab: Lab, name: str) -> set[str]:
    """Those that a router or `attach` makes."""
    return {
        device
        for device in devices(lab, name)
        if device == BRIDGE or device.startswith(("wvt", "wvx", "vethwe", "ethwe"))
    }


class Event(NamedTuple):
    """A line of a router's log."""

    level: str
    at: datetime
    text: str


def events(host: Host, text: str) -> list[Event]:
    """The events in the host's log whose message or particulars hold `text`, in order."""
    found = []
    for line in host.log_path.read_text(errors="replace").splitlines():
        words = re.match(r"([A-Z]+) (\S+Z) (.*)", line)
        if words and text in words[3]:
            found.append(Event(words[1], datetime.fromisoformat(words[2]), words[3]))
    return found


def now() -> datetime:
    """On the clock of the logs (which shows milliseconds, cut off)."""
    moment = datetime.now(UTC)
    return moment.replace(microsecond=moment.microsecond // 1000 * 1000)


def the_line(done: subprocess.CompletedProcess[str], status: int) -> str:
    """The one line with which a command refused, without the command's name."""
    assert done.returncode == status, (done.returncode, done.stderr)
    assert done.stdout == ""
    assert done.stderr.startswith("weave-py: "), done.stderr
    assert done.stderr.count("\n") == 1, done.stderr
    assert done.stderr.endswith("\n")
    return done.stderr.removeprefix("weave-py: ").rstrip()
