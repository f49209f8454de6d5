"""Does every peer have its port on the bridge? Wished and actual devices, brought together.

The TAPs are ours: opened here, carried by the data plane, gone with us. Everything else about a
port (its settings, and the VXLAN device that lets the kernel carry frames) is
`fastdp.reconciler`'s, which runs in the host thread whenever the engine wants something else or the
kernel says that somebody changed something.
"""

from __future__ import annotations

import logging
import socket
from collections.abc import Awaitable, Callable, Collection, Iterable, Mapping

import trio

from fastdp import descriptions
from fastdp.kernel import rule_events
from fastdp.kernel.events import RECEIVE_BYTES, concerned
from fastdp.plan.operations import Operation
from fastdp.plan.state import Device
from fastdp.reconciler import Reconciler, Round
from weave_py.datapath.datapath import Datapath
from weave_py.host.tap import Tap, open_tap
from weave_py.loop.host_thread import HostThread
from weave_py.model.errors import HostError
from weave_py.model.fast import DesiredPort, DesiredVxlan, PortsOutcome
from weave_py.model.names import PeerName
from weave_py.observe.log import event

RETRY_SECONDS = 5.0
# Whoever changes something changes several things: they are looked at together.
GATHER_SECONDS = 0.05
MOST_EVENTS = 1000  # in a row, before others have their turn
LOOK_SECONDS = 30.0  # between looks at everything, in case an event was missed
LEAST_SECONDS = 0.1

MakeRoom = Callable[[Mapping[PeerName, DesiredVxlan | None], Collection[int]], Awaitable[bool]]
"""Whether the ports are to be looked at anew."""

_log = logging.getLogger(__name__)


