"""Who is out there, and which way? The control plane's engines."""
