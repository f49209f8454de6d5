"""One fast path with everything around it played by the test: its peer, its kernel, its clock."""

from __future__ import annotations

from dataclasses import replace

from fastdp.path.path import FastPath
from fastdp.path.values import Direct, FastState, Permission, SendProbe, SendStatus
from weave_py.model.fast import DesiredEsp, DesiredVxlan, EspKey, FastHost, FastRemote, FastStatus
from weave_py.wire import fast_status

HOST = FastHost(4789, esp=True)
DIRECT = Direct("192.0.2.1", "192.0.2.2")
OPEN = Permission(HOST, DIRECT, encrypted=False)
SECRET = Permission(HOST, DIRECT, encrypted=True)
KEYS = DesiredEsp((EspKey(300, b"i" * 36),), EspKey(400, b"o" * 36))
PEER = FastStatus(
    incarnation=9,
    number=1,
    able=True,
    using=False,
    proven=False,
    udp_port=4790,
    vni=7000,
    mtu=1376,
    cookie=b"c" * 16,
    heard_incarnation=0,
    small_seen=0,
    full_seen=0,
    received=0,
)


class Story:
    """One path; the test plays its peer, kernel and clock."""

    def __init__(self, adopted: DesiredVxlan | None = None) -> None:
        self.now = 100.0
        self.path = FastPath(5000, 1376, lambda n: b"\7" * n, self.now)
        self.peer = PEER
        if adopted is not None:
            self.path.adopt(adopted)

    def hear(self, **changes: object) -> None:
        """A status of the peer."""
        changes.setdefault("number", self.peer.number + 1)
        self.peer = replace(self.peer, **changes)  # type: ignore[arg-type]
        self.path.receive_status_untrusted(fast_status.encode(self.peer), self.now)

    def permit(self, permission: Permission) -> None:
        self.path.permit(permission, self.now)

    def ready(self) -> None:
        desired = self.path.desired
        assert desired is not None
        self.path.device_ready(desired, self.now)

    def wait(self, seconds: float) -> None:
        until = self.now + seconds
        while (due := self.path.next_deadline()) is not None and due.at <= until:
            self.now = max(self.now, due.at)
            self.path.advance(self.now)
        self.now = until

    def statuses(self) -> list[FastStatus]:
        outputs = self.path.take_outputs()
        return [fast_status.decode_untrusted(o.body) for o in outputs if isinstance(o, SendStatus)]

    def probes(self) -> int:
        return sum(isinstance(output, SendProbe) for output in self.path.take_outputs())

    def prove(self) -> None:
        """Our probes arrive."""
        small, full = self.peer.small_seen, self.peer.full_seen
        for _ in range(4):
            self.wait(0.12)
            small, full = small + 1, full + 1
            self.hear(heard_incarnation=self.path.incarnation, small_seen=small, full_seen=full)

    def go_fast(self) -> Story:
        self.permit(OPEN)
        self.hear()
        self.ready()
        self.prove()
        self.hear(proven=True, using=True)
        assert self.is_fast
        return self

    @property
    def is_fast(self) -> bool:
        return self.path.state is FastState.FAST

    @property
    def standing(self) -> tuple[str, str]:
        return str(self.path.state), str(self.path.why)

    @property
    def through(self) -> bool:
        return self.path.desired is not None and self.path.desired.through


def adopted(esp: DesiredEsp | None = None) -> DesiredVxlan:
    remote = FastRemote("192.0.2.1", "192.0.2.2", 4790, 7000, esp)
    return DesiredVxlan(5000, False, remote, through=True)
