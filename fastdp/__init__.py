"""Which frames can the kernel carry itself? VXLAN between peers that reach each other directly.

`docs/fastdp.md` draws how the parts hang together. Decisions (`path`, `plan`, `esp`) know no I/O;
`kernel` talks to the kernel, synchronously; `reconciler` brings the two together; `fake` is a
kernel in memory for tests. It all stands on weave_py's `model`, `wire`, `crypto` and `host`: a
storey of the same house, in a folder of its own because a reader may leave it out at first.
"""
