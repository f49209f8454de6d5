"""Can this host do what a router needs? Checks and findings."""
