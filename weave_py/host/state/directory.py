"""What does a router remember from one start to the next?

Its identity, its targets, and how often it started. Of each there are two generations on disk
(`host.state.generations`), so that a damaged file costs at most the latest change; what was lost
is told in `losses`, and a disk that takes nothing more in `unsaved`: neither stops a router.
"""

from __future__ import annotations

import errno
import fcntl
import os
import stat
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TypeVar

from weave_py.crypto.identity import Identity
from weave_py.host.state import file, generations, names
from weave_py.host.state.generations import Loss
from weave_py.host.state.names import IDENTITY, INCARNATION, StateFile
from weave_py.model.errors import StateError

T = TypeVar("T")


class StateDirectory:
    """A directory of small checksummed files; created (0700) if it is not there.

    Who may change it is found out, and it is locked and wiped, by one descriptor: whatever its path
    leads to meanwhile. Every method raises StateError for what a person has to put right, with the
    path and what to do: a directory or file that others can change, or secrets that they can
    read.
    """

    def __init__(self, path: Path | str) -> None:
        self.path = Path(path)
        self.losses: list[Loss] = []
        """What was found damaged; the caller drains it."""
        self.unsaved: dict[str, object] = {}
        """Name → value of what `keep` could not write."""
        self.trouble = ""
        """Why it could not: one line."""
        try:
            self.path.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._fd = os.open(self.path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        except (FileExistsError, NotADirectoryError):
            raise StateError(
                f"{self.path} is not a directory: move it away or choose another --state-dir"
            ) from None
        except OSError as error:
            raise StateError(
                f"cannot use {self.path}: {error.strerror}: run as root (sudo) or choose "
                f"another --state-dir"
            ) from None
        weakref.finalize(self, os.close, self._fd)
        found = os.fstat(self._fd)
        if found.st_uid not in (0, os.geteuid()):
            raise StateError(
                f"{self.path} belongs to user {found.st_uid}: chown it or pick another --state-dir"
            )
        if stat.S_IMODE(found.st_mode) & 0o022:
            # Whoever may rename files in here may choose who we are.
            shared = found.st_mode & stat.S_ISVTX or names.holds_others(self._fd)
            advice = (
                "name a directory of its own with --state-dir"
                if shared
                else f"chmod 700 {self.path}"
            )
            raise StateError(f"{self.path} is writable for others: {advice}")

    @contextmanager
    def lock(self) -> Iterator[None]:
        """Keep every other router out while the context lasts; StateError if one is in."""
        fd = self._open_lock()
        try:
            try:
                fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                holder = os.read(fd, 32).decode(errors="replace").strip()
                raise StateError(
                    f"another weave-py router (pid {holder or 'unknown'}) uses {self.path}: "
                    f"stop it, or give each router its own --state-dir"
                ) from None
            with suppress(OSError):  # a full disk: the lock holds without our number in it
                os.ftruncate(fd, 0)
                os.pwrite(fd, f"{os.getpid()}\n".encode(), 0)
            yield  # the file stays: unlinking it would let two routers lock two files
        finally:
            os.close(fd)

    def load(self, name: str, parse: Callable[[object], T]) -> T | None:
        """The value saved as `name`, as `parse` makes it of what was saved; None if there is
        none (any more: see `losses`). `parse` raises ValueError for what makes no sense."""
        declared = names.state_file(name)
        value, loss = generations.load(self._file(declared), parse, private=declared.private)
        if loss is not None:
            self.losses.append(loss)
        return value

    def save(self, name: str, value: object) -> None:
        """Keep `value` as `name`, one of `names.STATE_FILES`; ValueError unless JSON returns it
        unchanged. StateError if it
        cannot be written: what was saved before is still there then."""
        data = file.encode_payload(value)
        loss = generations.save(self._file(names.state_file(name)), data)
        if loss is not None:
            self.losses.append(loss)

    def keep(self, name: str, value: object) -> None:
        """Save it, or put it into `unsaved` if the disk takes nothing."""
        try:
            self.save(name, value)
        except StateError as error:
            self.unsaved[name] = value
            self.trouble = str(error)

    def load_identity(self) -> Identity | None:
        """Who we were last time; None at the first start, or if both generations are lost."""
        return self.load(IDENTITY.name, _identity)

    def keep_identity(self, identity: Identity) -> None:
        """Keep the identity's secrets (0600)."""
        signing, static = identity.secrets()
        self.keep(IDENTITY.name, {"signing": signing.hex(), "static": static.hex()})

    def next_incarnation(self) -> int:
        """How often a router started on this directory, this time included: 1, 2, 3 …"""
        known = len(self.losses)
        stored = self.load(INCARNATION.name, _count)
        incarnation = 1 if stored is None else stored + 1
        if stored is not None and len(self.losses) > known:
            incarnation += 1  # of two generations the lost one counted one start more
        self.keep(INCARNATION.name, incarnation)
        return incarnation

    @property
    def holds_state(self) -> bool:
        """Whether there is anything to wipe."""
        return names.holds_state(self._fd)

    def wipe(self) -> None:
        """Forget everything that a router keeps, the identity too. For who holds the lock."""
        try:
            for name in sorted(filter(names.is_state, os.listdir(self._fd))):
                os.unlink(name, dir_fd=self._fd)
        except OSError as error:
            raise StateError(f"cannot empty {self.path}: {error.strerror}") from None

    def _open_lock(self) -> int:
        flags = os.O_NOFOLLOW | os.O_CLOEXEC
        try:
            try:
                return os.open("lock", flags | os.O_RDWR | os.O_CREAT, 0o600, dir_fd=self._fd)
            except OSError as error:
                if error.errno != errno.EROFS:
                    raise
                return os.open("lock", flags | os.O_RDONLY, dir_fd=self._fd)
        except OSError as error:
            raise StateError(f"cannot open {self.path / 'lock'}: {error.strerror}") from None

    def _file(self, declared: StateFile) -> Path:
        return self.path / f"{declared.name}.json"


def _identity(payload: object) -> Identity:
    try:
        if not isinstance(payload, dict) or payload.keys() != {"signing", "static"}:
            raise ValueError
        return Identity.from_secrets(
            bytes.fromhex(payload["signing"]), bytes.fromhex(payload["static"])
        )
    except (TypeError, ValueError):
        # Not the decoder's own words: they may quote what they stumbled over.
        raise ValueError("it does not hold two keys") from None


def _count(payload: object) -> int:
    if type(payload) is not int or payload < 0:
        raise ValueError("it does not hold a count")
    return payload
