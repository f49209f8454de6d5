"""A kernel in memory that executes plans and forwards frames; for tests and `sim`."""
