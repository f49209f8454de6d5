"""weave-py as run-peers runs it: which processes, with what around them?

run-peers executes this file among its own names (`scripts/bench peers` gives it as --plugin), so
`peer` and the addresses come from there, and ours begin with an underscore to stay out of its way.
"""

import os as _os
import shutil as _shutil
import sys as _sys
from collections.abc import Callable as _Callable
from collections.abc import Mapping as _Mapping
from typing import Any as _Any

_peer: _Callable[..., _Callable[[_Any], _Any]] = globals()["peer"]

_MTU = 1376
_GSO_MAX_BYTES = 61440
_CIPHER = "AES-256-GCM or ChaCha20-Poly1305 by the CPUs, Noise"
_NOTE = "eth0 and vc limited to gso_max_size 61440, as `weave-py attach` does"


def _weave(lab: _Any, tag: str, settings: _Mapping[str, str]) -> _Any:
    """A router on each host, with containers on br0 beforehand; b answers, a calls."""
    target = lab.containers(_MTU)
    for x in "ab":
        lab.ip(x, f"link set dev vc gso_max_size {_GSO_MAX_BYTES}")
        lab.ip("c" + x, f"link set dev eth0 gso_max_size {_GSO_MAX_BYTES}")
    directory = lab.dir(tag)
    password = lab.write(_os.path.join(directory, "password"), "measured, not guessed\n")
    calls = {"b": [], "a": [globals()["UB"]]}
    for x, called in calls.items():
        state = _os.path.join(directory, f"{x}.state")
        _shutil.rmtree(state, ignore_errors=True)  # a first start: the keys are made within it
        words = [_sys.executable, "-m", "weave_py", "launch", "--nickname", x, "--bridge", "br0"]
        words += ["--mtu", str(_MTU), "--password-file", password, "--state-dir", state]
        words += ["--no-fastdp", "--http-addr", "off", "--log-level", "warning", *called]
        lab.daemon(x, words, env=dict(settings), tag=tag)
    return target


@_peer("weave-py", "L2", _MTU, _CIPHER, note=_NOTE)
def _weave_py(lab: _Any) -> _Any:
    return _weave(lab, "weave-py", {})


@_peer("weave-py-1dgram", "L2", _MTU, _CIPHER, note="one datagram per record; " + _NOTE)
def _weave_py_1dgram(lab: _Any) -> _Any:
    return _weave(lab, "weave-py-1dgram", {"WEAVE_RECORD_DATAGRAMS": "1"})
