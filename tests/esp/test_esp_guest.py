"""Does no frame ever cross in clear, on a real kernel, whatever happens to states and keys?"""

from __future__ import annotations

import socket
import struct
import threading
import time
from collections.abc import Callable
from ipaddress import ip_network

import pytest

from fastdp.esp.desired import EspNetwork, is_sealed, plan
from fastdp.esp.values import AddPolicy, AddState, DeleteState, Rule, UpdatePolicy
from tests.esp.esp_pair import DEVICE, INNER, PORTS, VNIS, EspPair
from tests.kit.inside import inside, udp_socket
from tests.kit.wiretap import Seen, Wiretap, datagrams, packet_of
from weave_py.lab.namespaces import Lab
from weave_py.model.errors import HostError

MakePair = Callable[..., EspPair]
ESP = 50
SECRET = b"what nobody on the wire may read"


def underlay(lab: Lab, host: str) -> str:
    """The host's interface on the wire."""
    return lab.topology.device(host, lab.topology.wires_of(host)[0])


def esp_packets(seen: list[Seen]) -> int:
    packets = [packet_of(one.frame) for one in seen]
    return sum(packet is not None and packet.protocol == ESP for packet in packets)


def in_clear(seen: list[Seen]) -> int:
    return len(datagrams(seen, PORTS["h1"])) + len(datagrams(seen, PORTS["h2"]))


def pattern() -> str:
    """16 bytes are all that ping takes."""
    return SECRET[:16].hex()


def listen(lab: Lab, host: str) -> socket.socket:
    """Hears what an injector's frames say when they come out of the VXLAN device."""

    def make() -> socket.socket:
        sock = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(0x88B6))
        sock.bind((DEVICE, 0x88B6))
        sock.settimeout(1.0)
        return sock

    return inside(lab, host, make)


def inject(lab: Lab, source: str, pair: EspPair, target: str, text: bytes) -> bool:
    """Whether a frame in plain VXLAN with the right VNI gets through."""
    with listen(lab, target) as ears, udp_socket(lab, source) as mouth:
        mouth.sendto(pair.vxlan_packet(VNIS[target], text), (pair.address[target], PORTS[target]))
        try:
            return text in ears.recv(2048)
        except TimeoutError:
            return False


@pytest.mark.parametrize("ipv6", [False, True])
def test_only_esp_crosses_the_wire(make_pair: MakePair, lab: Lab, ipv6: bool) -> None:
    pair = make_pair(ipv6=ipv6)
    pair.new_epoch(1)
    pair.settle()
    with Wiretap(lab, "h2", underlay(lab, "h2")) as tap:
        assert pair.ping("-p", pattern())
        assert pair.ping("-p", pattern(), source="h2")
    assert esp_packets(tap.seen()) >= 12
    assert in_clear(tap.seen()) == 0
    assert tap.count(SECRET[:8]) == 0


def test_without_policies_it_does_cross_in_clear(make_pair: MakePair, lab: Lab) -> None:
    """Or the tests above and below would prove nothing."""
    pair = make_pair()
    with Wiretap(lab, "h2", underlay(lab, "h2")) as tap:
        assert pair.ping("-p", pattern())
    assert in_clear(tap.seen()) >= 6
    assert tap.count(SECRET[:8]) > 0
    assert inject(lab, "h3", pair, "h2", b"let me in")


def test_nothing_leaves_before_the_first_key(make_pair: MakePair, lab: Lab) -> None:
    pair = make_pair()
    pair.step("h1")
    with Wiretap(lab, "h1", underlay(lab, "h1")) as tap:
        assert not pair.ping()
    sent = [one for one in tap.seen() if one.outgoing]
    assert in_clear(sent) == esp_packets(sent) == 0


@pytest.mark.parametrize("ipv6", [False, True])
def test_a_policy_catches_a_flow_that_is_under_way(
    make_pair: MakePair, lab: Lab, ipv6: bool
) -> None:
    """The device caches its route; the policy must still count for the next packet."""
    pair = make_pair(ipv6=ipv6)
    assert pair.ping()
    pair.step("h1")
    with Wiretap(lab, "h1", underlay(lab, "h1")) as tap:
        assert not pair.ping()
    assert in_clear([one for one in tap.seen() if one.outgoing]) == 0


