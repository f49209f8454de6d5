"""Which frames can the kernel carry itself? VXLAN between peers that reach each other directly.

`docs/fastdp.md` draws how the parts hang together. Decisions (`path`, `plan`, `diff`, `esp`) know
no I/O; `kernel`, `xfrm` and `guard` talk to the kernel, synchronously; `reconciler` and `probes`
run under trio.
"""
