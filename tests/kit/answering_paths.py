"""What does a router say now? Asked from this process, which costs much less than a new one."""

from __future__ import annotations

import http.client
import json
from contextlib import closing
from pathlib import Path
from typing import Any

from tests.kit.inside import inside
from weave_py.lab.hosts import HTTP_PORT, Host
from weave_py.lab.namespaces import Lab


def report(host: Host, seconds: float = 5.0) -> Any:
    """GET /report, parsed. OSError if nobody answers in time."""

    def get() -> bytes:
        api = http.client.HTTPConnection("127.0.0.1", HTTP_PORT, timeout=seconds)
        with closing(api):
            api.request("GET", "/report")
            return api.getresponse().read()

    return json.loads(inside(host.lab, host.name, get))


def path_kinds(host: Host) -> dict[str, str]:
    """Nickname of each peer → the kind of the path to it."""
    return {path["NickName"]: path["Kind"] for path in report(host)["Router"]["Paths"]}


def neighbours(host: Host) -> set[str]:
    """Nicknames at the other ends of established connections."""
    return {
        connection["Info"].rpartition("(")[2].removesuffix(")")
        for connection in report(host)["Router"]["Connections"]
        if connection["State"] == "established"
    }


def rss_mib(host: Host) -> float:
    """Memory of the router's process."""
    status = Path(f"/proc/{host.pid}/status").read_text()
    (kib,) = [int(line.split()[1]) for line in status.splitlines() if line.startswith("VmRSS")]
    return kib / 1024


def calls(lab: Lab, name: str) -> int:
    """TCP connections that anybody in this namespace has tried to make so far."""
    snmp = lab.exec(name, ["cat", "/proc/net/snmp"]).stdout
    names, values = [line.split() for line in snmp.splitlines() if line.startswith("Tcp:")]
    return int(values[names.index("ActiveOpens")])
