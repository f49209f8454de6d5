"""How does a host become as if there had never been a fast datapath?"""

from __future__ import annotations

from contextlib import closing, suppress

from fastdp import esp, guard
from fastdp.kernel import Kernel
from fastdp.reconciler import Reconciler
from fastdp.sealing import targets
from fastdp.xfrm import Xfrm
from weave_py.model.errors import HostError


def remove(bridge: str) -> None:
    """Remove the VXLAN devices of this bridge, and what protected them. Synchronous; HostError if
    a device cannot be removed."""
    with closing(Reconciler(Kernel(bridge), bridge, 0, 0)) as reconciler:
        reconciler.remove_all()
    # Only now that nothing sends in clear any more.
    remove_protection(bridge)


def remove_protection(bridge: str) -> None:
    """Remove what a predecessor protected its VXLAN devices with, where nobody needs it. What
    other routers on this host need stays."""
    with suppress(HostError), Kernel(bridge) as kernel, Xfrm() as xfrm:
        # (Kernels without IPsec have nothing to remove.)
        for operation in esp.removal(xfrm.read(), targets(kernel.remotes_of_others())):
            xfrm.apply(operation)
    with suppress(HostError):  # without nft there is no table of ours either
        guard.remove(bridge)
