"""How does a refusal of the kernel become one sentence?"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from weave_py.host.refusal import refused


@contextmanager
def doing(what: str, expected: int | None = None) -> Iterator[None]:
    """Turn refusals into HostError, but for one errno, which is fine."""
    try:
        yield
    except OSError as error:
        if expected is None or error.errno != expected:
            raise refused(what, error.errno) from None
