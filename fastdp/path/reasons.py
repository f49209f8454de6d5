"""Why is a path not fast? The codes that status shows, logs name and peers tell each other.

The peer's reason is shown with `peer-` in front of it (`peer-disabled`, `peer-probe-lost`, …);
`peer-waiting` if its reason is that it waits for us.
"""

from __future__ import annotations

from enum import StrEnum


class Reason(StrEnum):
    """Empty: it is fast."""

    NONE = ""
    ADOPTED = "adopted"  #: fast, as our predecessor left it; the peer has not been heard yet
    # There is no fast path (off). The host's own codes (model.fast.FastHost) come in here, too.
    DISABLED = "disabled"  #: by --no-fastdp
    NO_VXLAN = "no-vxlan"  #: the kernel has none
    NO_DIRECT_PATH = "no-direct-path"  #: the sleeve itself needs a relay
    FAMILY = "family"  #: our address and the peer's are of different families
    LINK_LOCAL = "link-local"  #: the peer's only address is one: VXLAN needs a routed one
    NO_KERNEL_ESP = "no-kernel-esp"  #: encryption is needed, and our kernel cannot
    PEER_NO_ESP = "peer-no-esp"  #: … the peer's kernel cannot
    DEVICE_FAILED = "device-failed"  #: the kernel refused the device, or lost it
    PEER_SILENT = "peer-silent"  #: the peer never spoke of fast paths
    PEER_LEFT = "peer-left"  #: it said goodbye
    # There may be one soon (probing), or again (degraded).
    DEVICE = "device"  #: the kernel is being told
    ESP_KEYS = "esp-keys"  #: not agreed, or not in both kernels
    PROVING = "proving"  #: probes are on their way
    UNANSWERED = "unanswered"  #: none has arrived yet
    HOLD_DOWN = "hold-down"  #: it works again, but fell lately
    MTU = "mtu"  #: small frames pass, full-sized ones do not
    # Why it was left.
    PROBE_LOST = "probe-lost"  #: our probes stopped arriving
    COUNTER_STALL = "counter-stall"  #: our packets stopped arriving
    PEER_MOVED = "peer-moved"  #: it receives elsewhere now, most likely after a restart
    PATH_CHANGED = "path-changed"  #: the sleeve found a better address
    POLICY = "policy"  #: encryption has become needed, or needless
    PEER_WAITING = "peer-waiting"  #: the peer waits for our direction


def peer_reason(code: str) -> str:
    """How the reason that the peer gave is shown here."""
    if code == Reason.NO_KERNEL_ESP:
        return Reason.PEER_NO_ESP
    if code.startswith("peer-"):
        return Reason.PEER_WAITING
    return f"peer-{code or Reason.PROVING}"


NEVER = frozenset(
    {Reason.DISABLED, Reason.NO_VXLAN, "no-tc", "port-taken", "no-privileges", "no-guard"}
)
"""Host codes (model.fast.FastHost) that no waiting changes: the TAP itself is the port then."""

NARROW = frozenset({Reason.MTU, peer_reason(Reason.MTU)})
"""Left because full-sized frames do not pass any more, in the one direction or the other."""
