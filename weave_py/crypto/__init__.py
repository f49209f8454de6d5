"""Who is it, and what may they read? Primitives come from `cryptography`."""
