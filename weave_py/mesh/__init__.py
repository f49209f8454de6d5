"""Who is out there, and which way? The control road's engines."""
