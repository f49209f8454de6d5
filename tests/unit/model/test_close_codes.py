"""Are close codes what is on the wire, and are unknown ones harmless?"""

from __future__ import annotations

from weave_py.model.close_codes import CloseCode


def test_the_numbers_are_protocol() -> None:
    assert {code.name: int(code) for code in CloseCode} == {
        "UNSPECIFIED": 0,
        "LEAVING": 1,
        "DUPLICATE": 2,
        "MADE_ROOM": 3,
        "SUPERFLUOUS": 4,
        "OURSELF": 5,
        "CLONED": 6,
        "REFUSED": 7,
        "BUSY": 8,
    }


def test_a_code_of_the_future_says_nothing() -> None:
    assert CloseCode.of(5) is CloseCode.OURSELF
    assert CloseCode.of(200) is CloseCode.UNSPECIFIED
