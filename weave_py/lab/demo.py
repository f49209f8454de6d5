"""What does a mesh look like? Brings one up on this machine, shows it, leaves nothing behind."""

from __future__ import annotations

import os
import secrets
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from types import FrameType
from typing import NoReturn

from weave_py.host.signals import ending
from weave_py.lab import commands, unprivileged
from weave_py.lab.hosts import LaunchOptions
from weave_py.lab.mesh import LabMesh
from weave_py.lab.namespaces import SWITCH, Lab
from weave_py.lab.pings import PingResult, matrix, ping_pairs
from weave_py.lab.profiles import PROFILES, opened, profile_of
from weave_py.lab.topology import build
from weave_py.model.errors import HostError, WeaveError

REACHABLE_SECONDS = 60.0
REACHABLE_SECONDS_EACH = 3.0
"""More for each host: they share the cores of one machine."""
_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def run_demo(
    hosts: int,
    topology: str,
    once: bool,
    password: str | None,
    keep_logs: bool,
    profile: str = PROFILES[0].name,
) -> int:
    """Show a mesh of `hosts` routers until Ctrl-C, or (`once`) end by itself. What else there is on
    the hosts, the `profile` says (lab.profiles).

    Without a `password` one is made up: the network of the demo is always encrypted. The result
    is an exit status: 0 if every container reached every other one, else 1.
    """
    try:
        build(topology, hosts)  # is there such a thing?
        kind = profile_of(profile)
        if unprivileged.missing_privilege() is not None:
            return _run_unprivileged(hosts, topology, once, password, keep_logs, profile)
        return _run(opened(kind, topology, hosts), once, password, keep_logs)
    except WeaveError as error:
        print(f"weave-py demo: {error}", file=sys.stderr)
        return 1


def _run_unprivileged(
    hosts: int, topology: str, once: bool, password: str | None, keep_logs: bool, profile: str
) -> int:
    argv = [sys.executable, "-m", "weave_py.lab", "--hosts", str(hosts), "--topology", topology]
    argv += ["--profile", profile] * (profile != PROFILES[0].name)
    argv += ["--once"] * once + ["--keep-logs"] * keep_logs
    extra = {} if password is None else {"WEAVE_PASSWORD": password}
    if not keep_logs:
        # On the tmpfs that goes away with the namespace, whatever happens.
        extra["TMPDIR"] = "/run"
    return unprivileged.run_again(argv, extra)


def _run(
    building: AbstractContextManager[Lab], once: bool, password: str | None, keep_logs: bool
) -> int:
    commands.require("ip", "ping")
    outside = unprivileged.hold_lifeline()
    said = _Progress()
    with _interruptible(), _directory(keep_logs) as directory:
        try:
            Lab.clean_stale()
            options = LaunchOptions(password=password or secrets.token_urlsafe(18))
            with building as lab, LabMesh(lab, directory, options) as mesh, _uninterrupted():
                _bring_up(mesh, said)
                _show(mesh)
                if not once:
                    print(_hints(lab, outside), flush=True)
                    _wait_for_the_end(mesh)
        except KeyboardInterrupt:
            interrupted = not said.complete
            said("interrupted" if interrupted else "ending")
        said("all gone")
    return 0 if said.complete else 1


class _Progress:
    """Prints what happened and when (seconds since the start)."""

    def __init__(self) -> None:
        self._start = time.monotonic()
        self.complete = False
        """Whether every container has reached every other one."""

    def __call__(self, text: str) -> None:
        print(f"{time.monotonic() - self._start:5.1f} s  {text}", flush=True)


def _bring_up(mesh: LabMesh, said: _Progress) -> None:
    try:
        _bring_up_or_fail(mesh, said)
    except HostError:
        said("that did not work; what the routers say:")
        _show_status(mesh, "connections")
        for name, host in mesh.hosts.items():
            print(f"\n{name}: the log ends\n\n{_indented(host.log_tail(20))}")
        raise


