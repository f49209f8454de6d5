"""Through what is every tunnel put? TCP by iperf3, round trips by ping, the first ping."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

from scripts.benchmarks import first_ping
from scripts.benchmarks.field import Field, Tunnel
from scripts.benchmarks.meters import Meter, Usage
from scripts.benchmarks.ping_pong import percentile
from weave_py.lab import commands
from weave_py.model.errors import HostError

Figures = dict[str, Any]
"""What a measurement found, by name; None where there was nothing to find."""

TOOLS = ("ethtool", "ip", "iperf3", "nft", "ping")
START_SECONDS = 20.0
IPERF_PORT = "5201"
CONGESTION = "cubic"
GIB = 2**30
_TIME = re.compile(r" time=([\d.]+) ms")


def require_tools() -> None:
    """HostError naming the packages to install, if something is missing."""
    commands.require(*TOOLS)


def start_ms(field: Field, tunnel: Tunnel) -> float:
    """Milliseconds from starting the tunnel to its first answered ping."""
    script = [sys.executable, "-I", "-S", first_ping.__file__]
    argv = [*script, tunnel.address, str(START_SECONDS)]
    done = field.lab.exec(tunnel.source, argv, check=False, timeout=START_SECONDS + 10)
    if done.returncode != 0:
        problem = done.stderr.strip().splitlines()
        raise HostError(f"no ping was answered in {START_SECONDS:g} s {' '.join(problem[-1:])}")
    return (float(done.stdout) - tunnel.started_at) * 1e3


def tcp(
    field: Field, tunnel: Tunnel, seconds: float, *, flows: int = 1, pids: Sequence[int] = ()
) -> Figures:
    """TCP from source to target through iperf3: Mbit/s received, and CPU seconds per GiB.

    `pids` are the processes to charge; by default all of the tunnel's.
    """
    charged = pids or tunnel.pids
    found, usage = iperf(field, tunnel, seconds, charged, "-P", str(flows), "-C", CONGESTION)
    gib = found["sum_received"]["bytes"] / GIB
    if gib == 0:
        raise HostError("iperf3: nothing arrived")
    return {
        "mbit": found["sum_received"]["bits_per_second"] / 1e6,
        "retransmits": found["sum_sent"].get("retransmits"),
        "cpu_tunnel_per_gib": usage.tunnel / gib if charged else None,
        "cpu_machine_per_gib": usage.machine / gib,
        "foreign": usage.foreign,
    }


def round_trips(
    field: Field, source: str, address: str, seconds: float, *, every: float = 0.01
) -> Figures:
    """Microseconds, p50 and p99, of a ping each `every` seconds; and the share that was lost."""
    count = max(10, round(seconds / every))
    words = f"ping -n -c {count} -i {every:g} -W 1 {address}"
    done = field.lab.exec(source, words.split(), check=False, timeout=3 * seconds + 15)
    times = sorted(float(match) * 1e3 for match in _TIME.findall(done.stdout))
    if not times:
        raise HostError(f"no ping of {count} was answered")
    return {
        "p50_us": percentile(times, 50),
        "p99_us": percentile(times, 99),
        "max_us": times[-1],
        "lost": 1 - len(times) / count,
        "pings": count,
    }


def round_trips_loaded(field: Field, tunnel: Tunnel, seconds: float) -> Figures:
    """Round trips while one TCP stream takes all it can get, the same way."""
    ramp = min(0.5, seconds / 4)
    with ThreadPoolExecutor(max_workers=1) as pool:
        job = pool.submit(tcp, field, tunnel, seconds + 2 * ramp)
        time.sleep(ramp)
        found = round_trips(field, tunnel.source, tunnel.address, seconds)
        load = job.result()
    return {**found, "mbit": load["mbit"], "foreign": load["foreign"]}


def iperf(
    field: Field, tunnel: Tunnel, seconds: float, pids: Sequence[int], *words: str
) -> tuple[Any, Usage]:
    """One run of iperf3, at least a second: the `end` of its JSON, and what `pids` used."""
    length = str(max(1, round(seconds)))  # it would cut the fraction off
    argv = ["iperf3", "-c", tunnel.address, "-p", IPERF_PORT, "-t", length, "-i", "0", "-J"]
    with listening(field, tunnel.target, ["iperf3", "-s", "-1", "-p", IPERF_PORT], IPERF_PORT):
        meter = Meter(pids)
        done = field.lab.exec(tunnel.source, [*argv, *words], check=False, timeout=seconds + 30)
        usage = meter.read()
    return _iperf_result(done), usage


@contextmanager
def listening(
    field: Field, name: str, argv: Sequence[str], port: str, *, protocol: str = "tcp"
) -> Iterator[None]:
    """A server that has its port; killed at the end."""
    server = field.lab.popen(name, argv)
    look = ["ss", "-Hln", f"--{protocol}"]
    try:
        deadline = time.monotonic() + 5
        while f":{port} " not in field.lab.exec(name, look).stdout:
            if server.poll() is not None or time.monotonic() > deadline:
                raise HostError(f"the server of {argv[0]} does not start")
            time.sleep(0.01)
        yield
    finally:
        server.kill()
        server.wait()


def _iperf_result(done: subprocess.CompletedProcess[str]) -> Any:
    """The `end` of iperf3's JSON; HostError with its words when it failed."""
    try:
        document = json.loads(done.stdout)
    except ValueError:
        raise HostError(f"iperf3 failed: {done.stderr.strip()[:200] or 'no output'}") from None
    if "error" in document:
        raise HostError(f"iperf3: {document['error']}")
    return document["end"]
