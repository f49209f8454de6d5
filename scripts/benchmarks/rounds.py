"""How are measurements repeated so that their ratios can be believed? In turns, in good company.

Every round puts all contestants through one block of measurements, one after another, before the
next block begins: what slows the machine down for a while slows all of them. A sample during
which others used the machine is taken again.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from scripts.benchmarks.tables import Sample, median, say

Measure = Callable[[], Sample]
ATTEMPTS = 3


@dataclass(frozen=True, slots=True)
class Block:
    """Measurements that belong together, for each contestant."""

    name: str
    measures: Mapping[str, Measure]
    """Contestant → what measures it, on a field of its own."""


class Samples:
    """All that was found, to be asked for medians and for ratios."""

    def __init__(self, taken: Sequence[Sample]) -> None:
        self.taken = taken

    def values(self, who: str, block: str, what: str) -> dict[int, float]:
        """Round → value, where there is one."""
        return {
            sample["round"]: sample[what]
            for sample in self.taken
            if (sample["contestant"], sample["block"]) == (who, block)
            and sample.get(what) is not None
        }

    def median(self, who: str, block: str, what: str) -> float | None:
        return median(self.values(who, block, what).values())

    def worst(self, who: str, block: str, what: str) -> float | None:
        """The largest."""
        return max(self.values(who, block, what).values(), default=None)

    def ratio(self, who: str, other: str, block: str, what: str) -> float | None:
        """Median over the rounds of one contestant's value by the other's in the same round."""
        ours, theirs = self.values(who, block, what), self.values(other, block, what)
        return median(ours[r] / theirs[r] for r in ours.keys() & theirs.keys() if theirs[r])

    def between(self, who: str, block: str, base: str, what: str) -> float | None:
        """The same for one contestant's value in a block, by its value in the block `base`."""
        there, here = self.values(who, block, what), self.values(who, base, what)
        return median(there[r] / here[r] for r in there.keys() & here.keys() if here[r])


def run(blocks: Sequence[Block], rounds: int, noise: float) -> list[Sample]:
    """Everything, in turns. A measurement that fails is a sample with an `error`."""
    taken = []
    for number in range(1, rounds + 1):
        taken += one_round(blocks, number, noise)
    return taken


def one_round(blocks: Sequence[Block], number: int, noise: float) -> list[Sample]:
    """Every block once."""
    taken = []
    for block in blocks:
        for who, measure in block.measures.items():
            sample = {"contestant": who, "block": block.name, "round": number}
            sample |= _take(measure, noise)
            say(line(sample))
            taken.append(sample)
    return taken


def _take(measure: Measure, noise: float) -> Sample:
    """The first of some attempts that others did not disturb, or else the last."""
    found: Sample = {}
    for attempt in range(1, ATTEMPTS + 1):
        try:
            found = measure()
        except Exception as error:  # one that fails must not end the run
            return {"error": f"{type(error).__name__}: {error}"[:400], "attempt": attempt}
        found["attempt"] = attempt
        if "error" in found or found.get("foreign", 0.0) <= noise:
            break
    return found


def line(sample: Sample) -> str:
    """For people who wait."""
    words = [
        f"{name}={value:.4g}" if isinstance(value, float) else f"{name}={value}"
        for name, value in sample.items()
        if value is not None
    ]
    return " ".join(words)
