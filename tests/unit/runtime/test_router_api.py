"""What users ask of a router reaches the engine, and what they see is the engine's."""

from __future__ import annotations

import random
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import pytest
import trio

from fastdp.plan.state import Device
from tests.kit.loops import TaskLoop
from weave_py.config.resolve import Config
from weave_py.crypto.identity import Identity
from weave_py.crypto.membership import Membership
from weave_py.datapath.datapath import Datapath
from weave_py.loop.host_thread import HostThread
from weave_py.model.abilities import Abilities
from weave_py.model.errors import HostError, StateError
from weave_py.model.names import PeerName, PeerUID
from weave_py.router.engine import Engine
from weave_py.runtime.firewall import HostFirewall
from weave_py.runtime.peer_ports import PeerPorts
from weave_py.runtime.pump import Pump
from weave_py.runtime.router_api import MOST_MACS, RouterControl

STRANGER = PeerName(b"\x02\x00\x00\x00\x00\x09")


class Silent:
    """Roads, ports: take everything."""

    def __getattr__(self, name: str) -> Callable[..., bool]:
        return lambda *_: True


class Host:
    def __init__(self) -> None:
        self.learned: list[tuple[str, str, float]] = []
        self.fails = False

    async def netlink(self, function: Callable[[Any], Any]) -> Any:
        if self.fails:
            raise HostError("no such bridge")
        return function(self)

    def macs(self, bridge: str, most: int) -> tuple[list[tuple[str, str, float]], int]:
        assert (bridge, most) == ("weave", MOST_MACS)
        return self.learned, 4448


class Kit:
    def __init__(self) -> None:
        dice = random.Random(1)
        self.engine = Engine(
            Identity.create(dice.randbytes),
            Membership.open_network(),
            uid=PeerUID(5),
            incarnation=1,
            nickname="h1",
            port=6783,
            suites=(1, 2),
            token_bytes=dice.randbytes,
            now=trio.current_time(),
        )
        self.saved: list[object] = []
        pump = Pump(
            self.engine, None, lambda name, value, kept: self.saved.append(value), TaskLoop()
        )
        pump.use(cast(Datapath, Silent()), cast(PeerPorts, Silent()))
        pump._nursery = cast(trio.Nursery, Silent())  # calls go nowhere
        self.host = Host()
        self.shutdown = trio.Event()
        config = Config(nickname="h1", state_dir=Path("/nowhere"))
        self.kept: list[tuple[str, ...]] = []
        self.trouble = ""
        host = cast(HostThread, self.host)
        self.control = RouterControl(
            config,
            pump,
            host,
            self.shutdown,
            self._keep,
            Abilities(),
            HostFirewall("weave", host),
        )
        self.pump = pump

    def last_kept(self) -> tuple[str, ...]:
        return self.kept[-1]

    async def _keep(self) -> str:
        await trio.lowlevel.checkpoint()
        value = self.saved[-1]
        assert isinstance(value, tuple)
        self.kept.append(value)
        return self.trouble


A, B, C, D = "192.0.2.1", "192.0.2.2:7000", "[2001:db8::3]:7000", "192.0.2.4"


class NoNames(trio.abc.HostnameResolver):
    async def getaddrinfo(self, host, port, family=0, type=0, proto=0, flags=0):  # type: ignore[no-untyped-def]
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    async def getnameinfo(self, sockaddr, flags):  # type: ignore[no-untyped-def]
        raise NotImplementedError


async def test_connect_takes_the_good_ones_and_names_the_bad() -> None:
    """(t04) A name that does not resolve now may do so later: it is said, and is a target."""
    trio.socket.set_custom_hostname_resolver(NoNames())
    kit = Kit()
    errors = await kit.control.connect([A, B, "c:", "::::", "nosuch"], replace=False)
    assert len(errors) == 3
    assert "c:" in errors[0]
    assert "cannot resolve 'nosuch': Name or service not known: check the name" in errors[-1]
    assert kit.last_kept() == kit.engine.targets.configured == (A, B, "nosuch")
    assert await kit.control.connect([C], replace=False) == []
    assert kit.last_kept() == (A, B, "nosuch", C)


async def test_connect_may_replace_but_not_by_a_mistake() -> None:
    """(t04) Whatever is wrong with one of the targets, the others go on."""
    trio.socket.set_custom_hostname_resolver(NoNames())
    kit = Kit()
    await kit.control.connect([A, B], replace=False)
    assert await kit.control.connect(["not a peer"], replace=True)
    assert kit.engine.targets.configured == (A, B)
    for wrong, kept in (("c:", [A, B, C]), ("typo", [A, B, C, "typo"])):
        errors = await kit.control.connect([C, wrong], replace=True)
        assert errors[-1] == "so nothing was replaced: the other targets stay"
        assert kit.last_kept() == kit.engine.targets.configured == tuple(kept)
    assert await kit.control.connect([D], replace=True) == []
    assert kit.last_kept() == (D,)
    assert await kit.control.connect([], replace=True) == []
    assert kit.last_kept() == ()


async def test_forget() -> None:
    kit = Kit()
    await kit.control.connect([A, B], replace=False)
    await kit.control.forget([A, "unknown"])
    assert kit.last_kept() == (B,)


async def test_what_is_done_but_cannot_be_kept_is_said() -> None:
    kit = Kit()
    kit.trouble = "the disk is full"
    (line,) = await kit.control.connect([A], replace=False)
    assert line == "done, but not kept for the next start: the disk is full"
    assert kit.engine.targets.configured == (A,)
    with pytest.raises(StateError, match="not kept for the next start: the disk is full"):
        await kit.control.forget([A])
    assert not kit.engine.targets.configured


async def test_stop_begins_the_end() -> None:
    kit = Kit()
    kit.control.stop()
    kit.control.stop()
    assert kit.shutdown.is_set()


async def test_the_snapshot_is_the_engines() -> None:
    kit = Kit()
    await kit.control.connect(["192.0.2.9"], replace=False)
    kit.pump.datapath = None
    view = kit.control.snapshot()
    assert view.name == kit.engine.name
    assert view.targets == ("192.0.2.9",)
    assert len(view.connections) == 1


async def test_macs_are_told_by_the_port_they_were_learned_at() -> None:
    kit = Kit()
    kit.host.learned = [
        ("aa:aa:aa:aa:aa:aa", "vethwe1", 1.5),
        ("bb:bb:bb:bb:bb:bb", Device.TAP.ifname(STRANGER), 2.5),
    ]
    extras = await kit.control.report_extras()
    assert [(m.mac, m.name, m.nickname, m.age) for m in extras.macs] == [
        ("aa:aa:aa:aa:aa:aa", kit.engine.name, "h1", 1.5),
        ("bb:bb:bb:bb:bb:bb", STRANGER, "", 2.5),
    ]
    assert extras.mac_count == 4448  # F6: whatever is listed
    assert not extras.ready
    kit.control.is_ready = True
    assert (await kit.control.report_extras()).ready


@pytest.mark.parametrize("fails", [False, True])
async def test_a_kernel_that_refuses_shows_less(fails: bool) -> None:
    kit = Kit()
    kit.host.learned = [("aa:aa:aa:aa:aa:aa", "vethwe1", 1.5)]
    kit.host.fails = fails
    assert len((await kit.control.report_extras()).macs) == (0 if fails else 1)
