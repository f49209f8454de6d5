"""What does the kernel say of this host's addresses, and of the ways to others'?

The values of the address model: `host.underlay` reads them from the kernel, `router.own_addresses`
ranks the former, `link.route_book` keeps the latter.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, NamedTuple

INSIDE: Final = "inside-overlay"
"""Reason code: what is sent there would travel inside our own frames, or another network's."""


@dataclass(frozen=True, slots=True)
class OwnAddress:
    """An address of this host at which others might reach it."""

    host: str
    is_default: bool = False
    """The default route leaves by its device."""
    is_lonely: bool = False
    """Its device is a bridge without a wire, for containers and machines of this host only."""


class Route(NamedTuple):
    """How the kernel would send to an address."""

    source: str | None
    """From which address of ours; None: it has no route."""
    inside: bool = False
    """By a device of the inner network, of ours or another one of weave-py's on this host."""
    here: bool = False
    """It is an address of this very host."""


NO_ROUTE: Final = Route(None)
