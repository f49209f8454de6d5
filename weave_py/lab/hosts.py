"""How do we run, ask and stop a router in one host of the lab?"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import IO, Any

from weave_py.config.options import STATE_DIR
from weave_py.lab import http_get
from weave_py.lab.namespaces import Lab
from weave_py.model.errors import HostError
from weave_py.workloads.netns import resolve_namespace, run_inside

HTTP_PORT = 6784
OK = 200
ANSWER_SECONDS = 5.0
"""Who is busy starting answers late: to ask it anew would only make it later."""
STOP_SECONDS = 10.0


@dataclass(frozen=True, slots=True)
class LaunchOptions:
    """How the routers of a lab are started; the same for every host unless a test says else."""

    password: str | None = None
    fastdp: bool = True
    discovery: bool = True
    conn_limit: int | None = None
    mtu: int | None = None
    log_level: str = "info"
    extra: tuple[str, ...] = ()
    """More words for the command line of `launch`."""
    program: str = "weave_py"
    """The Python module that is the router."""

    def words(self) -> list[str]:
        words = ["--log-level", self.log_level]
        if not self.fastdp:
            words.append("--no-fastdp")
        if not self.discovery:
            words.append("--no-discovery")
        if self.conn_limit is not None:
            words += ["--conn-limit", str(self.conn_limit)]
        if self.mtu is not None:
            words += ["--mtu", str(self.mtu)]
        return [*words, *self.extra]


class Host:
    """One host's router: a daemon process in the host's namespace, and the commands to ask it."""

    def __init__(
        self, lab: Lab, name: str, directory: Path, options: LaunchOptions | None = None
    ) -> None:
        """`directory` gets the state and the log of this host; it must exist."""
        self.lab = lab
        self.name = name
        self.options = LaunchOptions() if options is None else options
        self.state_dir = directory / f"{name}.state"
        self.log_path = directory / f"{name}.log"
        self._process: subprocess.Popen[bytes] | None = None

    # Life

    def launch(self, peers: Sequence[str] | None = None, log: IO[bytes] | None = None) -> None:
        """Start the router, told to call `peers` (by default the topology's seeds); what it says
        goes to `log` (by default the file at `log_path`)."""
        if self.running:
            raise HostError(f"{self.name}: the router runs already; stop it first")
        self._let_go()
        self.state_dir.mkdir(mode=0o700, exist_ok=True)
        words = self._launch_words(self._seed_addresses() if peers is None else peers)
        with self.log_path.open("ab") as file:
            self._process = self.lab.popen(self.name, words, log=log or file, extra=self._secret())

    def wait_ready(self, seconds: float = 15.0) -> None:
        """Return once GET /status answers; HostError with the end of the log if it never does."""
        deadline = time.monotonic() + seconds
        while self.running and time.monotonic() < deadline:
            try:
                if self._get("/status", ANSWER_SECONDS)[0] == OK:
                    return
            except (OSError, ValueError):
                pass  # not yet
        what = "does not answer" if self.running else "ended by itself"
        raise HostError(f"{self.name}: the router {what}; its log ends: {self.log_end()}")

    def stop(self) -> int | None:
        """SIGTERM and wait; SIGKILL after `STOP_SECONDS`. The exit status, None if it never ran."""
        if self._process is None:
            return None
        self._process.terminate()
        try:
            self._process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
        return self._let_go()

    def kill(self) -> None:
        """SIGKILL: no goodbye to the peers, nothing taken down in the kernel."""
        if self._process is not None:
            self._process.kill()
        self._let_go()

    @property
    def running(self) -> bool:
        process = self._process  # once: another thread may be stopping us
        return process is not None and process.poll() is None

    @property
    def pid(self) -> int | None:
        return None if self._process is None else self._process.pid

    # Questions

    def cli(
        self, *words: str, check: bool = True, timeout: float = 30.0
    ) -> subprocess.CompletedProcess[str]:
        """Run a `weave-py` command on this host; HostError if it fails (with `check`). Its state
        directory is the router's unless the words name one."""
        argv = [sys.executable, "-m", "weave_py", *words]
        extra = {STATE_DIR.variable: str(self.state_dir)}
        return self.lab.exec(self.name, argv, check=check, timeout=timeout, extra=extra)

    def get(self, path: str, seconds: float = 5.0) -> str:
        """The body of GET `path`; HostError unless the status is 200."""
        try:
            status, body = self._get(path, seconds)
        except (OSError, ValueError) as error:
            raise HostError(f"{self.name}: GET {path}: {error}") from None
        if status != OK:
            raise HostError(f"{self.name}: GET {path}: HTTP status {status}")
        return body.decode(errors="replace")

    def report(self) -> Any:
        """What `weave-py report` shows, parsed."""
        return json.loads(self.get("/report"))

    def log_tail(self, lines: int) -> str:
        """The last lines of the log."""
        try:
            text = self.log_path.read_text(errors="replace")
        except FileNotFoundError:
            return "(no log)"
        return "\n".join(text.splitlines()[-lines:]) or "(empty)"

    def log_end(self) -> str:
        """The last three lines of the log, as one."""
        return self.log_tail(3).replace("\n", " | ")

    # Ours

    def _seed_addresses(self) -> list[str]:
        seeds = self.lab.topology.seeds(self.name)
        return [self.lab.address(seed, seen_from=self.name) for seed in seeds]

    def _launch_words(self, peers: Sequence[str]) -> list[str]:
        return [
            *(sys.executable, "-m", self.options.program, "launch"),
            *("--nickname", self.name),
            *("--state-dir", str(self.state_dir)),
            # Besides its socket: the same place on every host, for tests and for curl.
            *("--http-addr", f"127.0.0.1:{HTTP_PORT}"),
            *self.options.words(),
            *peers,
        ]

    def _secret(self) -> Mapping[str, str]:
        # Not on the command line: every user of the machine reads those.
        password = self.options.password
        return {} if password is None else {"WEAVE_PASSWORD": password}

    def _get(self, path: str, seconds: float) -> tuple[int, bytes]:
        """From a thread of ours in there: to start a process for each question costs more than
        the answer, and many routers are asked again and again while they start."""
        there = resolve_namespace(str(self.lab.path(self.name)))
        return run_inside(there, partial(http_get.get, HTTP_PORT, path, seconds))

    def _let_go(self) -> int | None:
        status = None if self._process is None else self._process.wait()
        self._process = None
        return status
