"""Is this host fit for a router, and what makes it slower than it could be? Tried, not guessed.

Nothing here needs a running router, and nothing stays behind.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from fastdp import descriptions
from fastdp.kernel.selftest import probe_host
from fastdp.kernel.xfrm import kernel_has_esp
from weave_py.config.resolve import Config
from weave_py.host.firewall.keeper import examine as try_firewall
from weave_py.host.locks import is_claimed
from weave_py.host.privileges import check_privileges
from weave_py.host.self_test import (
    is_port_free,
    kernel_release,
    suites_by_speed,
    tap_offloads,
    udp_offloads,
)
from weave_py.host.socket_table import ANOTHER, holder
from weave_py.model.errors import HostError
from weave_py.model.snapshot import MTU_MISMATCH


class Verdict(StrEnum):
    OK = "ok"
    SLOWER = "slower"  #: it works without, more slowly
    NOTE = "note"  #: worth knowing
    FAILED = "failed"  #: a router cannot run, or loses frames


@dataclass(frozen=True, slots=True)
class Finding:
    verdict: Verdict
    what: str
    text: str


def examine(config: Config) -> Iterator[Finding]:
    """One finding after the other."""
    yield Finding(Verdict.NOTE, "kernel", kernel_release())
    yield _privileges()
    yield _tap()
    yield _udp()
    yield _ciphers(time.perf_counter)
    yield _port(config.port, config.bridge)
    yield _firewall(config.bridge)
    yield from _fast(config)


def inner_mtu(router: Mapping[str, Any]) -> Iterator[Finding]:
    """What the report of a router that runs here (its part `Router`) says of its peers' MTU."""
    others = {
        path["NickName"] or path["Peer"]: mtu
        for path in router.get("Paths", ())
        if (mtu := path.get("PeerMTU")) is not None
    }
    if others:
        named = ", ".join(f"{name} {mtu}" for name, mtu in others.items())
        text = (
            f"{MTU_MISMATCH}: {router.get('MTU')} here, {named}: packets above the smaller one "
            "are lost: start all routers with the same --mtu"
        )
        yield Finding(Verdict.FAILED, "mtu", text)


def _privileges() -> Finding:
    try:
        check_privileges()
    except HostError as error:
        return Finding(Verdict.FAILED, "privileges", str(error))
    return Finding(Verdict.OK, "privileges", "CAP_NET_ADMIN and /dev/net/tun are there")


def _tap() -> Finding:
    try:
        offloads = tap_offloads()
    except HostError as error:
        return Finding(Verdict.FAILED, "tap", str(error))
    if not {"csum", "tso4"} <= offloads:
        text = "no segmentation offload: frames come one by one instead of 64 KiB at a time"
        return Finding(Verdict.SLOWER, "tap", text)
    return Finding(Verdict.OK, "tap", "offloads " + "+".join(sorted(offloads)))


def _udp() -> Finding:
    gso, gro = udp_offloads()
    if gso and gro:
        return Finding(Verdict.OK, "udp", "trains of datagrams in one call, both ways (gso, gro)")
    missing = " and ".join(
        name for name, has in (("sending (gso)", gso), ("receiving (gro)", gro)) if not has
    )
    return Finding(
        Verdict.SLOWER, "udp", f"{missing} goes datagram by datagram: Linux 5.0 has both"
    )


def _ciphers(clock: Callable[[], float]) -> Finding:
    ranked = suites_by_speed(clock)
    text = ", ".join(f"{suite.text} {speed / 1e9:.1f} GB/s" for suite, speed in ranked)
    return Finding(Verdict.OK, "ciphers", text)


def _port(port: int, bridge: str) -> Finding:
    if is_port_free(port):
        return Finding(Verdict.OK, "port", f"{port} is free")
    if is_claimed(bridge):
        text = f"{port} is in use: by the router that runs on bridge {bridge}?"
        return Finding(Verdict.NOTE, "port", text)
    named = [holder(kind, "0.0.0.0", port) for kind in ("TCP", "UDP")]
    who = next((one for one in named if one != ANOTHER), ANOTHER)
    text = f"{port} is in use by {who}: stop it, or choose another --port"
    return Finding(Verdict.FAILED, "port", text)


def _firewall(bridge: str) -> Finding:
    try:
        view = try_firewall(bridge)
    except HostError as error:
        return Finding(Verdict.NOTE, "host firewall", f"cannot be tried: {error}")
    return Finding(Verdict.FAILED if view.code else Verdict.OK, "host firewall", view.text)


def _fast(config: Config) -> Iterator[Finding]:
    host = probe_host(config.bridge, enabled=config.fastdp)
    if not host.udp_port:
        why = descriptions.why_never(host.why)
        yield Finding(Verdict.SLOWER, "fast datapath", f"{host.why}: {why}")
        return
    yield Finding(Verdict.OK, "fast datapath", f"VXLAN on UDP port {host.udp_port}")
    if kernel_has_esp():
        yield Finding(Verdict.OK, "esp", "encrypted networks can use the fast datapath")
    else:
        text = "not in this kernel: encrypted networks use the userspace tunnel"
        yield Finding(Verdict.SLOWER, "esp", text)
    if shutil.which("nft") is None:
        text = "missing: the fast datapath of encrypted networks needs nftables"
        yield Finding(Verdict.NOTE, "nft", text)
