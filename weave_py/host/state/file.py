"""How does a small value survive a crash, and how do we know that it did?

A file is one JSON document: `{"checksum": …, "format": 1, "payload": …}`, the checksum being
BLAKE2s-256 (RFC 7693) over the payload in canonical form. It is replaced whole (write beside,
fsync, rename, fsync the directory), so that a crash leaves the old one or the new one.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import stat
from contextlib import suppress
from pathlib import Path
from typing import Final

from weave_py.model.errors import StateError

_UNREADABLE: Final = (errno.EIO, errno.EBADMSG, errno.EUCLEAN)
"""What a file system says about a file that its disk has lost."""

FORMAT: Final = 1
MAX_BYTES: Final = 1 << 20
"""Far above anything we keep; a larger file is somebody else's."""


class NewerFormatError(ValueError):
    """The file is intact, and none that we can read."""


def encode_payload(payload: object) -> bytes:
    """The file's bytes; ValueError unless `payload` survives JSON unchanged."""
    try:
        canonical = _canonical(payload)
        unchanged = json.loads(canonical) == payload
    except (TypeError, RecursionError) as error:
        raise ValueError(f"not a value that JSON can hold: {error}") from None
    if not unchanged:
        raise ValueError("not a value that JSON returns unchanged")
    document = {"checksum": _checksum(canonical), "format": FORMAT, "payload": payload}
    data = _canonical(document) + b"\n"
    if len(data) > MAX_BYTES:
        raise ValueError(f"too large for a state file: {len(data)} bytes")
    return data


def decode_payload(data: bytes) -> object:
    """The payload; ValueError saying what is wrong for anything but an intact file
    (NewerFormatError if only its format is unknown)."""
    try:
        document = json.loads(data.decode(), parse_constant=_refuse_constant)
    except (ValueError, RecursionError):
        raise ValueError("it is cut short or not JSON") from None
    if not isinstance(document, dict) or document.keys() != {"checksum", "format", "payload"}:
        raise ValueError("it is not a weave-py state file")
    if document["checksum"] != _checksum(_canonical(document["payload"])):
        raise ValueError("its checksum does not match")
    found = document["format"]
    if type(found) is int and found > FORMAT:
        raise NewerFormatError(f"a newer weave-py wrote it (format {found}; we know {FORMAT})")
    if type(found) is not int or found != FORMAT:
        raise ValueError(f"its format is {found!r}, and we know only {FORMAT}")
    payload: object = document["payload"]
    return payload


def read_file(path: Path, *, private: bool) -> bytes | None:
    """The bytes of a regular file of ours; None if there is none.

    ValueError if it is damaged: too large, or the disk has lost it. StateError if it is none of
    ours: a link, a file of another user, and (if `private`) one that group or others can access.
    """
    try:
        # Never follow a link that somebody planted, never hang on a FIFO.
        fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK)
    except FileNotFoundError:
        return None
    except OSError as error:
        if error.errno == errno.ELOOP:
            raise StateError(f"{path} is a symbolic link: replace it by the file itself") from None
        raise _unreadable(path, error) from None
    try:
        _check(path, os.fstat(fd), private)
        with open(fd, "rb", closefd=False) as file:
            return file.read(MAX_BYTES + 1)
    except OSError as error:
        raise _unreadable(path, error) from None
    finally:
        os.close(fd)


def replace_file(path: Path, data: bytes) -> None:
    """Make `path` hold exactly `data` (mode 0600), or leave it as it was and raise StateError."""
    beside = path.with_name(f".{path.name}.new")
    try:
        with suppress(FileNotFoundError):
            beside.unlink()  # left over from a crash; never the only copy of anything
        fd = os.open(
            beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600
        )
        with open(fd, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(fd)
        beside.rename(path)
        _sync_directory(path.parent)
    except OSError as error:
        with suppress(OSError):
            beside.unlink()
        raise StateError(
            f"cannot write {path}: {error.strerror}: make the directory writable and the disk "
            f"not full"
        ) from None


def _check(path: Path, found: os.stat_result, private: bool) -> None:
    if not stat.S_ISREG(found.st_mode):
        raise StateError(f"{path} is not a regular file: move it away")
    if found.st_uid not in (0, os.geteuid()):
        raise StateError(f"{path} belongs to user {found.st_uid}: chown {os.geteuid()} {path}")
    if private and stat.S_IMODE(found.st_mode) & 0o077:
        raise StateError(f"{path} holds secrets and others can access it: chmod 600 {path}")
    if found.st_size > MAX_BYTES:
        raise ValueError(f"it is too large ({found.st_size} bytes)")


def _unreadable(path: Path, error: OSError) -> Exception:
    if error.errno in _UNREADABLE:
        return ValueError(f"the disk cannot read it ({error.strerror})")
    return StateError(f"cannot read {path}: {error.strerror}")


def _sync_directory(path: Path) -> None:
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def _canonical(value: object) -> bytes:
    return json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False).encode()


def _checksum(canonical: bytes) -> str:
    return hashlib.blake2s(canonical).hexdigest()


def _refuse_constant(name: str) -> object:
    raise ValueError(f"not JSON: {name}")
