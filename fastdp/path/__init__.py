"""Engines (pure): may the kernel carry a peer's frames, and does it work?"""
