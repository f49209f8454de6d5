"""By what do we know our own things, on a host full of others'?

Nothing is deleted or taken over that does not bear one of these.
"""

from __future__ import annotations

from typing import Final

MARK: Final = "weave-py"
"""Bridge and VXLAN devices bear it as their alias (`ip -d link`), answers of the control API as
`Server`."""

TAP_PREFIX: Final = "wvt"
VXLAN_PREFIX: Final = "wvx"
"""Followed by the 12 hex digits of the peer: just as long as a device's name may be."""
VETH_PREFIX: Final = "vethwepl"
"""The host's end of an attachment, followed by the namespace's inode."""
CONTAINER_IFNAME: Final = "ethwe"
"""The container's end."""

PORT_PREFIXES: Final = (TAP_PREFIX, VETH_PREFIX)
"""Ports of our bridge that go with it. (VXLAN devices are told by their alias.)"""
