"""Where is run-peers, the tool that runs other tunnels, and how do its tunnels run on our field?

run-peers is a single file that is not part of this project. `scripts/bench peers` runs it as it
is; `scripts/bench sleeve` borrows its functions that start tunnels, because it measures what
run-peers does not: loss.
"""

from __future__ import annotations

import importlib.machinery
import importlib.util
import os
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

from scripts.benchmarks.field import Field, Tunnel, overlay_address
from weave_py.lab.leftovers import base36
from weave_py.model.errors import HostError

VARIABLE = "WEAVE_PY_PEERS_LAB"
ROOT = Path(__file__).parents[2]
DEFAULT = ROOT.parent / "shared" / "peers-lab" / "run-peers"

_NAMES = {"a": "h1", "b": "h2", "ca": "c1", "cb": "c2"}
"""What run-peers calls its namespaces → what our lab does."""


def find() -> Path:
    """The tool's file; HostError saying how to name it where it is absent."""
    path = Path(os.environ.get(VARIABLE) or DEFAULT).absolute()
    path = path / "run-peers" if path.is_dir() else path
    if not path.is_file():
        raise HostError(
            f"run-peers, the tool that runs other tunnels, is not at {path}; "
            f"set {VARIABLE} to where it is"
        )
    return path


def load() -> ModuleType:
    """The tool as a module; HostError if it is absent or not what we expect."""
    path = find()
    loader = importlib.machinery.SourceFileLoader("run_peers", str(path))
    spec = importlib.util.spec_from_loader("run_peers", loader)
    assert spec is not None
    module = importlib.util.module_from_spec(spec)
    before, sys.dont_write_bytecode = sys.dont_write_bytecode, True  # it is not ours to litter
    try:
        loader.exec_module(module)
    except Exception as error:
        raise HostError(f"{path} cannot be used: {error!r}; is it run-peers?") from error
    finally:
        sys.dont_write_bytecode = before
    missing = {"PEERS", "Lab", "UA", "UB", "OA", "OB", "have_pkg"} - vars(module).keys()
    if missing:
        raise HostError(f"{path} has no {', '.join(sorted(missing))}: is it another version?")
    return module


@dataclass(frozen=True, slots=True)
class Guest:
    """A tunnel that run-peers knows, started by its function on a field of ours."""

    tool: ModuleType
    name: str

    @property
    def missing(self) -> list[str]:
        """Debian packages it needs that are not installed."""
        return [name for name in self.tool.PEERS[self.name]["packages"] if not self._has(name)]

    def start(self, field: Field) -> Tunnel:
        """Start it between h1 and h2; errors of all kinds may come out of the tool."""
        lab = self._lab_on(field)
        # Their functions read these when called.
        self.tool.__dict__.update(
            UA=field.underlay("h1", "h2"),
            UB=field.underlay("h2", "h1"),
            OA=overlay_address("h1"),
            OB=overlay_address("h2"),
        )
        try:
            target = self.tool.PEERS[self.name]["fn"](lab)
        except BaseException:
            lab.teardown()
            raise
        return Tunnel(
            source=_NAMES[target.src],
            target=_NAMES[target.dst_ns],
            address=target.dst,
            started_at=lab.t0,
            processes=_by_host(lab.daemons),
            stop=lab.teardown,  # wireguard-go leaves a socket behind when killed
        )

    def _has(self, package: str) -> bool:
        return bool(self.tool.have_pkg(package))

    def _lab_on(self, field: Field) -> Any:
        """Their lab, in our namespaces: what it would create or remove is ours to do."""
        work = field.directory / "guest"
        lab = self.tool.Lab(f"wb{base36(os.getpid())}", str(work), "cubic")
        lab.ns = lambda name: field.lab.ns(_NAMES[name])
        lab.add_ns = lambda name: None
        lab.clean = lambda: None
        return lab


def guests(tool: ModuleType, names: Iterable[str]) -> list[Guest]:
    """Those peers of the tool; HostError for a name that it does not know."""
    wanted = list(names)
    unknown = [name for name in wanted if name not in tool.PEERS]
    if unknown:
        raise HostError(f"run-peers knows no {', '.join(unknown)}; it has {', '.join(tool.PEERS)}")
    return [Guest(tool, name) for name in wanted]


def _by_host(daemons: Iterable[Any]) -> dict[str, tuple[int, ...]]:
    found: dict[str, tuple[int, ...]] = {}
    for process in daemons:
        host = _NAMES[process.side]
        found[host] = (*found.get(host, ()), process.pid)
    return found
