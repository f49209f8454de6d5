"""What can a container do to hosts and to its neighbours? (Findings F12 and t60.)

c1 and c1b are on h1, c2 is on h2.
"""

from __future__ import annotations

import socket
import subprocess
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from ipaddress import IPv4Address

import pytest

from tests.kit import container_frames as frames
from tests.kit.inside import inside, udp_socket
from tests.kit.routers import BRIDGE, started, wait_path
from tests.kit.waiting import until
from weave_py.lab.hosts import LaunchOptions
from weave_py.lab.mesh import LabMesh
from weave_py.lab.namespaces import Lab
from weave_py.lab.pings import ping
from weave_py.workloads.conflicts import find_conflict

H1, H2 = "10.99.1.1", "10.99.1.2"
THIRD = "10.32.0.77"
EXPOSED, EXPOSED_IPV6 = "10.32.0.101", "fd00:32::101"
LINK_LOCAL = {"h1": "fe80::71", "h2": "fe80::72"}
"""What somebody gives the bridge who wants it to have one."""
SERVICE = 2222
SILENCE_SECONDS = 0.4
RESTORED_SECONDS = 5.0


@pytest.fixture(scope="module", params=["sleeve", "fastdp"])
def pair(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[LabMesh]:
    options = LaunchOptions(fastdp=request.param == "fastdp")
    with started("full", 2, tmp_path_factory.mktemp("guard"), options) as mesh:
        lab = mesh.lab
        wait_path(mesh["h1"], "h2", "direct" if request.param == "sleeve" else "fastdp", 20)
        for number in "12":
            there = str(lab.path(f"c{number}"))
            mesh[f"h{number}"].cli("attach", f"fd00:32::{number}/64", there)
        subprocess.run(["ip", "netns", "add", lab.ns("c1b")], check=True)
        try:
            mesh["h1"].cli("attach", f"{THIRD}/24", str(lab.path("c1b")))
            lab.exec("c1b", ["ip", "link", "set", "lo", "up"])
            yield mesh
        finally:
            subprocess.run(["ip", "netns", "delete", lab.ns("c1b")], check=True)


def run(lab: Lab, name: str, command: str) -> str:
    return lab.exec(name, ["sh", "-c", command]).stdout


def link_local_of(lab: Lab, host: str) -> list[str]:
    found = run(lab, host, f"ip -6 -o addr show dev {BRIDGE} scope link")
    return [line.split()[3].partition("/")[0] for line in found.splitlines()]


@contextmanager
def services(lab: Lab, host: str) -> Iterator[None]:
    """As users have them: TCP on every address."""

    def make() -> socket.socket:
        return socket.create_server(
            ("::", SERVICE), family=socket.AF_INET6, dualstack_ipv6=True, backlog=16
        )

    with inside(lab, host, make):
        yield


def answers(lab: Lab, source: str, address: str, port: int) -> bool:
    """Whether somebody there says anything: a refusal is an answer."""

    def call() -> bool:
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        with socket.socket(family, socket.SOCK_STREAM) as sock:
            sock.settimeout(SILENCE_SECONDS)
            scope = (0, socket.if_nametoindex("ethwe")) if address.startswith("fe80") else ()
            try:
                sock.connect((address, port, *scope))
            except ConnectionRefusedError:
                return True
            except OSError:  # nobody there, no route
                return False
            return True

    return inside(lab, source, call)


def hears(sock: socket.socket) -> bool:
    sock.settimeout(SILENCE_SECONDS)
    try:
        sock.recv(2048)
    except TimeoutError:
        return False
    return True


@contextmanager
def link_local(lab: Lab, host: str) -> Iterator[None]:
    """The bridge has one all the same."""
    setting = f"/proc/sys/net/ipv6/conf/{BRIDGE}/disable_ipv6"
    run(lab, host, f"echo 0 > {setting}; ip addr add {LINK_LOCAL[host]}/64 dev {BRIDGE} nodad")
    try:
        yield
    finally:
        run(lab, host, f"ip addr del {LINK_LOCAL[host]}/64 dev {BRIDGE}; echo 1 > {setting}")


def test_a_host_that_is_not_exposed_has_no_address_in_the_overlay(pair: LabMesh) -> None:
    """t60: the kernel gave the bridge a link-local address, and who listens on :: was reached."""
    for host in ("h1", "h2"):
        assert link_local_of(pair.lab, host) == []
        assert run(pair.lab, host, f"ip -o addr show dev {BRIDGE}") == ""


@pytest.mark.parametrize("host", ["h1", "h2"])
def test_nothing_answers_at_a_link_local_address(pair: LabMesh, host: str) -> None:
    """F12, t60: ports 2222 (like SSH) and 6783 answered, to containers here and elsewhere."""
    lab = pair.lab
    with services(lab, host), link_local(lab, host):
        reached = {
            (source, port): answers(lab, source, LINK_LOCAL[host], port)
            for source in ("c1", "c2")
            for port in (SERVICE, 6783, 6784)
        }
    assert not any(reached.values()), reached


def test_no_container_reaches_an_underlay_address_by_the_bridge(pair: LabMesh) -> None:
    """F12: what was addressed to the bridge's MAC and the underlay's IP was taken."""
    lab = pair.lab
    bridge = frames.mac_of(lab, "h1", BRIDGE)
    elsewhere = frames.udp(bridge, "192.168.77.2", 5555, H1, 3333)
    inner = frames.udp(bridge, "10.32.0.1", 5555, H1, 3333)
    everybody = to_everybody("10.32.0.1", 3335)
    with udp_socket(lab, "h1", H1, 3333) as bound, udp_socket(lab, "h1", "", 3335) as all_of_it:
        for sender in ("c1", "c2"):
            frames.say(lab, sender, elsewhere, inner, everybody, *map(frames.tagged, (inner,)))
        assert not hears(bound)
        assert not hears(all_of_it)
    assert inside(lab, "c1", lambda: find_conflict("ethwe", [IPv4Address(H1)])) is None


def to_everybody(source: str, port: int) -> bytes:
    return frames.udp(frames.BROADCAST, source, 5555, "255.255.255.255", port)


def to_a_group(source: str, port: int) -> bytes:
    return frames.udp(bytes.fromhex("333300000001"), source, 5555, "ff02::1", port)


def test_no_group_of_a_host_hears_containers(pair: LabMesh) -> None:
    """t60: not even if somebody gives the bridge a link-local address."""
    lab = pair.lab
    with link_local(lab, "h1"):
        said = [to_a_group(source, 3336) for source in ("fe80::1", "fd00:32::1")]
        assert offers(lab, ("h1", "c2"), 3336, *said) == ["c2"]


def test_no_container_is_forwarded_by_a_host_that_is_not_exposed(pair: LabMesh) -> None:
    """F12, a neighbour of it: hosts with Docker forward whatever reaches their MAC."""
    lab = pair.lab
    bridge = frames.mac_of(lab, "h1", BRIDGE)
    run(lab, "h1", "echo 1 > /proc/sys/net/ipv4/ip_forward")
    with udp_socket(lab, "h2", H2, 3334) as sock:
        frames.say(lab, "c1", frames.udp(bridge, "10.32.0.1", 5555, H2, 3334))
        assert not hears(sock)


def test_who_is_exposed_is_reached_at_that_address_and_no_other(pair: LabMesh) -> None:
    """F12: and `expose` does what it did, with IPv6, too, until `hide`."""
    lab = pair.lab
    for address in (f"{EXPOSED}/24", f"{EXPOSED_IPV6}/64"):
        pair["h1"].cli("expose", address)
    bridge = frames.mac_of(lab, "h1", BRIDGE)
    with services(lab, "h1"), udp_socket(lab, "h1", H1, 3333) as underlay:
        for source in ("c1", "c2"):
            for address in (EXPOSED, EXPOSED_IPV6):
                assert ping(lab, source, address, count=2).received == 2, (source, address)
                assert answers(lab, source, address, SERVICE), (source, address)
                assert not answers(lab, source, address, 6783), (source, address)
            for address in link_local_of(lab, "h1"):
                assert not answers(lab, source, address, SERVICE), (source, address)
            frames.say(lab, source, frames.udp(bridge, f"10.32.0.{source[1:]}", 5555, H1, 3333))
        assert not hears(underlay)
        assert ping(lab, "h1", "10.32.0.2", count=2).received == 2
        assert ping(lab, "h1", "fd00:32::2", count=2).received == 2
    # So is everybody's and a group's, and the router's own ports are not among them.
    for said in (to_everybody("10.32.0.1", 3335), to_a_group("fd00:32::1", 3335)):
        assert offers(lab, ("h1", "h2", "c2"), 3335, said) == ["h1", "c2"]
    assert offers(lab, ("h1",), 3335, to_everybody("198.18.0.1", 3335)) == []
    # What the host asks is answered, and it may be the way to its other networks.
    with udp_socket(lab, "h2", H2, 3334) as sock:
        run(lab, "h1", "echo 1 > /proc/sys/net/ipv4/ip_forward")
        frames.say(lab, "c1", frames.udp(bridge, "10.32.0.1", 5555, H2, 3334))
        assert hears(sock)
    pair["h1"].cli("hide")
    assert run(lab, "h1", f"ip -o addr show dev {BRIDGE}") == ""
    assert not ping(lab, "c2", EXPOSED).reached
    assert not ping(lab, "c2", EXPOSED_IPV6).reached


def believed(lab: Lab, *hearers: str) -> dict[str, str]:
    """Who has got a default route or an address by an advertisement."""
    look = "ip -6 route show default; ip -6 -o addr show to 2001:db8:bad::/48"
    return {name: found for name in hearers if (found := run(lab, name, look).strip())}


FORMS: dict[str, Callable[[bytes], bytes]] = {
    "plain": bytes,
    "priority tag": frames.tagged,
    "two priority tags": lambda frame: frames.tagged(frame, 2),
}


@pytest.mark.parametrize("form", FORMS)
def test_no_container_is_taken_for_a_router(pair: LabMesh, form: str) -> None:
    """F12: one router advertisement gave containers on both hosts a default route."""
    frames.say(pair.lab, "c1", FORMS[form](frames.router_advertisement()))
    # Behind it on the same way:
    for target in ("10.32.0.2", THIRD):
        assert ping(pair.lab, "c1", target).reached
    assert believed(pair.lab, "c2", "c1b", "h1", "h2") == {}


def offers(lab: Lab, hearers: tuple[str, ...], port: int, *said: bytes) -> list[str]:
    """Who hears a datagram for this port."""
    with ExitStack() as open_sockets:

        def listen() -> socket.socket:
            sock = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
            sock.bind(("::", port))
            return sock

        socks = {name: open_sockets.enter_context(inside(lab, name, listen)) for name in hearers}
        frames.say(lab, "c1", *said)
        return [name for name, sock in socks.items() if hears(sock)]


@pytest.mark.parametrize("form", FORMS)
def test_no_container_answers_for_a_dhcp_server(pair: LabMesh, form: str) -> None:
    """F12: and clients' questions, and everything else by broadcast, pass as before."""
    lab, hearers, wrap = pair.lab, ("c2", "c1b"), FORMS[form]
    offer = frames.udp(frames.BROADCAST, "10.32.0.1", 67, "255.255.255.255", 68)
    everybody = bytes.fromhex("333300000001")
    offer6 = frames.udp(everybody, "fe80::1", 547, "ff02::1", 546)
    assert offers(lab, hearers, 68, wrap(offer)) == []
    assert offers(lab, hearers, 546, wrap(offer6)) == []
    question = frames.udp(frames.BROADCAST, "10.32.0.1", 68, "255.255.255.255", 67)
    assert offers(lab, hearers, 67, question) == list(hearers)


def tables(lab: Lab, host: str) -> set[str]:
    return set(run(lab, host, "nft list tables").splitlines())


def test_rules_that_somebody_flushes_come_back(pair: LabMesh) -> None:
    """F12: as of `nft flush ruleset`, with which many firewalls begin."""
    before = tables(pair.lab, "h1")
    assert {f"table inet weave-py-{BRIDGE}-host", f"table bridge weave-py-{BRIDGE}-ports"} <= before
    run(pair.lab, "h1", "nft flush ruleset")
    until(lambda: tables(pair.lab, "h1") == before, RESTORED_SECONDS, "the tables are back")
    run(pair.lab, "h1", f"nft flush chain inet weave-py-{BRIDGE}-host incoming")
    with services(pair.lab, "h1"), link_local(pair.lab, "h1"):
        until(
            lambda: not answers(pair.lab, "c1", LINK_LOCAL["h1"], SERVICE),
            RESTORED_SECONDS,
            "the rules are back",
        )


def test_who_is_attached_while_there_are_no_rules_is_guarded_like_others(pair: LabMesh) -> None:
    """F12: the rules know ports by their kind, so none has to be told to them."""
    lab = pair.lab
    there = str(lab.path("c1b"))
    pair["h1"].cli("detach", there)
    before = tables(lab, "h1")
    run(lab, "h1", "nft flush ruleset")
    pair["h1"].cli("attach", f"{THIRD}/24", there)
    until(lambda: tables(lab, "h1") == before, RESTORED_SECONDS, "the tables are back")
    frames.say(lab, "c1b", frames.router_advertisement())
    assert ping(lab, "c1b", "10.32.0.2").reached
    assert believed(lab, "c1", "c2", "h1", "h2") == {}


def test_what_a_router_leaves(pair: LabMesh) -> None:
    """F12: stopped, it leaves the bridge with its containers, and they stay held back; `reset`
    takes all of it, and so does the end of a router without containers."""
    lab, host = pair.lab, pair["h2"]
    ours = tables(lab, "h2")
    host.stop()
    assert {table for table in ours if table.endswith(("-host", "-ports"))} <= tables(lab, "h2")
    with services(lab, "h2"), link_local(lab, "h2"):
        assert not answers(lab, "c2", LINK_LOCAL["h2"], SERVICE)
    host.cli("reset", "--force")
    assert not any("weave-py" in table for table in tables(lab, "h2"))
    for _ in range(2):
        host.launch([H1])
        host.wait_ready()
        assert tables(lab, "h2") >= ours
        host.stop()
        assert not any("weave-py" in table for table in tables(lab, "h2"))
    host.launch([H1])
    host.wait_ready()
    pair.attach_one(host)
    pair.wait_reachable(20)


def test_a_host_without_nft_says_so_and_is_shut_as_far_as_it_goes(pair: LabMesh) -> None:
    """F12: what sysctls can hold back is; containers are connected as ever."""
    lab, host = pair.lab, pair["h2"]
    host.stop()
    before, host.options = host.options, replace(host.options, program="tests.kit.without_nft")
    run(lab, "h2", "nft flush ruleset")
    host.launch([H1])
    host.wait_ready()
    guard = host.report()["Router"]["ContainerGuard"]
    assert guard["Code"] == "unguarded"
    assert "install nftables" in guard["Text"]
    pair.wait_reachable(20)
    assert link_local_of(lab, "h2") == []
    frames.say(lab, "c2", frames.router_advertisement())
    assert ping(lab, "c2", "10.32.0.1").reached
    # Those of h1 are guarded by h1.
    assert believed(lab, "h2", "h1", "c1", "c1b") == {}
    host.stop()
    host.options = before
    host.launch([H1])
    host.wait_ready()
    assert host.report()["Router"]["ContainerGuard"] == {"Code": "", "Text": "in force"}
    pair.wait_reachable(20)


def test_who_bridges_a_real_network_lets_its_routers_in(pair: LabMesh) -> None:
    """F12: Weave's users do that, with `--allow-routers`; what is allowed is said by each host."""
    lab = pair.lab
    for name, peers in (("h1", [H2]), ("h2", [H1])):
        host = pair[name]
        host.stop()
        host.options = replace(host.options, extra=("--allow-routers",))
        host.launch(peers)
        host.wait_ready()
    pair.wait_reachable(20)
    frames.say(lab, "c1", frames.router_advertisement())
    until(lambda: set(believed(lab, "c2", "c1b")) == {"c2", "c1b"}, 5, "both believe it")
    assert believed(lab, "h1", "h2") == {}
    offer = frames.udp(frames.BROADCAST, "10.32.0.1", 67, "255.255.255.255", 68)
    assert offers(lab, ("c2", "c1b"), 68, offer) == ["c2", "c1b"]
    question = frames.udp(frames.BROADCAST, "0.0.0.0", 68, "255.255.255.255", 67)
    assert offers(lab, ("h1", "h2"), 67, question) == ["h1", "h2"]  # they may be asked, too
