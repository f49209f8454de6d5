"""May we make a lab here as we are; if not, how do we get there, or what must the user do?

Without root, everything a lab needs exists inside a user namespace of our own: the process is
started again under `unshare`, with a fresh tmpfs on /run (where `ip netns` keeps its names), and
when it ends the kernel removes all of it. Some machines refuse that, each in its own way.
"""

from __future__ import annotations

import os
import signal
import subprocess
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType

from weave_py.host.signals import ending
from weave_py.lab import commands
from weave_py.model.errors import HostError

LIFELINE = "WEAVE_PY_LAB_LIFELINE"
"""Names the file descriptor on which the process inside learns its id outside, and our end."""

TUN = "/dev/net/tun"
SYSCTLS = {
    "kernel.unprivileged_userns_clone": "0",
    "kernel.apparmor_restrict_unprivileged_userns": "1",
    "user.max_user_namespaces": "0",
}
"""Setting → the value that forbids us."""
_ALLOWING = {
    "kernel.unprivileged_userns_clone": "1",
    "kernel.apparmor_restrict_unprivileged_userns": "0",
    "user.max_user_namespaces": "10000",
}
_AS_ROOT = "run it as root (sudo ./scripts/demo)"

_CAP_NET_ADMIN, _CAP_SYS_ADMIN = 12, 21
_UNSHARE = ("unshare", "--user", "--map-root-user", "--net", "--mount", "--pid", "--fork")
_INSIDE = 'mount -t tmpfs tmpfs /run && exec "$@"'
_PROBE = "ip netns add probe && ip netns exec probe true && ip link add name probe type bridge"


@dataclass(frozen=True, slots=True)
class Refusal:
    """What was seen when this machine did not let us."""

    tun_error: str = ""
    sysctls: Mapping[str, str] = field(default_factory=dict)
    probe_error: str = ""


def missing_privilege() -> str | None:
    """Why this process, as it is, cannot make a lab; None if it can."""
    capabilities = _effective_capabilities()
    for bit, name in ((_CAP_NET_ADMIN, "CAP_NET_ADMIN"), (_CAP_SYS_ADMIN, "CAP_SYS_ADMIN")):
        if not capabilities >> bit & 1:
            return f"not root ({name} is missing)"
    error = _tun_error()
    return f"cannot open {TUN}: {error}" if error else None


def advice(refusal: Refusal) -> str | None:
    """The one line that says what to do; None if nothing was refused."""
    if refusal.tun_error == os.strerror(2):
        return f"{TUN} does not exist; run: sudo modprobe tun"
    if refusal.tun_error:
        return (
            f"cannot open {TUN}: {refusal.tun_error}; {_AS_ROOT}, "
            f"or let everybody use it: sudo chmod 0666 {TUN}"
        )
    if not refusal.probe_error:
        return None
    for name, forbidding in SYSCTLS.items():
        if refusal.sysctls.get(name) == forbidding:
            return (
                f"this machine lets only root create namespaces ({name} = {forbidding}); "
                f"{_AS_ROOT}, or allow it: sudo sysctl {name}={_ALLOWING[name]}"
            )
    return f"this machine refuses a user namespace ({refusal.probe_error}); {_AS_ROOT}"


def run_again(argv: Sequence[str], extra: Mapping[str, str] | None = None) -> int:
    """Run `argv` as root of a user namespace of its own; its exit status.

    HostError saying what to do where this machine does not allow that.
    """
    commands.require("unshare", "mount", "ip")
    inside, refusal = _look()
    problem = advice(refusal)
    if problem is not None:
        raise HostError(problem)
    reading, writing = os.pipe()
    process = subprocess.Popen(
        [*inside, *argv],
        pass_fds=[reading],
        env=commands.environment({LIFELINE: str(reading), **(extra or {})}),
    )
    os.close(reading)
    os.write(writing, f"{process.pid}\n".encode())
    return _outlive(process, writing)


def hold_lifeline() -> int | None:
    """Inside: be ended (SIGTERM) when the one who started us ends; its id for `nsenter`.

    None if we were not started by `run_again`.
    """
    named = os.environ.pop(LIFELINE, None)
    if named is None:
        return None
    lifeline = os.fdopen(int(named), "rb", buffering=0)
    outside = int(lifeline.readline())

    def wait_for_end() -> None:
        lifeline.read()
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=wait_for_end, daemon=True).start()
    return outside


def _outlive(process: subprocess.Popen[bytes], lifeline: int) -> int:
    """Wait for the process inside; when we are told to end, let go of the lifeline."""

    def let_go(number: int, frame: FrameType | None) -> None:
        nonlocal lifeline
        if lifeline >= 0:
            os.close(lifeline)
            lifeline = -1

    # `unshare` ignores signals while its child runs. Ctrl-C reaches the child by itself.
    ends = set(ending()) - {signal.SIGINT}
    before = {number: signal.signal(number, let_go) for number in ends}
    before[signal.SIGINT] = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        return process.wait()
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        let_go(0, None)


def _look() -> tuple[list[str], Refusal]:
    """The beginning of the command line that works best here, and what was refused."""
    error = _tun_error()
    if error:
        return [], Refusal(tun_error=error)
    problem = ""
    # In containers /proc is often half hidden, and a fresh one not allowed: do without it then.
    for proc in (["--mount-proc"], []):
        inside = [*_UNSHARE, *proc, "--kill-child", "sh", "-c", _INSIDE, "sh"]
        probe = commands.run([*inside, "sh", "-c", _PROBE], check=False)
        if probe.returncode == 0:
            return inside, Refusal()
        problem = problem or (probe.stderr.strip().splitlines() or ["no message"])[-1]
    return [], Refusal(sysctls=_sysctls(), probe_error=problem)


def _sysctls() -> dict[str, str]:
    found = {}
    for name in SYSCTLS:
        path = Path("/proc/sys", *name.split("."))
        if path.exists():
            found[name] = path.read_text().strip()
    return found


def _effective_capabilities() -> int:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("CapEff:"):
            return int(line.split()[1], 16)
    return 0


def _tun_error() -> str:
    try:
        os.close(os.open(TUN, os.O_RDWR | os.O_CLOEXEC))
    except OSError as error:
        return error.strerror or "refused"
    return ""
