"""A host with a bridge and two containers: namespaces alone, no router."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import count
from typing import TypeVar

from weave_py.host.netlink import Netlink
from weave_py.workloads.netns import Namespace, resolve_namespace, run_inside

Result = TypeVar("Result")
OneHost = tuple[Namespace, Namespace, Namespace]
"""The host, and its two containers; nothing is attached yet."""

_numbers = count()


@contextmanager
def one_host() -> Iterator[OneHost]:
    made: list[Namespace] = []
    try:
        for _ in range(3):
            made.append(new_namespace())
        run_inside(made[0], _make_bridge)
        yield made[0], made[1], made[2]
    finally:
        for namespace in made:
            subprocess.run(["ip", "netns", "delete", namespace.target], check=True)


def new_namespace() -> Namespace:
    """To be deleted by who made it."""
    name = f"wpha-{os.getpid()}-{next(_numbers)}"
    subprocess.run(["ip", "netns", "add", name], check=True)
    return resolve_namespace(name)


def shell(namespace: Namespace, command: str) -> str:
    """What the command prints on either stream; failing is no error."""

    def inside() -> str:
        done = subprocess.run(command, shell=True, check=False, capture_output=True, text=True)
        return done.stdout + done.stderr

    return run_inside(namespace, inside)


def on(host: Namespace, work: Callable[[], Result]) -> Result:
    return run_inside(host, work)


def mac_of(namespace: Namespace, ifname: str = "ethwe") -> str:
    return shell(namespace, f"ip -o link show {ifname}").partition("link/ether ")[2][:17]


def _make_bridge() -> None:
    with Netlink() as netlink:
        netlink.ensure_bridge("weave", "8a:3e:00:00:00:01", 1376)
