"""How are names and numbers written in what people read?"""

from __future__ import annotations

from weave_py.model.names import PeerName, name_text


def printable(text: str) -> str:
    """`text` with everything that is not printable escaped.

    Nicknames and error texts come from other hosts: they must not move the cursor, colour the
    terminal or break a line in two.
    """
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def peer_text(name: PeerName, nickname: str) -> str:
    """`8a:3e:…(host1)`, as Weave writes a peer."""
    return f"{name_text(name)}({printable(nickname)})"


def milliseconds(seconds: float | None) -> str:
    """A duration for a table, in ms; `-` when it is not known."""
    if seconds is None:
        return "-"
    return f"{seconds * 1000:.1f}ms" if seconds < 0.1 else f"{seconds * 1000:.0f}ms"


def percent(share: float) -> str:
    """A share of 0–1 for a table."""
    return f"{share * 100:.1f}%" if 0 < share < 0.1 else f"{share * 100:.0f}%"


def arrow(outbound: bool) -> str:
    """Which side made a connection, as Weave draws it."""
    return "->" if outbound else "<-"
