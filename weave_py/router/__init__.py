"""One engine for drivers: composes `mesh` and `link` without any I/O."""
