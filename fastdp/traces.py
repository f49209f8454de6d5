"""How does a host become as if there had never been a fast datapath?"""

from __future__ import annotations

from contextlib import closing, suppress

from fastdp import esp, guard
from fastdp.kernel import Kernel
from fastdp.reconciler import Reconciler
from fastdp.xfrm import Xfrm
from weave_py.model.errors import HostError


def remove(bridge: str) -> None:
    """Remove the VXLAN devices of this bridge, and what protected them. Synchronous; HostError if
    a device cannot be removed."""
    with closing(Reconciler(Kernel(bridge), bridge, 0, 0)) as reconciler:
        reconciler.remove_all()
    # Only now that nothing sends in clear any more. Kernels without IPsec have nothing to remove.
    with suppress(HostError), Xfrm() as xfrm:
        for operation in esp.removal(xfrm.read()):
            xfrm.apply(operation)
    with suppress(HostError):  # without nft there is no table of ours either
        guard.remove(bridge)
