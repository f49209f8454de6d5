"""A router as the unit file would have systemd run it, without systemd as process 1.

    python -m tests.kit.under_unit launch …      in the place of: python -m weave_py launch …

Of docs/weave-py.service: capabilities, no new privileges, system calls, address families, no memory
that is both writable and executable. (Not its mount namespace, nor its limits.)
"""

from __future__ import annotations

import ctypes
import errno
import os
import re
import shutil
import socket
import struct
import subprocess
import sys
from collections import defaultdict
from pathlib import Path

UNIT = Path(__file__).parents[2] / "docs" / "weave-py.service"
NUMBERS = Path("/usr/include/x86_64-linux-gnu/asm/unistd_64.h")
_PR_SET_NO_NEW_PRIVS, _PR_SET_SECCOMP, _PR_SET_MDWE = 38, 22, 65  # linux/prctl.h
_FILTER_MODE = 2  # linux/seccomp.h, as are those below
_ALLOW, _ERRNO, _KILL = 0x7FFF_0000, 0x0005_0000, 0x8000_0000
_LOAD, _EQUAL, _RETURN = 0x20, 0x15, 0x06  # linux/bpf_common.h
_ARCHITECTURE = 0xC000_003E  # AUDIT_ARCH_X86_64
_NUMBER_AT, _ARCHITECTURE_AT, _FIRST_ARGUMENT_AT = 0, 4, 16  # in struct seccomp_data

Instruction = tuple[int, int, int, int]


def missing() -> str | None:
    """What it takes to do that here, and is not there."""
    if os.uname().machine != "x86_64" or not NUMBERS.exists():
        return "the numbers of system calls of x86-64"
    return next((word for word in ("systemd-analyze", "setpriv") if not shutil.which(word)), None)


def settings() -> dict[str, list[str]]:
    """Key → values, of all sections, in order."""
    found: dict[str, list[str]] = defaultdict(list)
    for line in UNIT.read_text().splitlines():
        key, equals, value = line.partition("=")
        if equals and not line.startswith("#"):
            found[key].append(value)
    return found


def system_calls(filters: list[str]) -> set[str]:
    """The names that these SystemCallFilter= lines allow."""
    allowed = _expanded("@default")
    for line in filters:
        named = set().union(*map(_expanded, line.removeprefix("~").split()))
        allowed = allowed - named if line.startswith("~") else allowed | named
    return allowed | _expanded("@default")


def _expanded(name: str) -> set[str]:
    if not name.startswith("@"):
        return {name}
    words = ["systemd-analyze", "syscall-filter", name]
    listed = subprocess.run(words, capture_output=True, text=True, check=True).stdout
    lines = [line.strip() for line in listed.splitlines()[1:]]
    return set().union(*(_expanded(line) for line in lines if line and line[0] != "#"))


def _numbers(names: set[str]) -> list[int]:
    defined = re.findall(r"#define __NR_(\w+)\s+(\d+)", NUMBERS.read_text())
    return sorted(int(number) for name, number in defined if name in names)


def program(calls: set[str], families: set[str]) -> list[Instruction]:
    """BPF: these calls pass, sockets of these families only; all else is refused."""
    (socket_call,) = _numbers({"socket"})
    checks: list[Instruction] = [(_LOAD, 0, 0, _FIRST_ARGUMENT_AT)]
    for family in sorted(families):
        checks += [(_EQUAL, 0, 1, getattr(socket, family)), (_RETURN, 0, 0, _ALLOW)]
    checks.append((_RETURN, 0, 0, _ERRNO | errno.EAFNOSUPPORT))
    made: list[Instruction] = [
        (_LOAD, 0, 0, _ARCHITECTURE_AT),
        (_EQUAL, 1, 0, _ARCHITECTURE),
        (_RETURN, 0, 0, _KILL),
        (_LOAD, 0, 0, _NUMBER_AT),
        (_EQUAL, 0, len(checks), socket_call),
        *checks,
    ]
    for number in _numbers(calls - {"socket"}):
        made += [(_EQUAL, 0, 1, number), (_RETURN, 0, 0, _ALLOW)]
    return [*made, (_RETURN, 0, 0, _ERRNO | errno.EPERM)]


def main(command: list[str]) -> None:
    unit = settings()
    bounding = [
        word.removeprefix("CAP_").lower() for word in unit["CapabilityBoundingSet"][0].split()
    ]
    if "--inside" not in command[:1]:
        kept = ",".join(["-all", *(f"+{word}" for word in bounding)])
        start = ["setpriv", "--bounding-set", kept, "--inh-caps", kept]
        os.execvp(
            "setpriv", [*start, sys.executable, "-m", "tests.kit.under_unit", "--inside", *command]
        )
    libc = ctypes.CDLL(None, use_errno=True)
    assert libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0
    if unit["MemoryDenyWriteExecute"] == ["yes"]:
        libc.prctl(_PR_SET_MDWE, 1, 0, 0, 0)  # (Linux 6.3)
    code = b"".join(
        struct.pack("=HBBI", *one)
        for one in program(
            system_calls(unit["SystemCallFilter"]), set(unit["RestrictAddressFamilies"][0].split())
        )
    )
    buffer = ctypes.create_string_buffer(code, len(code))
    sock_fprog = struct.pack("@HP", len(code) // 8, ctypes.addressof(buffer))
    if libc.prctl(_PR_SET_SECCOMP, _FILTER_MODE, sock_fprog, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "no filter of system calls")
    os.execv(sys.executable, [sys.executable, "-m", "weave_py", *command[1:]])


if __name__ == "__main__":
    main(sys.argv[1:])
