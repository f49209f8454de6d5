"""`doctor` says what this host can do, and whether a router can run."""

from __future__ import annotations

import pytest
from click.testing import CliRunner

from weave_py.cli import doctor as cli_doctor
from weave_py.cli.doctor import doctor_command
from weave_py.doctor import checks
from weave_py.model.errors import HostError
from weave_py.model.fast import FastHost
from weave_py.model.firewall import FirewallView


@pytest.fixture(autouse=True)
def host(monkeypatch: pytest.MonkeyPatch) -> None:
    """A host with everything."""
    monkeypatch.setattr(cli_doctor, "_running", dict)
    monkeypatch.setattr(checks, "check_privileges", lambda: None)
    monkeypatch.setattr(checks, "tap_offloads", lambda: frozenset(("csum", "tso4", "tso6")))
    monkeypatch.setattr(checks, "udp_offloads", lambda: (True, True))
    monkeypatch.setattr(checks, "is_port_free", lambda port: True)
    monkeypatch.setattr(checks, "is_claimed", lambda bridge: False)
    monkeypatch.setattr(checks, "probe_host", lambda bridge, enabled: FastHost(4789))
    monkeypatch.setattr(checks, "kernel_has_esp", lambda: True)
    monkeypatch.setattr(checks, "try_firewall", lambda bridge: FirewallView(detail="passes"))
    monkeypatch.setattr("shutil.which", lambda name: "/usr/sbin/nft")


def run(*arguments: str) -> tuple[int, dict[str, tuple[str, str]]]:
    result = CliRunner().invoke(doctor_command, arguments, standalone_mode=False)
    lines = [line.split(maxsplit=1) for line in result.output.splitlines()]
    return result.return_value, {rest[:14].strip(): (verdict, rest[15:]) for verdict, rest in lines}


def test_a_host_with_everything() -> None:
    status, found = run()
    assert status == 0
    assert {verdict for verdict, _ in found.values()} == {"ok", "note"}
    assert found["fast datapath"] == ("ok", "VXLAN on UDP port 4789")


def test_what_is_missing_is_slower_and_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checks, "tap_offloads", lambda: frozenset[str]())
    monkeypatch.setattr(checks, "udp_offloads", lambda: (True, False))
    monkeypatch.setattr(checks, "probe_host", lambda bridge, enabled: FastHost(0, "no-vxlan"))
    status, found = run()
    assert status == 0
    assert found["tap"][0] == found["udp"][0] == found["fast datapath"][0] == "slower"
    assert "receiving (gro)" in found["udp"][1]
    assert "modprobe vxlan" in found["fast datapath"][1]


def test_a_host_where_no_router_can_run(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse() -> None:
        raise HostError("CAP_NET_ADMIN is missing: run as root")

    monkeypatch.setattr(checks, "check_privileges", refuse)
    status, found = run()
    assert status == 1
    assert found["privileges"] == ("failed", "CAP_NET_ADMIN is missing: run as root")


def test_a_firewall_that_drops_is_named_by_its_code(monkeypatch: pytest.MonkeyPatch) -> None:
    """t08: no container would reach another one."""
    view = FirewallView((4,), "IPv4 frames between ports of weave are dropped")
    monkeypatch.setattr(checks, "try_firewall", lambda bridge: view)
    status, found = run()
    assert status == 1
    assert found["host firewall"][0] == "failed"
    assert found["host firewall"][1].startswith("host-firewall: IPv4 frames")


def test_a_firewall_that_cannot_be_tried(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(bridge: str) -> FirewallView:
        raise HostError("needs CAP_NET_ADMIN")

    monkeypatch.setattr(checks, "try_firewall", refuse)
    status, found = run()
    assert status == 0
    assert found["host firewall"] == ("note", "cannot be tried: needs CAP_NET_ADMIN")


def test_a_kernel_without_esp(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checks, "kernel_has_esp", lambda: False)
    monkeypatch.setattr("shutil.which", lambda name: None)
    _, found = run()
    assert found["esp"][0] == "slower"
    assert found["nft"][0] == "note"


def test_a_port_that_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checks, "is_port_free", lambda port: False)
    status, found = run()
    assert status == 1
    assert found["port"][0] == "failed"
    assert "in use by another program" in found["port"][1]
    monkeypatch.setattr(checks, "is_claimed", lambda bridge: bridge == "weave")
    status, found = run()
    assert status == 0
    assert found["port"][0] == "note"


def test_a_router_that_runs_is_asked_about_its_peers_mtu(monkeypatch: pytest.MonkeyPatch) -> None:
    """t34"""
    paths = [
        {"NickName": "h2", "Peer": "02:…", "PeerMTU": 1376},
        {"NickName": "h3", "Peer": "03:…", "PeerMTU": None},
    ]
    monkeypatch.setattr(cli_doctor, "_running", lambda: {"MTU": 8000, "Paths": paths})
    status, found = run()
    assert status == 1
    assert found["mtu"][0] == "failed"
    assert found["mtu"][1].startswith("mtu-mismatch: 8000 here, h2 1376: ")
