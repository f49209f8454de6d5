"""How does a host become as if there had never been a fast datapath?"""

from __future__ import annotations

from contextlib import closing, suppress

from fastdp.esp import desired
from fastdp.esp.keeper import targets
from fastdp.esp.values import request_id
from fastdp.kernel import nft
from fastdp.kernel.devices import Kernel
from fastdp.kernel.xfrm import Xfrm
from fastdp.reconciler import Reconciler
from weave_py.model.errors import HostError


def remove(bridge: str) -> None:
    """Remove the VXLAN devices of this bridge, and what protected them. Synchronous; HostError if
    a device cannot be removed."""
    with closing(Reconciler(Kernel(bridge), bridge, 0, 0)) as reconciler:
        reconciler.remove_all()
    # Only now that nothing sends in clear any more.
    remove_protection(bridge)


def remove_protection(bridge: str, udp_port: int | None = None) -> None:
    """Remove what a predecessor protected its VXLAN devices with, where nobody needs it. What
    other routers on this host need stays: what their devices send to, and (if ours is given)
    all of other UDP ports."""
    with suppress(HostError), Kernel(bridge) as kernel, Xfrm() as xfrm:
        # (Kernels without IPsec have nothing to remove.)
        found = xfrm.read()
        if udp_port is not None:
            found = found.of(request_id(udp_port))
        for operation in desired.removal(found, targets(kernel.remotes_of_others())):
            xfrm.apply(operation)
    with suppress(HostError):  # without nft there is no table of ours either
        nft.remove(bridge)
