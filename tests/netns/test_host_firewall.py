"""Do containers reach each other on hosts whose firewall drops what it does not know?

As with Docker: br_netfilter hands bridged frames to the FORWARD chains, and those drop by policy.
"""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator

import pytest

from tests.kit.routers import BRIDGE, events, paths, started, wait_path
from tests.kit.waiting import until
from tests.netns.conftest import MakeLab
from weave_py.lab.hosts import Host, LaunchOptions
from weave_py.lab.mesh import LabMesh
from weave_py.lab.namespaces import Lab
from weave_py.lab.pings import ping

DROPPING = """\
table ip filter { chain FORWARD { type filter hook forward priority 0; policy drop; }; }
table ip6 filter { chain FORWARD { type filter hook forward priority 0; policy drop; }; }
"""
SECONDS = 5.0
"""In which what somebody flushed is back."""
SETTING = "/proc/sys/net/bridge/bridge-nf-call-iptables"
THIRD = "10.32.0.77"
"""The address of c1b."""


def run(lab: Lab, name: str, command: str) -> str:
    return lab.exec(name, ["sh", "-c", command]).stdout


def load(lab: Lab, rules: str, host: str = "h1") -> None:
    lab.exec(host, ["nft", "-f", "-"], stdin=rules)


def accepts(lab: Lab, host: str = "h1") -> list[str]:
    """The families whose FORWARD chain holds our rule."""
    listed = lab.exec(host, ["nft", "list", "ruleset"]).stdout
    rule = f'iifname "{BRIDGE}" oifname "{BRIDGE}" accept comment "weave-py"'
    tables = re.split(r"^table ", listed, flags=re.MULTILINE)[1:]
    return sorted(table.split()[0] for table in tables if rule in table)


def firewall(host: Host) -> dict[str, object]:
    found = host.report()["Router"]["HostFirewall"]
    assert isinstance(found, dict)
    return found


def doctor(host: Host) -> tuple[int, str]:
    """Its exit status, and its line about the firewall."""
    done = host.cli("doctor", "--no-fastdp", check=False)
    (line,) = [line for line in done.stdout.splitlines() if "host firewall" in line]
    return done.returncode, line


def reaches(mesh: LabMesh, address: str, *, source: str = "c1") -> bool:
    return ping(mesh.lab, source, address, count=1).reached


