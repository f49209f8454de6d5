"""Are the kernel's counters of the right devices read, and the right columns?"""

from __future__ import annotations

from fastdp.kernel import counters
from fastdp.plan.state import Device
from weave_py.model.fast import Carried
from weave_py.model.names import PeerName

ONE, TWO = PeerName(b"\x02\x00\x00\x00\x00\x01"), PeerName(b"\x02\x00\x00\x00\x00\x02")
TEXT = f"""\
Inter-|   Receive                                                |  Transmit
 face |bytes    packets errs drop fifo frame compressed multicast|bytes    packets errs drop
    lo:    1000      10    0    0    0     0          0         0     1000      10    0    0 0 0 0 0
{Device.VXLAN.ifname(ONE)}: 8400  84  0 0 0 0 0 0  9900  99  0 0 0 0 0 0
{Device.VXLAN.ifname(TWO)}:18446744073709551615 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15
{Device.TAP.ifname(ONE)}: 1 2 0 0 0 0 0 0 3 4 0 0 0 0 0 0
"""


def test_only_vxlan_devices_of_those_asked_about_count() -> None:
    assert counters.parse(TEXT, {ONE}) == {ONE: Carried(99, 84, 9900, 8400)}


def test_a_large_number_leaves_no_space_after_the_name() -> None:
    found = counters.parse(TEXT, {TWO})
    assert found == {TWO: Carried(9, 1, 8, 2**64 - 1)}


def test_devices_that_are_gone_are_left_out() -> None:
    assert counters.parse(TEXT, {PeerName(b"\x02\x00\x00\x00\x00\x03")}) == {}
    assert counters.read({ONE}) == {}  # of this host, which has no such device
