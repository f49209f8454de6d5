"""A whole mesh on one machine, in network namespaces: for the demo, for tests, for benchmarks.

`topology` says who is wired to whom, `namespaces` wires it, `faults` breaks it, `hosts` runs a
router in each host, `mesh` puts containers on it, `pings` asks whether it works, and `demo` shows
it. Everything here runs at the edge: it blocks, reads the clock and starts processes.
"""
