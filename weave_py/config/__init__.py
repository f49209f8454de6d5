"""How is this router configured? Options, environment, password."""
