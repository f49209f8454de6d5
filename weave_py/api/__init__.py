"""The control API: HTTP for people, tools and our own commands."""
