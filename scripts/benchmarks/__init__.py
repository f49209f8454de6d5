"""How fast is weave-py, beside what, and what does it cost? `scripts/bench` runs these.

`field` is the ground that all contestants stand on, `contestants` brings them up, `measures` and
`meters` put them through the same things, `tables` reports; `sleeve`, `fastdp`, `peers`, `scale`
and `soak` are the benchmarks. `peers_plugin` is read by a tool of others, run-peers.
"""
