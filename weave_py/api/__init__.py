"""The control API: HTTP for people, tools and our own commands."""

SERVER = "weave-py"
"""The `Server` header of a router's answers: by this its clients know it."""
FORM = "application/x-www-form-urlencoded"
"""What a request's body is, unless its route says otherwise."""
