"""A whole mesh on one machine, in network namespaces: the demo, the tests' test bed."""
