"""Where does the network's secret come from?

From `--password-file`, `--password`, `WEAVE_PASSWORD` or `WEAVE_PASSWORD_FILE`; a flag wins over
the environment. A secret that is empty or cannot be read is an error, never an open network:
encryption is not given up by accident.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Mapping, MutableMapping
from pathlib import Path

from weave_py.config.options import PASSWORD, PASSWORD_FILE
from weave_py.model.errors import ConfigError

MAX_PASSWORD_BYTES = 65_536
_FOR_OTHERS = 0o026
"""All but reading by the group, which may have been made for it."""


def resolve_password(
    flags: Mapping[str, str | bool | None], environ: MutableMapping[str, str]
) -> str | None:
    """The network's secret, None without one; ConfigError if it cannot be used.

    Takes `WEAVE_PASSWORD` out of `environ`, so that no child process inherits it.
    """
    from_environment = environ.pop(PASSWORD.variable, None)
    flag, flag_file = flags.get(PASSWORD.name), flags.get(PASSWORD_FILE.name)
    if flag is not None and flag_file is not None:
        raise ConfigError("--password and --password-file are both given: use one of them")
    if flag is not None:
        return _not_empty(str(flag), "--password")
    if flag_file is not None:
        return _password_from(str(flag_file), "--password-file")
    file = environ.get(PASSWORD_FILE.variable) or None
    if from_environment is not None and file is not None:
        raise ConfigError("WEAVE_PASSWORD and WEAVE_PASSWORD_FILE are both set: use one of them")
    if from_environment is not None:
        return _not_empty(from_environment, PASSWORD.variable)
    return None if file is None else _password_from(file, PASSWORD_FILE.variable)


def password_file_warning(
    flags: Mapping[str, str | bool | None], environ: Mapping[str, str]
) -> str | None:
    """What to tell of the file that `resolve_password` took the secret from, if others can read
    or change it."""
    if flags.get(PASSWORD.name) is not None:
        return None
    path = flags.get(PASSWORD_FILE.name) or environ.get(PASSWORD_FILE.variable)
    if not path:
        return None
    try:
        mode = os.stat(str(path)).st_mode
    except OSError:
        return None
    # Of a pipe, as of `<(pass show …)`, the mode says nothing.
    if not stat.S_ISREG(mode) or not stat.S_IMODE(mode) & _FOR_OTHERS:
        return None
    doing = "change" if stat.S_IMODE(mode) & 0o022 else "read"
    return f"others can {doing} the password file: chmod 600 {path}"


def _not_empty(password: str, source: str) -> str:
    if not password:
        raise ConfigError(f"{source} is empty: give the secret, or leave it out (open network)")
    try:
        password.encode()
    except UnicodeEncodeError:
        raise ConfigError(f"{source} is not UTF-8 text: use a password that is") from None
    return password


def _password_from(name: str, source: str) -> str:
    if not name:
        raise ConfigError(f"{source} is empty: name a file, or leave it out (open network)")
    path = Path(name)
    try:
        with path.open("rb") as file:
            line = file.readline(MAX_PASSWORD_BYTES + 1)
        password = line.decode().rstrip("\r\n")
    except OSError as error:
        reason = os.strerror(error.errno) if error.errno else str(error)
        raise ConfigError(
            f"{source} = {str(path)!r} cannot be read ({reason}): name a file whose first line "
            "is the password"
        ) from None
    except UnicodeDecodeError:
        raise ConfigError(f"{source} = {str(path)!r} is not UTF-8 text: save it so") from None
    if len(line) > MAX_PASSWORD_BYTES:
        raise ConfigError(
            f"{source} = {str(path)!r}: its first line is longer than {MAX_PASSWORD_BYTES} bytes: "
            "name the file that holds the password"
        )
    if not password:
        raise ConfigError(
            f"{source} = {str(path)!r}: its first line is empty: put the password there"
        )
    return password
