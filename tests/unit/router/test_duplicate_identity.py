"""How often does a router say that another one runs with its identity?"""

from __future__ import annotations

from weave_py.router.duplicate_identity import COMPLAIN_EVERY, DuplicateIdentity


def test_one_line_says_it() -> None:
    duplicates = DuplicateIdentity()
    said = [second for second in range(121) if duplicates.complaint({}, 100.0 + second)]
    assert said == [0, COMPLAIN_EVERY, 2 * COMPLAIN_EVERY]