def test_a_deleted_state_stops_and_says_nothing_in_clear(make_pair: MakePair, lab: Lab) -> None:
    pair = make_pair()
    pair.new_epoch(1)
    pair.settle()
    assert pair.ping()
    lab.exec("h1", ["ip", "xfrm", "state", "flush"])
    assert not is_sealed(pair.remotes["h1"], pair.tables("h1"))
    with Wiretap(lab, "h1", underlay(lab, "h1")) as tap:
        assert not pair.ping()
    assert in_clear(tap.seen()) == 0
    assert not [one for one in tap.seen() if one.outgoing and esp_packets([one])]


def test_a_deleted_state_comes_back_only_with_a_new_key(make_pair: MakePair, lab: Lab) -> None:
    pair = make_pair()
    pair.new_epoch(1)
    pair.settle()
    lab.exec("h1", ["ip", "xfrm", "state", "flush"])
    pair.settle()
    assert not pair.tables("h1").states
    assert not pair.ping()
    pair.new_epoch(2)
    pair.settle()
    assert pair.ping()


@pytest.mark.parametrize("source", ["h1", "h3"])
def test_plain_vxlan_is_dropped_whoever_sends_it(
    make_pair: MakePair, lab: Lab, source: str
) -> None:
    pair = make_pair()
    assert inject(lab, source, pair, "h2", b"before the policies")
    pair.new_epoch(1)
    pair.step("h2")  # h1 has no policy: it plays a peer that sends in clear
    assert not inject(lab, source, pair, "h2", b"with the right VNI")


def test_trusted_subnets_may_be_plain(make_pair: MakePair, lab: Lab) -> None:
    pair = make_pair()
    subnet = ip_network(f"{pair.address['h1']}/32")
    for host in INNER:
        pair.networks[host] = EspNetwork(PORTS[host], True, (subnet,))
    pair.step("h2")
    assert inject(lab, "h1", pair, "h2", b"from a trusted subnet")
    assert not inject(lab, "h3", pair, "h2", b"from elsewhere")
    pair.new_epoch(1)
    pair.settle()
    assert pair.ping(), "sealed passes from there, too"


def test_our_key_opens_nothing_but_vxlan(make_pair: MakePair, lab: Lab) -> None:
    """A member cannot make other packets look trustworthy to an IPsec firewall rule."""
    pair = make_pair()
    pair.new_epoch(1)
    pair.settle()
    desired = pair.remotes["h1"].esp
    assert desired is not None
    assert desired.outbound is not None
    out, peer = desired.outbound, pair.address["h2"]
    lab.exec("h1", ["ip", "xfrm", "policy", "flush"])
    lab.exec("h1", ["ip", "xfrm", "state", "flush"])
    ends = f"src {pair.address['h1']} dst {peer}"
    for line in (
        f"state add {ends} proto esp spi {out.spi} reqid 5 mode transport replay-window 128 "
        f"flag esn aead rfc4106(gcm(aes)) 0x{out.key.hex()} 128",
        f"policy add {ends} proto udp dir out tmpl proto esp spi {out.spi} reqid 5 mode transport",
    ):
        lab.exec("h1", ["ip", "xfrm", *line.split()])
    with (
        udp_socket(lab, "h2", port=6783) as sleeve,
        udp_socket(lab, "h1") as client,
        listen(lab, "h2") as ears,
        Wiretap(lab, "h2", underlay(lab, "h2")) as tap,
    ):
        # The state is new, its sequence numbers are not: the first ones were seen before.
        for _ in range(100):
            client.sendto(pair.vxlan_packet(VNIS["h2"], b"sealed"), (peer, PORTS["h2"]))
        assert b"sealed" in ears.recv(2048)
        client.sendto(b"sealed, too", (peer, 6783))
        sleeve.settimeout(1.0)
        with pytest.raises(TimeoutError):
            sleeve.recv(100)
    assert esp_packets([one for one in tap.seen() if not one.outgoing]) > 100


def test_other_traffic_between_the_peers_is_left_alone(make_pair: MakePair, lab: Lab) -> None:
    pair = make_pair()
    pair.new_epoch(1)
    pair.settle()
    target = pair.address["h2"]
    with (
        udp_socket(lab, "h2", port=6783) as sleeve,
        udp_socket(lab, "h1") as client,
        Wiretap(lab, "h2", underlay(lab, "h2")) as tap,
    ):
        client.sendto(b"a sleeve datagram", (target, 6783))
        assert sleeve.recv(100) == b"a sleeve datagram"
        assert lab.exec("h1", ["ping", "-c1", "-W2", target], check=False).returncode == 0
    assert len(datagrams(tap.seen(), 6783)) == 1
    assert esp_packets(tap.seen()) == 0


