"""Every wanted peer gets its TAP on the bridge, sooner or later, and no TAP is left behind."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

import pytest
import trio
import trio.testing

from weave_py.host.tap import Tap
from weave_py.model.errors import HostError
from weave_py.model.names import PeerName
from weave_py.runtime.host_thread import HostThread
from weave_py.runtime.peer_ports import PeerPorts, peer_of_tap, tap_name

ONE, TWO = PeerName(b"\x02\x00\x00\x00\x00\x01"), PeerName(b"\x02\x00\x00\x00\x00\x02")


class Device(Tap):
    """A TAP without a device."""

    def __init__(self, name: str) -> None:
        super().__init__(-1, name, frozenset())
        self.is_open = True

    def close(self) -> None:
        self.is_open = False


class Host:
    """The host thread: makes devices, and fails when told to."""

    def __init__(self) -> None:
        self.devices: list[Device] = []
        self.plugged: list[tuple[str, dict[str, Any]]] = []
        self.fail_open = self.fail_plug = 0
        self.gate = trio.Event()
        self.gate.set()

    async def run(self, function: Callable[..., Any], name: str) -> Device:
        await trio.lowlevel.checkpoint()
        if self.fail_open:
            self.fail_open -= 1
            raise HostError("no TAP today")
        device = Device(name)
        self.devices.append(device)
        return device

    async def netlink(self, function: Callable[[Any], Any]) -> None:
        await self.gate.wait()
        await trio.lowlevel.checkpoint()
        if self.fail_plug:
            self.fail_plug -= 1
            raise HostError("no bridge today")
        function(self)

    def plug_port(self, name: str, bridge: str, **settings: Any) -> None:
        self.plugged.append((f"{name}@{bridge}", settings))


class Kit:
    def __init__(self) -> None:
        self.host = Host()
        self.ports = PeerPorts(cast(HostThread, self.host), "weave", 1376)
        self.taken: dict[PeerName, Tap] = {}
        self.refuses = False

    def on_plugged(self, peer: PeerName, tap: Tap) -> bool:
        if not self.refuses:
            self.taken[peer] = tap
        return not self.refuses

    def open_devices(self) -> list[Device]:
        return [device for device in self.host.devices if device.is_open]


def test_names_of_taps() -> None:
    assert tap_name(ONE) == "wvt020000000001"
    assert len(tap_name(ONE)) == 15  # as long as the kernel allows
    assert peer_of_tap(tap_name(ONE)) == ONE
    for other in ("eth0", "wvt", "wvt02000000000", "wvt0200000000011", "wvtnothexdigits", "weave"):
        assert peer_of_tap(other) is None


async def test_every_peer_gets_an_isolated_port(autojump_clock: trio.testing.MockClock) -> None:
    kit = Kit()
    async with trio.open_nursery() as nursery:
        kit.ports.add(ONE)
        nursery.start_soon(kit.ports.run, kit.on_plugged)
        await trio.sleep(1)
        kit.ports.add(TWO)
        await trio.sleep(1)
        nursery.cancel_scope.cancel()
    assert set(kit.taken) == {ONE, TWO}
    assert [name for name, _ in kit.host.plugged] == [f"{tap_name(p)}@weave" for p in (ONE, TWO)]
    assert all(settings["isolated"] and settings["mtu"] == 1376 for _, settings in kit.host.plugged)
    assert len(kit.host.devices) == 2


@pytest.mark.parametrize("where", ["fail_open", "fail_plug"])
async def test_a_failure_is_tried_again_and_leaves_nothing(
    autojump_clock: trio.testing.MockClock, where: str
) -> None:
    kit = Kit()
    setattr(kit.host, where, 2)
    async with trio.open_nursery() as nursery:
        kit.ports.add(ONE)
        nursery.start_soon(kit.ports.run, kit.on_plugged)
        await trio.sleep(4.9)
        assert kit.taken == {}
        await trio.sleep(10)
        assert set(kit.taken) == {ONE}
        nursery.cancel_scope.cancel()
    assert len(kit.open_devices()) == 1


async def test_a_peer_that_goes_while_its_port_is_made(
    autojump_clock: trio.testing.MockClock,
) -> None:
    kit = Kit()
    kit.host.gate = trio.Event()
    async with trio.open_nursery() as nursery:
        kit.ports.add(ONE)
        nursery.start_soon(kit.ports.run, kit.on_plugged)
        await trio.sleep(1)
        kit.ports.remove(ONE)
        kit.host.gate.set()
        await trio.sleep(1)
        assert kit.taken == {}
        assert kit.open_devices() == []
        kit.ports.add(ONE)  # and it is back
        await trio.sleep(1)
        nursery.cancel_scope.cancel()
    assert set(kit.taken) == {ONE}


async def test_cancelled_while_a_port_is_made(autojump_clock: trio.testing.MockClock) -> None:
    kit = Kit()
    kit.host.gate = trio.Event()
    async with trio.open_nursery() as nursery:
        kit.ports.add(ONE)
        nursery.start_soon(kit.ports.run, kit.on_plugged)
        await trio.sleep(1)
        nursery.cancel_scope.cancel()
    assert len(kit.host.devices) == 1
    assert kit.open_devices() == []
