"""The command `weave-py`."""
