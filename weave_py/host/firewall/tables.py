"""How are nft tables of our own loaded, and kept although others flush them? (nft(8))

Tables are replaced as a whole, in one step, and told by their names.
"""

from __future__ import annotations

import re
import subprocess
from typing import Final

from weave_py.host.firewall import tool
from weave_py.host.refusal import checked_ifname
from weave_py.model.errors import HostError
from weave_py.model.marks import MARK

_SECONDS: Final = 10.0


def table_of(bridge: str) -> str:
    """Our table's name. Names of bridges may hold what a table's may not."""
    return f"{MARK}-" + "".join(
        char if char.isascii() and char.isalnum() else f"_{ord(char):x}_"
        for char in checked_ifname(bridge)
    )


def named(ifname: str) -> str:
    """As nft wants to read it, which has no way to write some characters: HostError."""
    if re.search(r'["*\\\\]', ifname):
        raise HostError(f"nft cannot name the bridge {ifname}: choose another name (--bridge)")
    return f'"{ifname}"'


def chain(name: str, hook: str | None, priority: str, *rules: str) -> list[str]:
    """The lines of a chain; `hook`: None for one that others lead to."""
    begin = [f"    chain {name} {{"]
    if hook is not None:
        begin.append(f"        type filter hook {hook} priority {priority}; policy accept;")
    return [*begin, *(f"        {rule}" for rule in rules), "    }"]


def table(family: str, name: str, lines: list[str]) -> str:
    """What nft loads; replaces what was there in one step."""
    whole = f"table {family} {name}"
    # Declared first: deleting what is not there would be an error.
    return "\n".join([whole, f"delete {whole}", f"{whole} {{", *lines, "}", ""])


class KeptTable:
    """A table that stays in force. For one thread, in its network namespace."""

    def __init__(self, family: str, name: str, rules: str, purpose: str) -> None:
        """`rules`: as `table` makes them; `purpose`: what cannot be done without them."""
        self.rules: Final = rules
        self._words = [family, name]
        self._purpose = purpose
        self._listed = ""
        """How the kernel shows it, without counters and what its sets hold."""

    def apply(self) -> None:
        """Load it. HostError when that is impossible."""
        run_nft(["-f", "-"], self.rules, f"cannot {self._purpose}")
        self._listed = self._list()

    def restore(self) -> bool:
        """Load it again if somebody has removed or changed it (`nft flush ruleset`, as many
        distributions' firewalls begin). Whether that was needed; HostError if it cannot be."""
        if self._listed and self._list() == self._listed:
            return False
        self.apply()
        return True

    def _list(self) -> str:
        try:
            arguments = ["--stateless", "--terse", "list", "table", *self._words]
            return run_nft(arguments, "", f"cannot see whether we can {self._purpose}")
        except HostError:
            return ""  # it is gone


def remove_table(family: str, name: str) -> None:
    """Remove it; missing is fine."""
    whole = f"table {family} {name}"
    run_nft(["-f", "-"], f"{whole}\ndelete {whole}\n", f"cannot remove the nft table {name}")


def run_nft(arguments: list[str], stdin: str, what: str) -> str:
    """What nft prints. HostError, which begins with `what`, if it is missing or refuses."""
    program = tool.find("nft")
    if program is None:
        raise HostError(f"{what}: nft is missing: install nftables")
    try:
        done = subprocess.run(
            [program, *arguments],
            input=stdin,
            capture_output=True,
            text=True,
            timeout=_SECONDS,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise HostError(f"{what}: nft did not run: {error}") from None
    if done.returncode != 0:
        lines = done.stderr.strip().splitlines()
        why = lines[0] if lines else f"exit status {done.returncode}"
        raise HostError(f"{what}: nft: {why}")
    return done.stdout
