"""Does the kernel look as wished? Observe, plan, diff, apply, again and again; synchronous.

Each call of `reconcile` looks at the devices it is asked about and makes them as wished. It need
not know who changed what: our desired ports, a predecessor's devices and somebody else's doing are
all differences. Around a change of VXLAN devices come the changes of ESP (`sealing`).
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field
from ipaddress import ip_address
from typing import Protocol

from fastdp.esp.keeper import Keeper
from fastdp.plan import diff
from fastdp.plan.desired import is_usable, plan
from fastdp.plan.operations import Operation, VniTaken
from fastdp.plan.state import KernelState, Remote
from weave_py.model.errors import HostError
from weave_py.model.fast import DesiredPort, DesiredVxlan, FastRemote, PortsOutcome
from weave_py.model.names import PeerName

ROUNDS = 4
"""After repairs comes the flip; and what one round changes may show something to the next."""

Wishes = Mapping[PeerName, DesiredVxlan | None]


class Devices(Protocol):
    """The devices of one bridge (fastdp.kernel.devices.Kernel, fastdp.fake.host.FakeHost)."""

    @property
    def owners(self) -> Mapping[int, PeerName]: ...

    def observe(self, peers: Iterable[PeerName] | None = None) -> KernelState: ...

    def apply(self, operation: Operation) -> None: ...

    def remove_strays(self) -> list[str]: ...

    def remotes_of_others(self) -> list[Remote]: ...

    def foreign_ports(self) -> set[int]: ...

    def close(self) -> None: ...


class Guard(Protocol):
    """Rules about who may send us VXLAN (fastdp.kernel.nft.Guard)."""

    def apply(self) -> None: ...

    def restore(self) -> bool: ...


@dataclass(frozen=True, slots=True)
class Round:
    """What one call did."""

    outcome: PortsOutcome
    done: tuple[Operation, ...]
    untold: tuple[str, ...]
    """Refusals that concern no peer's wish, one sentence each."""
    settled: frozenset[PeerName] = frozenset()
    """Peers whose TAP is fit for use; all the rest of the port, too, if nothing failed."""
    crowded: bool = False
    """Somebody else's VXLAN device listens where ours do (told when all was looked at): `move`."""


@dataclass(slots=True)
class _Change:
    """What was done and refused, and how the devices looked last."""

    state: KernelState
    done: list[Operation] = field(default_factory=list)
    failed: dict[PeerName, str] = field(default_factory=dict)
    taken: set[PeerName] = field(default_factory=set)
    useless: set[PeerName] = field(default_factory=set)
    """Those of the failed who do not even have a TAP that is a port."""

    def refuse(self, peer: PeerName, error: HostError) -> None:
        self.failed[peer] = str(error)
        if isinstance(error, VniTaken):
            self.taken.add(peer)


