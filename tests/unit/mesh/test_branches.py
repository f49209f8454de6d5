"""Does who is made up get no more than one branch's share?"""

from __future__ import annotations

from tests.kit.builders import synthetic_name
from weave_py.mesh.branches import Branches

A, B, LIAR, HONEST = (synthetic_name(number) for number in range(1, 5))


def behind(*way: bytes, count: int, start: int = 100) -> list[list[bytes]]:
    return [[*way, synthetic_name(number)] for number in range(start, start + count)]


def branches(*groups: list[list[bytes]]) -> Branches:
    return Branches([way for group in groups for way in group])  # type: ignore[misc]


def test_who_comes_where_few_are_is_entitled_and_who_comes_where_many_are_is_not() -> None:
    made = branches(behind(A, LIAR, count=90), behind(A, HONEST, count=5, start=300))
    assert not made.is_entitled([A, LIAR, synthetic_name(999)], 100)
    assert made.is_entitled([A, HONEST, synthetic_name(999)], 100)
    assert made.is_entitled([A, synthetic_name(999)], 100)
    assert made.is_entitled([B, synthetic_name(999)], 100)
    assert not made.is_entitled([], 100), "who cannot be reached is not"


def test_however_they_hang_together_they_are_one_branch() -> None:
    chain = [[A, LIAR, *(synthetic_name(n) for n in range(100, 100 + k))] for k in range(90)]
    tree = branches(chain, behind(A, HONEST, count=1, start=300))  # type: ignore[arg-type]
    for way in chain:
        assert not tree.is_entitled([*way, synthetic_name(999)], 100)
    assert tree.is_entitled([A, HONEST, synthetic_name(999)], 100)


def test_the_largest_is_where_the_ways_first_divide() -> None:
    assert branches(behind(A, LIAR, count=9), behind(A, HONEST, count=2)).largest() == LIAR
    assert branches(behind(A, LIAR, count=9), behind(B, count=2)).largest() == A
    assert branches([[A]]).largest() == A