@pytest.fixture(scope="module", params=["sleeve", "fastdp"])
def pair(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[LabMesh]:
    """Two hosts, c1 and a container more on h1 (c1b), IPv6 addresses beside the IPv4 ones."""
    options = LaunchOptions(fastdp=request.param == "fastdp")
    with started("full", 2, tmp_path_factory.mktemp("firewall"), options) as mesh:
        lab = mesh.lab
        if "1" not in run(lab, "h1", f"cat {SETTING} 2>/dev/null || true"):
            pytest.skip("needs br_netfilter (modprobe br_netfilter)")
        wait_path(mesh["h1"], "h2", "direct" if request.param == "sleeve" else "fastdp")
        for name in ("c1", "c2"):
            mesh[f"h{name[1:]}"].cli("attach", f"fd00:32::{name[1:]}/64", str(lab.path(name)))
        third = lab.ns("c1b")
        subprocess.run(["ip", "netns", "add", third], check=True)
        try:
            mesh["h1"].cli("attach", f"{THIRD}/24", str(lab.path("c1b")))
            yield mesh
        finally:
            subprocess.run(["ip", "netns", "delete", third], check=True)


def all_reached(mesh: LabMesh) -> bool:
    return all(reaches(mesh, address) for address in (THIRD, "10.32.0.2", "fd00:32::2"))


@pytest.fixture(autouse=True)
def clean(request: pytest.FixtureRequest) -> Iterator[None]:
    yield
    if "pair" in request.fixturenames:
        mesh = request.getfixturevalue("pair")
        run(mesh.lab, "h1", "nft delete table ip filter 2>/dev/null; true")
        run(mesh.lab, "h1", "nft delete table ip6 filter 2>/dev/null; true")
        run(mesh.lab, "h1", "nft delete table inet strict 2>/dev/null; true")
        until(lambda: all_reached(mesh), SECONDS, "all as before")


def test_containers_reach_each_other_although_forward_drops(pair: LabMesh) -> None:
    """t08: 0 of 5 pings, also between containers of one host, and nothing said why."""
    load(pair.lab, DROPPING)
    until(lambda: all_reached(pair), SECONDS, "the containers reach each other")
    assert accepts(pair.lab) == ["ip", "ip6"]
    assert firewall(pair["h1"])["Code"] == ""
    assert "ip filter FORWARD" in str(firewall(pair["h1"])["Text"])
    assert doctor(pair["h1"])[0] == 0
    kind = "fastdp" if pair["h1"].options.fastdp else "direct"
    assert paths(pair["h1"])["h2"]["Kind"] == kind


def test_what_is_flushed_or_loaded_anew_is_put_right(pair: LabMesh) -> None:
    """t08: firewalls are reloaded, and Docker is restarted."""
    load(pair.lab, DROPPING)
    until(lambda: all_reached(pair), SECONDS, "the containers reach each other")
    for change in (
        "nft flush table ip filter; nft flush table ip6 filter",
        "nft flush chain ip filter FORWARD",
        "nft -a list chain ip filter FORWARD | sed -n 's/.*handle \\([0-9]*\\)$/\\1/p' | tail -1 |"
        " xargs nft delete rule ip filter FORWARD handle",
        "nft delete table ip filter",
    ):
        run(pair.lab, "h1", change)
        load(pair.lab, DROPPING)
        until(lambda: all_reached(pair), SECONDS, f"reached after: {change}")
        assert accepts(pair.lab) == ["ip", "ip6"]
    assert len(events(pair["h1"], "accept rule added")) >= 4


def test_nothing_else_is_opened(pair: LabMesh) -> None:
    """t08: what is routed through this host is dropped as before, from the overlay and to it."""
    lab = pair.lab
    load(lab, DROPPING)
    until(lambda: all_reached(pair), SECONDS, "the containers reach each other")
    pair["h1"].cli("expose", "10.32.0.101/24")
    run(lab, "h1", "echo 1 >/proc/sys/net/ipv4/ip_forward")
    run(lab, "c1", "ip route add 10.99.1.2 via 10.32.0.101")
    run(lab, "h2", "ip route add 10.32.0.1 via 10.99.1.1 || true")
    try:
        assert not reaches(pair, "10.99.1.2")
        run(lab, "h1", "nft add rule ip filter FORWARD accept")
        assert reaches(pair, "10.99.1.2"), "(it was the chain that dropped it)"
    finally:
        run(lab, "h1", "echo 0 >/proc/sys/net/ipv4/ip_forward")
        run(lab, "c1", "ip route del 10.99.1.2")
        run(lab, "h2", "ip route del 10.32.0.1 || true")
        pair["h1"].cli("hide")


def test_what_drops_independently_of_us_is_named(pair: LabMesh) -> None:
    """t08: a chain that names our frames is left alone; status, doctor and the log say so."""
    rules = (
        "table inet strict { chain any { type filter hook forward priority 10; "
        f'iifname "{BRIDGE}" drop; }}; }}'
    )
    load(pair.lab, DROPPING + rules)
    host = pair["h1"]
    until(lambda: firewall(host)["Code"] == "host-firewall", SECONDS, "the report names it")
    assert firewall(host)["Dropped"] == ["IPv4", "IPv6"]
    assert "HostFirewall: host-firewall: " in host.cli("status").stdout
    status, line = doctor(host)
    assert (status, "host-firewall" in line) == (1, True)
    assert events(host, "the host's firewall drops frames")[-1].level == "WARNING"
    assert not reaches(pair, THIRD)
    listed = json.loads(run(pair.lab, "h1", "nft -j list chain inet strict any"))["nftables"]
    assert len([entry for entry in listed if "rule" in entry]) == 1

    run(pair.lab, "h1", "nft delete table inet strict")
    until(lambda: firewall(host)["Code"] == "", 15, "it passes again")
    assert events(host, "lets frames pass again")


@pytest.mark.skipif(shutil.which("iptables-legacy", path="/usr/sbin") is None, reason="iptables")
def test_tables_of_the_old_kind(pair: LabMesh) -> None:
    """t08: they drop on their own, and no notification tells of them."""
    lab = pair.lab
    try:
        for command in ("iptables-legacy", "ip6tables-legacy"):
            run(lab, "h1", f"{command} -P FORWARD DROP")
        until(lambda: all_reached(pair), SECONDS, "the containers reach each other")
        run(lab, "h1", "iptables-legacy -F FORWARD; ip6tables-legacy -F FORWARD")
        until(lambda: all_reached(pair), SECONDS, "again")
        rule = f"-A FORWARD -i {BRIDGE} -o {BRIDGE} -m comment --comment weave-py -j ACCEPT"
        until(lambda: rule in run(lab, "h1", "iptables-legacy -S FORWARD"), SECONDS, "IPv4")
        until(lambda: rule in run(lab, "h1", "ip6tables-legacy -S FORWARD"), SECONDS, "IPv6")
    finally:
        for command in ("iptables-legacy", "ip6tables-legacy"):
            run(lab, "h1", f"{command} -P FORWARD ACCEPT; {command} -F FORWARD")


@pytest.mark.skipif(shutil.which("iptables-nft", path="/usr/sbin") is None, reason="iptables")
def test_iptables_shows_keeps_and_deletes_the_rule(pair: LabMesh) -> None:
    """t08: saved and loaded again by iptables, it is still ours, and there is one of it."""
    lab = pair.lab
    run(lab, "h1", "iptables-nft -P FORWARD DROP")
    until(lambda: reaches(pair, THIRD), SECONDS, "the containers reach each other")
    rule = f"-A FORWARD -i {BRIDGE} -o {BRIDGE} -m comment --comment weave-py -j ACCEPT"
    saved = run(lab, "h1", "iptables-nft-save")
    assert saved.count(rule) == 1
    lab.exec("h1", ["iptables-nft-restore"], stdin=saved)
    until(lambda: reaches(pair, THIRD), SECONDS, "still")
    assert run(lab, "h1", "iptables-nft -S FORWARD").count(rule) == 1


def test_the_rule_is_there_at_start_stays_for_containers_and_goes_with_reset(
    pair: LabMesh,
) -> None:
    """t08, from an end to the other; also what another program made stays."""
    host, lab = pair["h1"], pair.lab
    other = 'ip filter FORWARD iifname "lo" oifname "lo" accept'
    host.stop()
    load(lab, DROPPING)
    run(lab, "h1", f"nft 'add rule {other}'")
    host.launch(["10.99.1.2"])
    host.wait_ready()
    assert accepts(lab) == ["ip", "ip6"]
    until(lambda: all_reached(pair), 15, "the containers reach each other")
    host.stop()
    assert reaches(pair, THIRD), "local traffic never needed the router"
    host.cli("reset", "--force", "--state-dir", str(host.state_dir))
    assert accepts(lab) == []
    assert 'iifname "lo" oifname "lo" accept' in run(lab, "h1", "nft list ruleset")
    host.launch(["10.99.1.2"])
    host.wait_ready()
    assert accepts(lab) == ["ip", "ip6"]
    host.stop()
    assert accepts(lab) == [], "no container is left: the bridge goes, and the rule with it"
    # As the other tests want it:
    host.launch(["10.99.1.2"])
    host.wait_ready()
    for name, address in (("c1", "10.32.0.1/24"), ("c1", "fd00:32::1/64"), ("c1b", f"{THIRD}/24")):
        host.cli("attach", address, str(lab.path(name)))
    until(lambda: all_reached(pair), 15, "all as before")


@pytest.mark.parametrize("strict", [False, True])
def test_doctor_tries_it_where_there_is_no_bridge(make_lab: MakeLab, strict: bool) -> None:
    """t08: through a bridge that is there for a moment, with the rules that a router would add."""
    lab = make_lab("full", 2)
    drop = "type filter hook forward priority 10; meta l4proto udp drop;"
    load(lab, DROPPING + (f"table inet strict {{ chain any {{ {drop} }}; }}" if strict else ""))
    before = run(lab, "h1", "nft list ruleset; ip -o link")
    words = [sys.executable, "-m", "weave_py", "doctor", "--no-fastdp"]
    done = lab.exec("h1", words, check=False)
    (line,) = [line for line in done.stdout.splitlines() if "host firewall" in line]
    assert ("host-firewall" in line) is strict
    assert done.returncode == int(strict)
    assert run(lab, "h1", "nft list ruleset; ip -o link") == before
