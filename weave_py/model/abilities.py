"""What can this host do for us? Found out at start: what is missing makes things slower."""

from __future__ import annotations

from dataclasses import dataclass, field

from weave_py.model.fast import FastHost

TAP_OFFLOADS = ("csum", "tso4", "tso6", "tso_ecn", "uso4", "uso6")
"""What a TAP may be asked to leave undone; the last two since Linux 6.2."""


@dataclass(frozen=True, slots=True)
class Abilities:
    """Of the kernel and the CPU."""

    tap: frozenset[str] = frozenset()
    """Of TAP_OFFLOADS, those that work: without tso, frames come one by one."""
    udp_gso: bool = False
    """Whether one send may carry a train of datagrams (UDP_SEGMENT, since Linux 4.18)."""
    udp_gro: bool = False
    """Whether one receive may (UDP_GRO, since Linux 5.0)."""
    speeds: tuple[tuple[str, float], ...] = ()
    """(Cipher, bytes per second that one core seals), the fastest first."""
    fast: FastHost = field(default_factory=lambda: FastHost(0, "disabled"))

    @property
    def offloads(self) -> str:
        """One line: what is there, and what is not."""
        tap = "+".join(name for name in TAP_OFFLOADS if name in self.tap) or "none"
        udp = "+".join(name for name, has in (("gso", self.udp_gso), ("gro", self.udp_gro)) if has)
        return f"tap {tap}, udp {udp or 'none'}"

    @property
    def ciphers(self) -> str:
        return ", ".join(f"{name} {speed / 1e9:.1f} GB/s" for name, speed in self.speeds)

    @property
    def fast_datapath(self) -> str:
        if not self.fast.udp_port:
            return f"unavailable: {self.fast.why}"
        return f"vxlan on UDP port {self.fast.udp_port}, {'esp' if self.fast.esp else 'no esp'}"
