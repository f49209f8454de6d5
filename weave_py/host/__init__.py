"""What does this host's kernel give us? The only package that touches it."""
