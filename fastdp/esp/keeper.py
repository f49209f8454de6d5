"""Is what VXLAN devices send sealed, as far as it must be? ESP around changes of those devices.

`protect` before devices are changed, `release` afterwards; `esp` and `esp_steps` say what to do.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from ipaddress import ip_address
from typing import Protocol

from fastdp.esp import desired
from fastdp.esp.desired import EspNetwork, Target
from fastdp.esp.steps import EspKeeper
from fastdp.esp.values import Operation, XfrmTables, request_id
from fastdp.plan.state import KernelState, Remote
from weave_py.model.errors import HostError
from weave_py.model.fast import DesiredEsp, FastRemote
from weave_py.model.names import PeerName

Remotes = Mapping[PeerName, FastRemote]


class Tables(Protocol):
    """The kernel's ESP states and policies (fastdp.kernel.xfrm.Xfrm). Refusals are HostError."""

    def read(self) -> XfrmTables: ...

    def apply(self, operation: Operation) -> None: ...

    def close(self) -> None: ...


class Keeper:
    """For one thread."""

    def __init__(self, network: EspNetwork, tables: Tables) -> None:
        self._network = network
        self._tables = tables
        self._keeper = EspKeeper()

    def close(self) -> None:
        self._tables.close()

    def adopted(self, remote: FastRemote) -> FastRemote | None:
        """A remote as a predecessor left it; None if it may not be used.

        Its keys cannot be read back. That they are there, and are to stay until the session has
        agreed on others, is what an EspWish without keys says.
        """
        if self._network.permits_clear(ip_address(remote.host)):
            return remote
        if not desired.is_sealed(remote, self._tables.read()):
            return None
        return FastRemote(
            remote.local, remote.host, remote.udp_port, remote.vni, DesiredEsp((), None)
        )

    def protect(
        self, remotes: Remotes, state: KernelState, now: float
    ) -> tuple[dict[PeerName, int], list[str]]:
        """Keys and rules that must be there before the devices change. The newest inbound key of
        each peer that is in the kernel then, and refusals, one sentence each."""
        wanted = desired.plan(self._network, remotes)
        steps = self._keeper.steps(wanted, self._tables.read(), _targets(state), now)
        refusals = self._apply(steps.before)
        tables = self._tables.read()
        found = {peer: desired.newest_inbound(remote, tables) for peer, remote in remotes.items()}
        return {peer: spi for peer, spi in found.items() if spi}, refusals

    def release(self, remotes: Remotes, state: KernelState, now: float) -> list[str]:
        """Take away what nobody needs any more; refusals, one sentence each."""
        wanted = desired.plan(self._network, remotes)
        steps = self._keeper.steps(wanted, self._tables.read(), _targets(state), now)
        return self._apply((*steps.before, *steps.after))

    def remove_all(self, of_others: Collection[Remote]) -> None:
        """Once there are no devices any more. `of_others`: where those of other routers on this
        host send, who need what protects them."""
        ours = self._tables.read().of(request_id(self._network.udp_port))
        for operation in desired.removal(ours, targets(of_others)):
            self._tables.apply(operation)

    def next_deadline(self) -> float | None:
        due = self._keeper.next_deadline()
        return None if due is None else due.at

    def _apply(self, steps: Collection[Operation]) -> list[str]:
        refusals = []
        for step in steps:
            try:
                self._tables.apply(step)
            except HostError as error:
                self._keeper.refused(step)
                refusals.append(str(error))
        return refusals


def _targets(state: KernelState) -> list[Target]:
    """Where devices in the kernel send."""
    return targets(remote for link in state.vxlans.values() for remote in link.remotes)


def targets(remotes: Iterable[Remote]) -> list[Target]:
    return [Target(ip_address(remote.host), remote.udp_port) for remote in remotes]
