"""Does the kernel tell us at once when this host's addresses change?"""

from __future__ import annotations

import select

from tests.kit.inside import inside
from tests.netns.conftest import MakeLab
from weave_py.host.underlay_watch import UnderlayWatch


def test_addresses_that_come_and_go(make_lab: MakeLab) -> None:
    lab = make_lab("full", 3)
    with inside(lab, "h1", UnderlayWatch) as watch:

        def is_told(seconds: float) -> bool:
            told = bool(select.select([watch.sock], [], [], seconds)[0])
            watch.drain()
            return told

        assert not is_told(0)
        for action in ("add", "del"):
            for address in ("10.99.1.77/24", "fd00::77/64"):
                lab.exec("h1", ["ip", "addr", action, address, "dev", "lan1"])
                assert is_told(5)
        lab.exec("h2", ["ip", "addr", "add", "10.99.1.78/24", "dev", "lan1"])
        assert not is_told(0.1), "another host's"
