"""What do we say to a command that we do not have? Weave's words get an answer of their own."""

from __future__ import annotations

from collections.abc import Sequence
from difflib import get_close_matches

_ADDRESSES = "addresses are not handed out yet: give one to attach, like 10.2.1.1/24"
_NAMES = "names (DNS) are not served yet"
_DOCKER = "containers are not followed yet: attach them once they run, with 'weave-py attach'"
_ONE_ROUTER = "there is one router, and no proxy or plugin beside it"

# Weave's commands that we do not have (yet, or on purpose), and what there is instead.
_WEAVES = {
    "setup": "there is nothing to set up: use 'weave-py launch'",
    "setup-cni": "there is no CNI plugin yet: use 'weave-py attach'",
    "prime": _ADDRESSES,
    "ps": "containers are not listed yet: see 'weave-py report', Router.MACs",
    "rmpeer": f"there is nothing to take over from a peer: {_ADDRESSES}",
    "dns-add": _NAMES,
    "dns-remove": _NAMES,
    "dns-lookup": _NAMES,
    "dns-args": _NAMES,
    "env": _DOCKER,
    "config": _DOCKER,
    "attach-bridge": "other bridges cannot be attached yet",
    "bridge-type": "the bridge is always a Linux bridge",
    "docker-bridge-ip": _DOCKER,
    # Gone from Weave itself since 2.0.
    "run": _DOCKER,
    "start": _DOCKER,
    "restart": _DOCKER,
    "create-bridge": "'weave-py launch' makes the bridge",
    "launch-router": f"{_ONE_ROUTER}: use 'weave-py launch'",
    "launch-proxy": _ONE_ROUTER,
    "launch-plugin": _ONE_ROUTER,
    "launch-dns": _NAMES,
    "stop-router": f"{_ONE_ROUTER}: use 'weave-py stop'",
    "stop-proxy": _ONE_ROUTER,
    "stop-plugin": _ONE_ROUTER,
    "stop-dns": _NAMES,
}


def advice(word: str, commands: Sequence[str]) -> str:
    """One sentence about a command that does not exist."""
    if word in _WEAVES:
        return f"there is no '{word}': {_WEAVES[word]}"
    close = get_close_matches(word, commands, n=1)
    hint = f": did you mean '{close[0]}'?" if close else ""
    return f"unknown command '{word}'{hint}"