@pytest.mark.parametrize(("ipv6", "largest"), [(False, 1416), (True, 1396)])
def test_room_for_a_packet(make_pair: MakePair, ipv6: bool, largest: int) -> None:
    pair = make_pair(ipv6=ipv6)
    pair.new_epoch(1)
    pair.settle()
    assert pair.ping("-M", "do", "-s", str(largest - 28))
    assert not pair.ping("-M", "do", "-s", str(largest - 28 + 1))


def test_a_restarted_router_adopts_and_swaps(make_pair: MakePair, lab: Lab) -> None:
    pair = make_pair()
    pair.new_epoch(1)
    pair.settle()
    first = pair.tables("h1")
    # Both routers were killed; the kernels go on. New ones know no keys of before.
    for host in INNER:
        pair.keepers[host] = type(pair.keepers[host])()
        pair.epochs[host] = []
    pair.settle()
    pair.now += 100.0
    pair.settle()
    assert pair.tables("h1") == first
    assert pair.ping()
    pair.new_epoch(2)
    pair.settle()
    assert pair.ping()
    pair.settle()
    pair.now += 100.0
    pair.settle()
    assert len(pair.tables("h1").states) == 2
    assert not pair.tables("h1").states & first.states
    assert pair.ping()


class Stream(threading.Thread):
    """Numbered datagrams at a steady rate, one way."""

    def __init__(self, lab: Lab, source: str, target: str, rate: float) -> None:
        super().__init__()
        self._inbox = udp_socket(lab, target, INNER[target], 7000)
        self._inbox.setsockopt(socket.SOL_SOCKET, 33, 4 << 20)  # SO_RCVBUFFORCE
        self._outbox = udp_socket(lab, source, INNER[source])
        self._target, self._gap = (INNER[target], 7000), 1 / rate
        self._ended = threading.Event()
        self.sent, self.refused = 0, 0
        self.seconds = 0.0

    def run(self) -> None:
        begin = due = time.monotonic()
        while not self._ended.is_set():
            try:
                self._outbox.sendto(struct.pack("!I", self.sent) + SECRET, self._target)
            except OSError:
                self.refused += 1
            self.sent += 1
            due += self._gap
            time.sleep(max(0.0, due - time.monotonic()))
        self.seconds = time.monotonic() - begin

    def finish(self) -> list[int]:
        """The numbers that arrived, in order."""
        self._ended.set()
        self.join()
        self._inbox.settimeout(1.0)
        numbers = []
        try:
            while True:
                numbers.append(struct.unpack_from("!I", self._inbox.recv(100))[0])
        except TimeoutError:
            return numbers
        finally:
            self._inbox.close()
            self._outbox.close()


def test_rekeying_under_load_loses_nothing(make_pair: MakePair, lab: Lab) -> None:
    pair = make_pair()
    pair.new_epoch(1)
    pair.settle()
    assert pair.ping()
    stream = Stream(lab, "h1", "h2", 300.0)
    with Wiretap(lab, "h2", underlay(lab, "h2")) as tap:
        stream.start()
        for number in range(2, 8):
            time.sleep(0.5)
            pair.new_epoch(number)
            pair.settle()
            time.sleep(0.5)
            pair.forget_previous()
        numbers = stream.finish()
    print(f"sent {stream.sent} in {stream.seconds:.1f} s, arrived {len(numbers)}")
    assert stream.refused == 0
    assert len(set(numbers)) == len(numbers), "some came twice"
    assert set(numbers) == set(range(stream.sent)), "some were lost"
    assert stream.sent > 100 * stream.seconds
    spis = {one.frame[34:38] for one in tap.seen() if not one.outgoing and esp_packets([one])}
    assert len(spis) == 7, "the stream did not see every key"
    assert in_clear(tap.seen()) == 0
    assert tap.count(SECRET) == 0
    assert len(pair.tables("h1").states) == 2


