"""Is the dimension constant along a path? Each point against the first one."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from rashomon_cli.core.results import Array, Result, Variable, series
from rashomon_cli.science.intervals import LEVEL


@dataclass(frozen=True)
class Constancy:
    """By how much the number of null directions differs from that at the first position; each (T,).

    Attributes:
        ts: positions on the path.
        value: the difference, 0 at the first.
        low: lower end of its interval.
        high: upper end.
    """

    ts: Array
    value: Array
    low: Array
    high: Array

    @property
    def differs(self) -> Array:
        """At which positions the number is another than at the first one."""
        found: Array = (self.low > 0) | (self.high < 0)
        return found

    def narrower(self, other: Constancy) -> Constancy:
        """At each position the narrower of two intervals of the same difference."""
        mine = (self.high - self.low) <= (other.high - other.low)
        pairs = ((self.value, other.value), (self.low, other.low), (self.high, other.high))
        return Constancy(self.ts, *(np.where(mine, one, two) for one, two in pairs))

    @property
    def statement(self) -> str:
        """What can be said, in one sentence."""
        if self.differs.any():
            places = ", ".join(f"{t:g}" for t in self.ts[self.differs])
            first = self.value[self.differs][0]
            return f"not constant: another than at t = {self.ts[0]:g} at t = {places}; first by {first:+,.0f}"
        if not np.isfinite(self.high - self.low).all():
            return "whether it is constant cannot be told from so few probes"
        most = max(0, math.ceil(np.max(np.maximum(-self.low, self.high))))
        return f"no difference is shown: nowhere can it be more than {most:,.0f} from that at t = {self.ts[0]:g}"


def level(points: int, overall: float = LEVEL) -> float:
    """The level of each interval with which all comparisons with the first point hold together (Bonferroni).

    Args:
        points: positions on the path.
        overall: probability that all hold.

    Returns:
        The level of a single one.
    """
    return 1.0 - (1.0 - overall) / max(1, points - 1)


def constancy(ts: Sequence[float] | Array, value: Array, low: Array, high: Array) -> Constancy:
    """Compare the points of a path with the first one.

    Args:
        ts: positions (T,).
        value: differences from the first (T,): 0 there.
        low: lower ends of their intervals, from common probes, each at :func:`level`.
        high: upper ends.

    Returns:
        Where the dimension is another.
    """
    return Constancy(*(np.asarray(each, dtype=np.float64) for each in (ts, value, low, high)))


def separate(ts: Sequence[float] | Array, value: Array, low: Array, high: Array, bounds: Array) -> Constancy:
    """The same from counts that have nothing in common, where they are exact or between bounds.

    Bounds always hold, so all these comparisons hold together. Two intervals that hold with some probability each do
    not: where either count has such a one, nothing is told.

    Args:
        ts: positions (T,).
        value: counts (T,), not differences.
        low: lower ends of their intervals.
        high: upper ends.
        bounds: where these are bounds (T,).

    Returns:
        Where the dimension is another: where intervals do not overlap.
    """
    value, low, high = (np.asarray(each, dtype=np.float64) for each in (value, low, high))
    told = np.asarray(bounds, dtype=bool) & bounds[0]
    least, most = np.where(told, low - high[0], -np.inf), np.where(told, high - low[0], np.inf)
    least[0] = most[0] = 0.0
    return Constancy(np.asarray(ts, dtype=np.float64), value - value[0], least, most)


def result(found: Constancy, name: str = "dimension") -> Result:
    """The comparison as variables along t.

    Args:
        found: the comparison.
        name: of the count.

    Returns:
        ``NAME_change``, ``NAME_change_low``, ``NAME_change_high`` and ``NAME_differs`` along ``t``, and
        ``NAME_constant``, a sentence.
    """
    about = f"difference of the number of null directions from that at t = {found.ts[0]:g}"
    return Result(
        {
            f"{name}_change": series("t", found.value, "1", about),
            f"{name}_change_low": series("t", found.low, "1", f"{about}, lower end"),
            f"{name}_change_high": series("t", found.high, "1", f"{about}, upper end"),
            f"{name}_differs": series("t", found.differs, "1", "whether that interval is without 0"),
            f"{name}_constant": Variable(
                (), np.asarray(found.statement), "1", "whether the number is constant along t"
            ),
        }
    )