class Reconciler:
    """Makes one bridge's ports as wished. For one thread; to be closed at the end."""

    def __init__(
        self,
        devices: Devices,
        bridge: str,
        mtu: int,
        udp_port: int,
        sealing: Keeper | None = None,
        guard: Guard | None = None,
        permits_clear: Callable[[str], bool] = lambda host: True,
    ) -> None:
        """`mtu`: inner, bytes. `udp_port`: of our VXLAN devices; 0: there are none.
        `sealing`: None where the kernel has no ESP. `guard`: None where everybody may send us
        VXLAN, or nobody does. `permits_clear`: whether frames for this address may leave in clear.
        """
        self.devices = devices
        self._bridge = bridge
        self._mtu = mtu
        self._udp_port = udp_port
        self._sealing = sealing
        self._guard = guard
        self._permits_clear = permits_clear
        self._unguarded = ""
        """Why the rules are not in force; empty: they are, or need not be."""

    def close(self) -> None:
        self.devices.close()
        if self._sealing is not None:
            self._sealing.close()

    def found(self) -> list[tuple[PeerName, DesiredVxlan]]:
        """What a predecessor left running, as desired ports: the engine adopts it."""
        adopted = []
        for peer, link in self.devices.observe().vxlans.items():
            if link.udp_port != self._udp_port or link.port is None or not link.up:
                continue
            remote = None
            if len(link.remotes) == 1 and link.local is not None:
                (to,) = link.remotes
                remote = FastRemote(link.local, to.host, to.udp_port, to.vni)
                if self._sealing is not None:
                    remote = self._sealing.adopted(remote)
                elif not self._permits_clear(to.host):
                    continue  # the rules would not let it be made
            through = link.through and remote is not None
            adopted.append((peer, DesiredVxlan(link.vni, link.ipv6, remote, through)))
        return adopted

    def reconcile(
        self, desired_ports: Wishes, about: Collection[PeerName] | None, now: float
    ) -> Round:
        """Look at `about` (None: all devices of ours), and make them as wished.

        A peer whose change is refused does not keep others from theirs. While the rules about
        who may send VXLAN are not in force there are no VXLAN devices: the TAPs are the ports.
        """
        untold = self._look_around(about is None)
        refused: dict[PeerName, str] = {}
        if self._unguarded:
            refused = {
                peer: self._unguarded
                for peer, desired in desired_ports.items()
                if desired is not None
            }
            desired_ports, about = dict.fromkeys(desired_ports), None
        installed: dict[PeerName, int] = {}
        remotes = _remotes(desired_ports)
        if self._sealing is not None:
            installed, refusals = self._sealing.protect(remotes, self.devices.observe(), now)
            untold += refusals
        change = self._change(desired_ports, about)
        failed, state = refused | change.failed, change.state
        if self._sealing is not None:
            untold += self._sealing.release(remotes, self.devices.observe(), now)
        ready = tuple(
            (peer, desired)
            for peer, desired in desired_ports.items()
            if desired is not None and peer not in failed and _does(state, peer, desired)
        )
        settled = frozenset(p for p in state.taps if p in desired_ports and p not in change.useless)
        outcome = PortsOutcome(
            ready, tuple(failed.items()), tuple(sorted(change.taken)), tuple(installed.items())
        )
        crowded = about is None and self._is_crowded()
        return Round(outcome, tuple(change.done), tuple(untold), settled, crowded)

    def move(
        self,
        desired_ports: Wishes,
        udp_port: int,
        sealing: Keeper | None,
        guard: Guard | None,
        now: float,
    ) -> None:
        """Have the VXLAN devices listen at another port (0: there are none any more), with what
        protects them there, which is ours now. Until the next `reconcile` frames take the TAPs.
        HostError: some are still where they were; nothing else has changed."""
        self.reconcile(dict.fromkeys(desired_ports), None, now)
        self.remove_all()  # the new rules no longer protect the old port
        if self._sealing is not None:
            self._sealing.close()
        self._udp_port, self._sealing, self._guard = udp_port, sealing, guard
        self._unguarded = ""
        if guard is not None:
            try:
                guard.apply()
            except HostError as error:  # tried again by `reconcile`, which makes no device before
                self._unguarded = str(error)

    def remove_all(self) -> None:
        """Remove every trace of the fast datapath of this bridge. What cannot be removed keeps
        nothing else, but for what protects it: HostError says what that is."""
        self.devices.remove_strays()
        change = self._attempt({}, None)
        if change.failed:
            raise HostError("; ".join(change.failed.values()))
        if self._sealing is not None:
            self._sealing.remove_all(self.devices.remotes_of_others())

    @property
    def udp_port(self) -> int:
        """Of our VXLAN devices; 0: there are none."""
        return self._udp_port

    def next_deadline(self) -> float | None:
        """When to call again though nothing has happened."""
        return None if self._sealing is None else self._sealing.next_deadline()

    # --- inside --------------------------------------------------------------------------

    def _is_crowded(self) -> bool:
        try:
            return bool(self._udp_port) and self._udp_port in self.devices.foreign_ports()
        except HostError:
            return False  # what cannot be looked at now is looked at again

    def _look_around(self, everywhere: bool) -> list[str]:
        """Put right what is no peer's port. One sentence for each thing that was done, or could
        not be: that keeps no port from being looked after."""
        said = []
        if self._guard is not None and (everywhere or self._unguarded):
            try:
                if self._guard.restore():
                    said.append("the rules that keep strangers' VXLAN out were gone: they are back")
                self._unguarded = ""
            except HostError as error:
                if self._unguarded != str(error):
                    said.append(f"no fast paths until strangers' VXLAN can be kept out: {error}")
                self._unguarded = str(error)
        if not everywhere:
            return said
        try:
            for name in self.devices.remove_strays():
                said.append(f"VXLAN device {name} was ours before it was renamed: deleted")
        except HostError as error:
            said.append(str(error))
        return said

    def _change(self, desired_ports: Wishes, about: Collection[PeerName] | None) -> _Change:
        change = self._attempt(desired_ports, about)
        change.useless = set(change.failed)
        stranded = {p: None for p in change.failed if desired_ports.get(p) is not None}
        if stranded:
            # No VXLAN device for them: then the TAP is the port, or they would have none.
            more = self._attempt(stranded, stranded.keys())
            change.done += more.done
            change.useless -= stranded.keys() - more.failed.keys()
            change.state = self.devices.observe(about)
        return change

    def _attempt(self, desired_ports: Wishes, about: Collection[PeerName] | None) -> _Change:
        change = _Change(self.devices.observe(about))
        for _ in range(ROUNDS):
            steps = self._steps(desired_ports, about, change.state)
            steps = [step for step in steps if step.peer not in change.failed]
            if not steps:
                break
            for step in steps:
                if step.peer in change.failed:
                    continue
                try:
                    self.devices.apply(step)
                    change.done.append(step)
                except HostError as error:
                    change.refuse(step.peer, error)
            change.state = self.devices.observe(about)
        return change

    def _steps(
        self, desired_ports: Wishes, about: Collection[PeerName] | None, state: KernelState
    ) -> list[Operation]:
        concerned = [
            DesiredPort(peer, desired)
            for peer, desired in desired_ports.items()
            if about is None or peer in about
        ]
        wanted = plan(self._bridge, self._mtu, self._udp_port, concerned, state)
        return diff.diff(wanted, state)


def _remotes(desired_ports: Wishes) -> dict[PeerName, FastRemote]:
    return {
        peer: desired.remote
        for peer, desired in desired_ports.items()
        if desired is not None and desired.remote is not None
    }


def _does(state: KernelState, peer: PeerName, desired: DesiredVxlan) -> bool:
    """Whether the kernel does what is desired. (As to its keys: see `installed`.)"""
    link = state.vxlans.get(peer)
    if link is None or not link.up or link.port is None or not link.guarded:
        return False
    if (link.vni, link.ipv6) != (desired.vni, desired.ipv6):
        return False
    if desired.remote is None or not is_usable(desired.remote, desired.ipv6):
        return not link.remotes
    to = desired.remote
    there = [(str(ip_address(r.host)), r.udp_port, r.vni) for r in link.remotes]
    if there != [(str(ip_address(to.host)), to.udp_port, to.vni)]:
        return False
    return link.through if desired.through else link.diverted
