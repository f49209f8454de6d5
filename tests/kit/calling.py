"""Whom would a router call? Its targets, with peers and addresses made from numbers."""

from __future__ import annotations

from collections.abc import Iterable

from tests.kit.builders import synthetic_name
from weave_py.mesh.targets import Targets, TargetSettings
from weave_py.model.names import Endpoint, PeerName, parse_target

S = TargetSettings()
US = synthetic_name(500)
NOBODY: frozenset[PeerName] = frozenset()


def targets(*texts: str, jitter: float = 0.5, settings: TargetSettings | None = None) -> Targets:
    """With configured targets; a jitter of 0.5 is none."""
    made = Targets(US, lambda: jitter, settings)
    made.connect(map(parse_target, texts), 0.0)
    return made


def called(of: Targets, now: float) -> list[str]:
    return [call.key for call in of.due(now)]


def next_at(of: Targets) -> float:
    deadline = of.next_deadline()
    assert deadline is not None
    return deadline.at


def peers(numbers: Iterable[int]) -> dict[PeerName, tuple[Endpoint, ...]]:
    return {synthetic_name(n): (at(n),) for n in numbers}


def at(number: int, port: int = 6783) -> Endpoint:
    return Endpoint(f"10.0.{number // 256}.{number % 256}", port)


def desired_ports(of: PeerName, known: dict[PeerName, tuple[Endpoint, ...]]) -> set[PeerName]:
    """Whom a peer calls in this network, in the end."""
    names = {places[0].text: name for name, places in known.items()}
    made = Targets(of, lambda: 0.5, TargetSettings(concurrent=1000))
    made.discover({n: p for n, p in known.items() if n != of}, NOBODY, 1000, 0.0)
    return {names[key] for key in called(made, 10.0)}