def test_iproute2_sees_what_it_would_have_made(make_pair: MakePair, lab: Lab) -> None:
    """The same state and policies by `ip xfrm` read back as ours do."""
    pair = make_pair()
    pair.new_epoch(1)
    pair.settle()
    ours = pair.tables("h1")
    states = settings(lab)
    policies = lab.exec("h1", ["ip", "xfrm", "policy"]).stdout
    assert policies.count("mode transport") == 3
    desired = pair.remotes["h1"].esp
    assert desired is not None
    keys = {key.spi: key.key for key in (*desired.inbound, desired.outbound) if key}
    lab.exec("h1", ["ip", "xfrm", "state", "flush"])
    for state in ours.states:
        line = (
            f"xfrm state add src {state.source} dst {state.destination} proto esp "
            f"spi {state.spi} reqid {state.reqid} mode transport replay-window 128 flag esn "
            f"aead rfc4106(gcm(aes)) 0x{keys[state.spi].hex()} 128 "
            f"sel src 0.0.0.0/0 dst 0.0.0.0/0 proto udp dport {state.port} "
            f"limit packet-hard 4294967296"
        )
        lab.exec("h1", ["ip", *line.split()])
    assert settings(lab) == states
    assert len(states) > 10
    assert pair.tables("h1") == ours


def settings(lab: Lab) -> list[str]:
    """What `ip` says of the host's states, but for what changes as they are used."""
    text = lab.exec("h1", ["ip", "-s", "xfrm", "state"]).stdout
    changing = ("add 20", "lastused", "bytes), ", "seq-hi", "replay-window 0 replay 0", "00000")
    lines = [line.strip() for line in text.splitlines()]
    return sorted(line for line in lines if not any(word in line for word in changing))


def test_others_states_and_policies_survive_us(make_pair: MakePair, lab: Lab) -> None:
    foreign = (
        "state add src 198.51.100.1 dst 198.51.100.2 proto esp spi 0x777 reqid 7 mode transport "
        f"aead rfc4106(gcm(aes)) 0x{'11' * 36} 128",
        "policy add src 198.51.100.1 dst 198.51.100.2 dir out tmpl src 198.51.100.1 "
        "dst 198.51.100.2 proto esp reqid 7 mode tunnel",
        "policy add src 0.0.0.0/0 dst 203.0.113.0/24 proto udp dport 4790 dir out action block",
    )
    for line in foreign:
        lab.exec("h1", ["ip", "xfrm", *line.split()])
    pair = make_pair()
    pair.new_epoch(1)
    pair.settle()
    pair.close()
    tables = pair.tables("h1")
    assert not tables.states
    assert not tables.policies
    assert lab.exec("h1", ["ip", "xfrm", "state"]).stdout.count("reqid 7 ") == 1
    assert lab.exec("h1", ["ip", "xfrm", "policy"]).stdout.count("priority") == 2


def test_a_strangers_policy_is_not_overwritten(make_pair: MakePair, lab: Lab) -> None:
    pair = make_pair()
    there = f"policy add src 0.0.0.0/0 dst {pair.address['h2']}/32 proto udp dport 4790 dir out"
    lab.exec("h1", ["ip", "xfrm", *there.split()])
    with pytest.raises(HostError, match="another program has one there"):
        pair.step("h1")


def test_what_the_kernel_took_reads_back_equal(make_pair: MakePair, lab: Lab) -> None:
    pair = make_pair(ipv6=True)
    pair.new_epoch(1)
    done = pair.step("h1")
    pair.tell("h2")
    pair.step("h2")
    pair.tell("h1")
    done += pair.step("h1")
    tables = pair.tables("h1")
    assert tables.states == {step.state for step in done if isinstance(step, AddState)}
    policies = [step.policy for step in done if isinstance(step, (AddPolicy, UpdatePolicy))]
    assert {policy.rule for policy in policies} == {Rule.SEALED, Rule.NOTHING}
    assert tables.policies == set({p.selector: p for p in policies}.values())
    for state in tables.states:
        pair.do("h1", lambda xfrm, gone=state: xfrm.apply(DeleteState(gone)))  # type: ignore[misc]
        pair.do("h1", lambda xfrm, gone=state: xfrm.apply(DeleteState(gone)))  # type: ignore[misc]
    assert not pair.tables("h1").states


def test_what_the_loopback_device_brings_is_not_ours_to_drop(make_pair: MakePair, lab: Lab) -> None:
    """A limit that the module documents: if the kernel closes it one day, this says so."""
    pair = make_pair()
    pair.step("h2")
    assert inject(lab, "h2", pair, "h2", b"from a process of the host itself")
    assert plan(pair.networks["h2"], {}).entrances
