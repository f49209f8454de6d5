"""What else is there on the hosts of the world? Labs whose hosts have it, too.

A profile is one entry of PROFILES: how the underlay looks, and what is done to each host before
its router starts. `weave-py demo --profile NAME` shows one; tests/netns/test_profiles.py holds all
of them to what a mesh is for.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace

from weave_py.lab import profile_rules
from weave_py.lab.internet import APART_SECONDS, Internet
from weave_py.lab.namespaces import SWITCH, Lab
from weave_py.lab.nats import Kind
from weave_py.lab.topology import Wire, build, host_number
from weave_py.model.errors import ConfigError

DOCKER_NETWORKS = 12
BURN_SECONDS = 120
"""Of CPU: after that each of those who make a host busy has had enough."""
_BR_NETFILTER = "/proc/sys/net/bridge/bridge-nf-call-iptables"


def _as_built(kind: str, hosts: int) -> Lab:
    return Lab(build(kind, hosts))


def _nothing(lab: Lab, host: str) -> None:
    pass


@dataclass(frozen=True, slots=True)
class Profile:
    """A kind of host."""

    name: str
    help: str
    """What it is like: a line of the docs."""
    lab: Callable[[str, int], Lab] = _as_built
    """A topology's kind and how many hosts → the lab, not opened yet."""
    prepare: Callable[[Lab, str], None] = _nothing
    """Done to each host of it."""
    burners: int = 0
    """Processes for each core that take what they can get."""


def _docker(lab: Lab, host: str) -> None:
    names = ["docker0", *(f"br-{number:012x}" for number in range(1, DOCKER_NETWORKS))]
    networks = [(name, f"172.{17 + number}.0.0/16") for number, name in enumerate(names)]
    lines = [
        line
        for name, network in networks
        for line in (
            f"ip link add name {name} type bridge",
            f"ip addr add {network.replace('0.0/16', '0.1/16')} dev {name}",
            f"ip link set dev {name} up",
        )
    ]
    lines.append("echo 1 >/proc/sys/net/ipv4/ip_forward")
    # Which it is in a new namespace; without the module there is nothing to be set.
    lines.append(f"test ! -e {_BR_NETFILTER} || echo 1 >{_BR_NETFILTER}")
    lab.exec(host, ["sh", "-ec", "\n".join(lines)])
    _load(lab, host, profile_rules.docker(networks))


def _firewalled(lab: Lab, host: str) -> None:
    _load(lab, host, profile_rules.ufw() if host_number(host) % 2 else profile_rules.firewalld())


def _load(lab: Lab, host: str, rules: str) -> None:
    lab.exec(host, ["nft", "-f", "-"], stdin=rules)


def _twice(kind: str, hosts: int) -> Lab:
    """Beside each wire another one."""
    once = build(kind, hosts)
    more = [Wire(len(once.wires) + wire.number, wire.members) for wire in once.wires]
    return Lab(replace(once, wires=(*once.wires, *more)))


def _strict(lab: Lab, host: str) -> None:
    each = "for file in /proc/sys/net/ipv4/conf/*/rp_filter; do echo 1 >$file; done"
    lab.exec(host, ["sh", "-ec", each])


def _cloud(kind: str, hosts: int) -> Lab:
    del kind  # what reaches what, the gateways decide
    return Internet([(Kind.MASQUERADE, 1)] * (hosts - 1), seconds=APART_SECONDS)


PROFILES = (
    Profile("plain", "nothing else"),
    Profile(
        "docker",
        f"{DOCKER_NETWORKS} bridges with addresses from 172.17.0.1/16 on, FORWARD drops, "
        "br_netfilter shows it our frames",
        prepare=_docker,
    ),
    Profile(
        "firewalled",
        "ufw (h1, h3 …) or firewalld (h2, h4 …), with a router's ports open",
        prepare=_firewalled,
    ),
    Profile(
        "two-uplinks",
        "a second network beside each, strict reverse-path filters",
        lab=_twice,
        prepare=_strict,
    ),
    Profile(
        "cloud-nat",
        "h1 is public, each other host behind a Linux gateway that masquerades and accepts what "
        f"comes in, {1000 * APART_SECONDS:g} ms from each other; no topology",
        lab=_cloud,
    ),
    Profile(
        "busy",
        f"all cores wanted by others, who are niced and end after {BURN_SECONDS} s of CPU time",
        burners=2,
    ),
)


def profile_of(name: str) -> Profile:
    """ConfigError if there is none of that name."""
    for profile in PROFILES:
        if profile.name == name:
            return profile
    names = ", ".join(profile.name for profile in PROFILES)
    raise ConfigError(f"profile: no such profile {name!r}; use one of {names}")


@contextmanager
def opened(profile: Profile, kind: str, hosts: int) -> Iterator[Lab]:
    """The lab, with its hosts as the profile wants them; all is gone afterwards."""
    with profile.lab(kind, hosts) as lab:
        for host in lab.topology.hosts:
            profile.prepare(lab, host)
        burners = [_burner(lab) for _ in range(profile.burners * (os.cpu_count() or 1))]
        try:
            yield lab
        finally:
            for burner in burners:
                burner.kill()
                burner.wait()


def _burner(lab: Lab) -> subprocess.Popen[bytes]:
    burn = "while :; do :; done"
    # A limit of CPU time ends each by itself, also if nobody is left to end it.
    limit = f"ulimit -t {BURN_SECONDS}; {burn}"
    return lab.popen(SWITCH, ["nice", "-n", "5", "sh", "-c", limit])