class PeerPorts:
    """Makes ports as wished. `add`, `want` and `remove` never block."""

    def __init__(
        self,
        host: HostThread,
        reconciler: Reconciler,
        bridge: str,
        on_outcome: Callable[[PortsOutcome], None],
        restore_bridge: Callable[[], bool] = lambda: False,
        open_port: Callable[[str], Tap] = open_tap,
        make_room: MakeRoom | None = None,
    ) -> None:
        """`restore_bridge` makes the bridge again if it is gone (whether it was); `open_port`
        opens the TAP of that name. Both in the host thread. `make_room` is to move our VXLAN
        devices away from a UDP port that others' have, too; it is told the wishes, and those
        others' UDP ports."""
        self._host = host
        self._reconciler = reconciler
        self._bridge = bridge
        self._on_outcome = on_outcome
        self._restore_bridge = restore_bridge
        self._open_port = open_port
        self._make_room = make_room
        self._foreign: set[int] = set()
        """UDP ports of others' VXLAN devices, as far as events told."""
        self._peers: set[PeerName] = set()
        """Who is to have a TAP."""
        self._desired: dict[PeerName, DesiredVxlan | None] = {}
        self._plugged: set[PeerName] = set()
        self._fresh: dict[PeerName, Tap] = {}
        """Opened, but not ready for the data plane yet."""
        self._dirty: set[PeerName] = set()
        self._look_at_all = True
        self._look_at = float("-inf")
        """When to look at everything again."""
        self._at_rest: set[PeerName] = set()
        """Whose port has been as wished: what differs from now on is somebody else's doing."""
        self._complaints: dict[PeerName, str] = {}
        """What was logged last of ports that are not as wished."""
        self._wake = trio.Event()

    def add(self, peer: PeerName) -> None:
        self._peers.add(peer)
        self._touch(peer, self._desired.get(peer))

    def want(self, desired: DesiredPort) -> None:
        self._touch(desired.peer, desired.fast)

    def remove(self, peer: PeerName) -> None:
        """The TAP itself vanishes when the data plane closes it."""
        for known in (self._peers, self._plugged, self._at_rest):
            known.discard(peer)
        self._desired.pop(peer, None)
        self._complaints.pop(peer, None)
        self._mark(peer)

    def lost(self, peer: PeerName) -> None:
        """The data plane has lost the peer's TAP."""
        event(_log, logging.WARNING, "port deleted by somebody else", peer=peer.hex(":"))
        self._plugged.discard(peer)
        self._mark(peer)

    async def run(
        self, datapath: Datapath, events: socket.socket, rules: socket.socket | None = None
    ) -> None:
        """Until cancelled. `events`: from fastdp.kernel.events.open_events; `rules`: from
        fastdp.kernel.rule_events.open_events, if there are any to look after."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._watch, events)
            if rules is not None:
                nursery.start_soon(self._watch_rules, rules)
            try:
                while True:
                    pause = await self._bring_together(datapath)
                    with trio.move_on_at(min(trio.current_time() + pause, self._look_at)):
                        await self._wake.wait()
                    self._look_at_all |= trio.current_time() >= self._look_at
            finally:
                for tap in self._fresh.values():
                    tap.close()

    async def remove_all(self) -> bool:
        """Every trace, at the end. The TAPs are closed already. False if something is left, which
        must stay protected."""
        try:
            await self._host.run(self._reconciler.remove_all)
        except HostError as error:
            event(_log, logging.WARNING, "ports not removed", error=error)
            return False
        return True

    # --- inside --------------------------------------------------------------------------

    def _touch(self, peer: PeerName, desired: DesiredVxlan | None) -> None:
        self._desired[peer] = desired
        self._at_rest.discard(peer)
        self._mark(peer)

    def _mark(self, *peers: PeerName) -> None:
        self._dirty.update(peers)
        self._wake.set()

    async def _watch(self, events: socket.socket) -> None:
        """Whom the kernel's events are about is looked at anew."""
        while True:
            await trio.lowlevel.wait_readable(events)
            # Not one by one: a bridge tells of every MAC that it learns, and we of all we change.
            await trio.sleep(GATHER_SECONDS)
            for _ in range(MOST_EVENTS):
                try:
                    data = events.recv(RECEIVE_BYTES)
                except BlockingIOError:
                    break
                except OSError:  # more than the socket holds: something has been missed
                    self._look_at_all = True
                    self._mark()
                    continue
                about = concerned(data, self._bridge, self._reconciler.devices.owners)
                if about:
                    news = about.foreign_ports - self._foreign
                    self._foreign |= news
                    self._look_at_all |= about.bridge or bool(news)
                    self._mark(*about.peers)

    async def _watch_rules(self, rules: socket.socket) -> None:
        """Who has taken our rules away has opened the door: nothing is waited for."""
        while True:
            await trio.lowlevel.wait_readable(rules)
            if rule_events.ours_changed(rules, self._bridge):
                self._look_at_all = True
                self._mark()
            await trio.sleep(GATHER_SECONDS)  # others may change theirs all the time

    async def _bring_together(self, datapath: Datapath) -> float:
        """One round; how long the next one may wait."""
        self._wake = trio.Event()
        look_at_all, self._look_at_all = self._look_at_all, False
        about, self._dirty = self._dirty, set()
        if look_at_all:
            self._look_at = trio.current_time() + LOOK_SECONDS
        closed = await self._open_taps(self._peers if look_at_all else about)
        desired_ports = dict(self._desired)
        try:
            if look_at_all and await self._host.run(self._restore_bridge):
                what = "bridge was deleted by somebody else, and is made again: attach containers"
                event(_log, logging.WARNING, f"{what} to it anew", bridge=self._bridge)
            done = await self._host.run(
                self._reconciler.reconcile,
                desired_ports,
                None if look_at_all else about,
                trio.current_time(),
            )
        except HostError as error:
            event(_log, logging.ERROR, "cannot look after the ports", error=error)
            self._look_at_all = True
            return RETRY_SECONDS
        failed = dict(done.outcome.failed) | closed
        self._plug(done, datapath)
        self._log(done, failed)
        looked = self._peers & (desired_ports.keys() if look_at_all else about)
        self._miss(looked - done.settled - failed.keys(), datapath)
        same = {
            p for p in done.settled if p in self._desired and self._desired[p] == desired_ports[p]
        }
        self._at_rest |= same - failed.keys()
        if done.outcome != PortsOutcome():
            self._on_outcome(done.outcome)
        if self._make_room is not None and look_at_all:
            crowded = done.crowded or self._reconciler.udp_port in self._foreign
            if crowded and await self._make_room(dict(self._desired), self._foreign):
                self._look_at_all = True
                return LEAST_SECONDS
        if failed:
            self._dirty |= failed.keys()
            return RETRY_SECONDS
        due = self._reconciler.next_deadline()
        if due is None:
            return LOOK_SECONDS
        return max(LEAST_SECONDS, min(LOOK_SECONDS, due - trio.current_time()))

    async def _open_taps(self, about: Iterable[PeerName]) -> dict[PeerName, str]:
        """Open those that are missing; why some could not be."""
        failed = {}
        for peer in [p for p in about if p in self._peers]:
            if peer in self._plugged or peer in self._fresh:
                continue
            try:
                self._fresh[peer] = await self._host.run(self._open_port, Device.TAP.ifname(peer))
            except HostError as error:
                failed[peer] = str(error)
        return failed

    def _miss(self, peers: Iterable[PeerName], datapath: Datapath) -> None:
        """Their TAPs are not where they were: somebody renamed or moved them, or deleted them
        before they were plugged."""
        for peer in peers:
            fresh = self._fresh.pop(peer, None)
            if fresh is not None:
                fresh.close()
                self._mark(peer)
            elif peer in self._plugged:
                datapath.unplug(peer)
                self.lost(peer)

    def _plug(self, done: Round, datapath: Datapath) -> None:
        for peer in [p for p in self._fresh if p in done.settled or p not in self._peers]:
            tap = self._fresh.pop(peer)
            if peer in self._peers and datapath.plug(peer, tap):
                self._plugged.add(peer)
            else:
                tap.close()

    def _log(self, done: Round, failed: dict[PeerName, str]) -> None:
        for peer, reason in failed.items():
            if self._complaints.get(peer) != reason:
                self._complaints[peer] = reason
                event(_log, logging.ERROR, "port not as wanted", peer=peer.hex(":"), error=reason)
        for peer in done.settled - failed.keys():
            self._complaints.pop(peer, None)
        for text in done.untold:
            event(_log, logging.ERROR, "protection of the fast datapath", error=text)
        if done.done:
            event(_log, logging.DEBUG, "ports changed", steps=[repr(step) for step in done.done])
        repaired: dict[PeerName, list[Operation]] = {}
        for step in done.done:
            if step.peer in self._at_rest:
                repaired.setdefault(step.peer, []).append(step)
        for peer, steps in repaired.items():
            what = descriptions.done(steps)
            event(_log, logging.WARNING, "port repaired", peer=peer.hex(":"), done=what)
