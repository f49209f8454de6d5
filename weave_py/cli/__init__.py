"""The command `weave-py`.

Nothing in here imports trio, pyroute2, cryptography or the router at module level: `status` is
run by hand and by scripts, and should cost what an HTTP request costs.
"""
