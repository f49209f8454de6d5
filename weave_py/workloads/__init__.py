"""Containers, namespaces and hosts become members of the network."""
