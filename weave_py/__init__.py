"""weave-py: hosts that can reach each other in any way at all become one encrypted Ethernet.

Two planes run through this package, and `docs/architecture.md` draws both.

*The data plane*: a container's frame crosses the Linux bridge to the TAP of the peer it is for
(`host.tap`), is bundled into a record and sealed (`link.sealing`), cut into datagrams
(`wire.sleeve`), and leaves by the peer's best path (`link.paths`); `datapath.datapath` drives it.

*The control plane*: a TCP stream (`loop.control_stream`) carries a handshake (`mesh.handshake`),
then messages (`mesh.connection`), whose gossip (`mesh.gossip`) builds the topology
(`mesh.topology`), from which routes are computed (`mesh.spf`); `router.engine` composes it all
without I/O.
"""

__version__ = "0.1.0"
