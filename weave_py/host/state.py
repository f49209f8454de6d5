"""What does a router remember from one start to the next?

Its identity, its targets, and how often it started. What is damaged is never touched: a router
refuses to start rather than become somebody else.
"""

from __future__ import annotations

import fcntl
import os
import re
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from weave_py.crypto.identity import Identity
from weave_py.host import statefile
from weave_py.model.errors import StateError

_NAME = re.compile(r"[a-z][a-z0-9-]{0,31}")
_IDENTITY: Final = "identity"
_EPOCH: Final = "epoch"


class StateDirectory:
    """A directory of small checksummed files; created (0700) if it is not there.

    Every method raises StateError for what is wrong on disk, with the path and what to do.
    """

    def __init__(self, path: Path | str) -> None:
        self.path = Path(path)
        try:
            self.path.mkdir(mode=0o700, parents=True, exist_ok=True)
            found = self.path.stat()
        except FileExistsError:
            raise StateError(
                f"{self.path} is not a directory: move it away or choose another --state-dir"
            ) from None
        except OSError as error:
            raise StateError(
                f"cannot use {self.path}: {error.strerror}: run as root (sudo) or choose "
                f"another --state-dir"
            ) from None
        if found.st_uid not in (0, os.geteuid()):
            raise StateError(
                f"{self.path} belongs to user {found.st_uid}: chown it or pick another --state-dir"
            )
        if stat.S_IMODE(found.st_mode) & 0o022:
            # Whoever may rename files in here may choose who we are.
            raise StateError(f"{self.path} is writable for others: chmod 700 {self.path}")

    @contextmanager
    def lock(self) -> Iterator[None]:
        """Keep every other router out while the context lasts; StateError if one is in."""
        path = self.path / "lock"
        try:
            fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise StateError(f"cannot open {path}: {error.strerror}") from None
        try:
            try:
                fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                holder = os.read(fd, 32).decode(errors="replace").strip()
                raise StateError(
                    f"another weave-py router (pid {holder or 'unknown'}) uses {self.path}: "
                    f"stop it, or give each router its own --state-dir"
                ) from None
            os.ftruncate(fd, 0)
            os.pwrite(fd, f"{os.getpid()}\n".encode(), 0)
            yield  # the file stays: unlinking it would let two routers lock two files
        finally:
            os.close(fd)

    def load(self, name: str) -> object:
        """The value saved as `name`; None if there is none."""
        return self._load(name, private=False)

    def save(self, name: str, value: object) -> None:
        """Keep `value` as `name`; ValueError unless JSON returns it unchanged.

        A damaged file of that name is not overwritten: StateError, as from `load`.
        """
        data = statefile.encode_payload(value)
        self._load(name, private=False)
        statefile.replace_file(self._file(name), data)

    def load_identity(self) -> Identity | None:
        """Who we were last time; None at the first start."""
        payload = self._load(_IDENTITY, private=True)
        if payload is None:
            return None
        try:
            if not isinstance(payload, dict) or payload.keys() != {"signing", "static"}:
                raise ValueError("it does not hold the two keys")
            return Identity.from_secrets(
                bytes.fromhex(payload["signing"]), bytes.fromhex(payload["static"])
            )
        except (TypeError, ValueError):
            # Not the decoder's own words: they may quote what they stumbled over.
            raise self._damaged(_IDENTITY, "it does not hold two keys") from None

    def save_identity(self, identity: Identity) -> None:
        """Keep the identity's secrets (0600). The load before that keeps a damaged file safe."""
        signing, static = identity.secrets()
        self.save(_IDENTITY, {"signing": signing.hex(), "static": static.hex()})

    def next_epoch(self) -> int:
        """How often a router started on this directory, this time included: 1, 2, 3 …"""
        stored = self.load(_EPOCH)
        if stored is None:
            stored = 0
        if type(stored) is not int or stored < 0:
            raise self._damaged(_EPOCH, "it does not hold a count")
        self.save(_EPOCH, stored + 1)
        return stored + 1

    def wipe(self) -> None:
        """Forget everything, the identity too; StateError while a router uses it."""
        with self.lock():
            try:
                for path in sorted(self.path.glob("*.json*")):
                    path.unlink()
            except OSError as error:
                raise StateError(f"cannot empty {self.path}: {error.strerror}") from None

    def _file(self, name: str) -> Path:
        if not _NAME.fullmatch(name):
            raise ValueError(f"not a name for a state file: {name!r}")
        return self.path / f"{name}.json"

    def _load(self, name: str, *, private: bool) -> object:
        data = statefile.read_file(self._file(name), private=private)
        if data is None:
            return None
        try:
            return statefile.decode_payload(data)
        except ValueError as error:
            raise self._damaged(name, str(error)) from None

    def _damaged(self, name: str, what: str) -> StateError:
        return StateError(
            f"{self._file(name)} is damaged: {what}: move it away to start without the stored "
            f"{name}, or restore it from a backup"
        )
