"""How many small packets a second pass, and how fast does one go there and back?"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from scripts.benchmarks import ping_pong
from scripts.benchmarks.field import Field, Tunnel
from scripts.benchmarks.measures import Figures, iperf, listening
from scripts.benchmarks.meters import Meter
from weave_py.model.errors import HostError

PAYLOAD_BYTES = 64
SOCKET_BYTES = 2 << 20
"""A receiver that is a little late must not count as loss of the tunnel."""
PING_PONG_PORT = 5202
_LIMITS = ("/proc/sys/net/core/rmem_max", "/proc/sys/net/core/wmem_max")


def packet_rate(field: Field, tunnel: Tunnel, seconds: float) -> Figures:
    """64-byte UDP packets a second that arrive when iperf3 sends as many as it can."""
    words = ["-u", "-b", "0", "-l", str(PAYLOAD_BYTES), "-w", str(_socket_bytes())]
    end, usage = iperf(field, tunnel, seconds, tunnel.pids, *words)
    return {**rate_of(end), "foreign": usage.foreign}


def rate_of(end: Any) -> Figures:
    """Packets a second, sent and received, out of the `end` of iperf3's JSON."""
    sent, received = end["sum_sent"], end["sum_received"]
    if not received["bytes"]:
        raise HostError("iperf3: no packet arrived")
    rates = [x["bytes"] / PAYLOAD_BYTES / x["seconds"] for x in (sent, received)]
    return {"pps": rates[1], "sent_pps": rates[0], "lost": 1 - received["bytes"] / sent["bytes"]}


def back_and_forth(field: Field, tunnel: Tunnel, seconds: float) -> Figures:
    """Round trips of a small packet, each right after the other (see `ping_pong`)."""
    script = [sys.executable, "-I", "-S", ping_pong.__file__, str(PING_PONG_PORT)]
    with listening(field, tunnel.target, script, str(PING_PONG_PORT), protocol="udp"):
        meter = Meter(tunnel.pids)
        argv = [*script, tunnel.address, f"{seconds:g}"]
        done = field.lab.exec(tunnel.source, argv, timeout=seconds + 15)
        usage = meter.read()
    return {**json.loads(done.stdout), "foreign": usage.foreign}


def _socket_bytes() -> int:
    """As much as the kernel allows: iperf3 refuses to run with less than it was told."""
    return min(SOCKET_BYTES, *(int(Path(limit).read_text()) for limit in _LIMITS))