def _bring_up_or_fail(mesh: LabMesh, said: _Progress) -> None:
    lab = mesh.lab
    said(f"{len(mesh.hosts)} hosts, {lab.drawing()}")
    mesh.launch()
    said("a router started in each")
    mesh.wait_ready()
    said("the routers answer")
    patience = REACHABLE_SECONDS + REACHABLE_SECONDS_EACH * len(mesh.hosts)
    mesh.wait_known(patience)
    said("every router knows every other one")
    mesh.attach()
    said("containers: " + ", ".join(f"{name} {at}" for name, at in mesh.addresses.items()))

    def first(pair: tuple[str, str], result: PingResult) -> None:
        said(f"first ping: {pair[0]} to {pair[1]}, {result.text}")

    mesh.wait_reachable(patience, first)
    said("every container reaches every other one")
    said.complete = True


def _show(mesh: LabMesh) -> None:
    results = ping_pairs(mesh.lab, mesh.addresses, count=3)
    print(f"\nround trips between the containers\n\n{_indented(matrix(results))}")
    _show_status(mesh, "connections")
    _show_status(mesh, "paths")
    print(flush=True)


def _show_status(mesh: LabMesh, what: str) -> None:
    for name, host in mesh.hosts.items():
        shown = host.cli("status", what, check=False)
        print(f"\n{name}: weave-py status {what}\n")
        print(_indented(shown.stdout.rstrip() or shown.stderr.rstrip() or "(nothing)"))


def _hints(lab: Lab, outside: int | None) -> str:
    if outside is not None:
        enter = f"nsenter -t {outside} -U -n -m --preserve-credentials "
    else:
        enter = "sudo " if "SUDO_UID" in os.environ else ""
    weave = f"{sys.executable} -m weave_py"
    first, second, last = lab.topology.hosts[0], lab.topology.hosts[1], lab.topology.hosts[-1]
    rows = [
        ("a ping between containers", f"ip netns exec {lab.ns('c1')} ping 10.32.0.{last[1:]}"),
        ("what a router says", f"ip netns exec {lab.ns(first)} {weave} status"),
    ]
    if lab.topology.direct(first, second):
        port = lab.topology.switch_port(first, lab.topology.wire_between(first, second))
        pull = f"ip -n {lab.ns(SWITCH)} link set {port}"
        rows += [
            (f"pull the cable {first} – {second}", f"{pull} down"),
            ("put it back", f"{pull} up"),
        ]
    lines = [f"{what}:\n    {enter}{how}" for what, how in rows]
    return "\n".join(["To explore, in another terminal:", *lines, "Ctrl-C ends the demo."])


def _wait_for_the_end(mesh: LabMesh) -> NoReturn:
    """Until a signal; says so if a router ends meanwhile."""
    dead: set[str] = set()
    while True:
        time.sleep(0.5)
        for name, host in mesh.hosts.items():
            if not host.running and name not in dead:
                dead.add(name)
                print(f"the router of {name} ended; its log ends: {host.log_end()}", flush=True)


@contextmanager
def _interruptible() -> Iterator[None]:
    """Ctrl-C, SIGTERM and a closed terminal all raise KeyboardInterrupt in here, but for what
    we were started to outlive."""

    def interrupt(number: int, frame: FrameType | None) -> NoReturn:
        raise KeyboardInterrupt

    before = {number: signal.signal(number, interrupt) for number in ending()}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def _uninterrupted() -> Iterator[None]:
    """When this ends, however it does, further signals are ignored: taking down must finish."""
    try:
        yield
    finally:
        for number in _SIGNALS:
            signal.signal(number, signal.SIG_IGN)


@contextmanager
def _directory(keep: bool) -> Iterator[Path]:
    """Where states and logs go; removed at the end unless the user wants to read them."""
    path = Path(tempfile.mkdtemp(prefix="weave-py-demo-"))
    try:
        yield path
    finally:
        if keep:
            print(f"logs are in {path}", flush=True)
        else:
            shutil.rmtree(path, ignore_errors=True)


def _indented(text: str) -> str:
    return "\n".join(f"  {line}".rstrip() for line in text.splitlines())
