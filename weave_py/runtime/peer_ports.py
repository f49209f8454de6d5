"""Does every peer have its port on the bridge? Wanted and actual TAPs, brought together."""

from __future__ import annotations

import logging
from collections.abc import Callable

import trio

from weave_py.host.tap import Tap, open_tap
from weave_py.model.errors import HostError
from weave_py.model.names import PeerName
from weave_py.observe.log import event
from weave_py.runtime.host_thread import HostThread

PREFIX = "wvt"
"""`wvt` and the 12 hex digits of a peer's name are just as long as a device's name may be."""

# 1,000 (the default) super-frames of 64 KiB would be seconds of standing queue.
TX_QUEUE_FRAMES = 64
RETRY_SECONDS = 5.0

_log = logging.getLogger(__name__)


def tap_name(peer: PeerName) -> str:
    return PREFIX + peer.hex()


def peer_of_tap(ifname: str) -> PeerName | None:
    """Whose TAP a device is, by its name; None if it is none of ours."""
    digits = ifname.removeprefix(PREFIX)
    if digits == ifname or len(digits) != 12:
        return None
    try:
        return PeerName(bytes.fromhex(digits))
    except ValueError:
        return None


class PeerPorts:
    """Makes a TAP for each wanted peer, one after the other. `add` and `remove` never block."""

    def __init__(self, host: HostThread, bridge: str, mtu: int) -> None:
        self._host = host
        self._bridge = bridge
        self._mtu = mtu
        self._wanted: dict[PeerName, bool] = {}
        """Peer → whether its TAP is there."""
        self._wake = trio.Event()

    def add(self, peer: PeerName) -> None:
        self._wanted[peer] = False
        self._wake.set()

    def remove(self, peer: PeerName) -> None:
        """The TAP itself vanishes when the road closes it."""
        self._wanted.pop(peer, None)

    async def run(self, on_plugged: Callable[[PeerName, Tap], bool]) -> None:
        """Until cancelled; `on_plugged` takes the TAP over, or returns False."""
        while True:
            missing = [peer for peer, is_there in self._wanted.items() if not is_there]
            failed = False
            for peer in missing:
                failed |= not await self._plug(peer, on_plugged)
            if failed:
                with trio.move_on_after(RETRY_SECONDS):
                    await self._wake.wait()
            elif all(self._wanted.values()):
                await self._wake.wait()
            self._wake = trio.Event()

    async def _plug(self, peer: PeerName, on_plugged: Callable[[PeerName, Tap], bool]) -> bool:
        try:
            tap = await self._host.run(open_tap, tap_name(peer))
        except HostError as error:
            event(_log, logging.ERROR, "no port for a peer", peer=peer.hex(":"), error=error)
            return False
        try:
            await self._host.netlink(
                lambda netlink: netlink.plug_port(
                    tap.name,
                    self._bridge,
                    mtu=self._mtu,
                    isolated=True,
                    txqueuelen=TX_QUEUE_FRAMES,
                )
            )
        except HostError as error:
            tap.close()
            event(_log, logging.ERROR, "no port for a peer", peer=peer.hex(":"), error=error)
            return False
        except BaseException:
            tap.close()
            raise
        if peer in self._wanted and on_plugged(peer, tap):
            self._wanted[peer] = True
        else:
            tap.close()
        return True
