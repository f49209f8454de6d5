"""The real engines of many routers in one process, in virtual time."""
