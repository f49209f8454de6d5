"""Anti-entropy: how signed records spread, at once and by repair."""
