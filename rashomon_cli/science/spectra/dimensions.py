"""The dimension of the ridge at a point: how many eigenvalues of a curvature count as zero, by up to three routes.

An eigenvalue counts as zero if a step of length r along its eigenvector raises the loss by no more than ε to second
order: ``½ τ r² = ε`` (SCIENCE.md, "Post R", 5). No route is right for every matrix, so each gives an interval, and they
are reconciled: the narrowest is taken, and those that contradict it are named.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from rashomon_cli.core.results import Array, Result, Variable, scalar, series

NAMES = {
    "dimension": "directions with |λ| ≤ τ",
    "dimension_less_symmetries": "directions with |λ| ≤ τ, symmetries aside",
}
"""The counts of a point, and what each is of."""

BOUNDS = ("gram", "top")
"""Routes that are exact or give bounds; the interval of the other one holds with some probability only."""

UNTOLD = "not counted"
"""In the place of a route where symmetries could not be told."""


@dataclass(frozen=True)
class Count:
    """The number of eigenvalues with |λ| ≤ τ as a curve over τ, by one route.

    Attributes:
        taus: tolerances τ, increasing (m,).
        value: the number at each τ (m,); NaN where the route does not reach it.
        low: lower end of its interval (m,); equal to ``value`` where the route is exact.
        high: upper end (m,).
        route: ``quadrature``, ``gram`` or ``top``.
    """

    taus: Array
    value: Array
    low: Array
    high: Array
    route: str

    def without(self, null: int | Array) -> Count:
        """The count less some directions that are eigenvectors of eigenvalue 0, such as those of symmetries.

        Where they are not, as of a Hessian where the gradient is not 0, count on their complement instead.

        Args:
            null: their number, at each τ (m,) or everywhere.

        Returns:
            The count of the others.
        """
        value, low, high = (np.maximum(each - null, 0.0) for each in (self.value, self.low, self.high))
        return Count(self.taus, value, low, high, self.route)


def tolerance(epsilon: float, step: float) -> float:
    """``τ = 2ε/r²``: a step r along an eigenvector of λ = τ raises the loss by ε to second order.

    Args:
        epsilon: ε > 0, in the loss's unit.
        step: r > 0, in units of the parameters.

    Returns:
        τ.
    """
    return 2.0 * epsilon / step**2


def grid(tau: float, decades: float = 3.0, each: int = 8) -> Array:
    """Tolerances around one, equally spaced in their logarithm.

    Args:
        tau: τ, the one in the middle, exactly.
        decades: how far to either side.
        each: points a decade.

    Returns:
        Tolerances, increasing.
    """
    reach = max(1, round(decades * each))
    found: Array = tau * 10.0 ** (np.arange(-reach, reach + 1) * (decades / reach))
    found[reach] = tau
    return found


@dataclass(frozen=True)
class Reconciled:
    """What several routes say together; each (m,).

    Attributes:
        taus: tolerances τ.
        value: of the route that was taken at each.
        low: lower end of its interval.
        high: upper end.
        routes: the route that was taken.
        agree: whether all intervals have a number in common.
        apart: routes two of whose intervals at some τ have none, in pairs.
        counts: of every route.
    """

    taus: Array
    value: Array
    low: Array
    high: Array
    routes: Array
    agree: Array
    apart: tuple[tuple[str, str], ...]
    counts: tuple[Count, ...]


def reconcile(counts: Sequence[Count]) -> Reconciled:
    """Choose at each τ the route with the narrowest interval; of equally narrow ones the first.

    A route without a value at a τ is taken there only if no other has one.

    Args:
        counts: of the same matrix at the same tolerances, at least one.

    Returns:
        The choice, and where routes contradict each other.

    Raises:
        ValueError: if the tolerances differ, or there is no count.
    """
    if not counts or any(not np.array_equal(each.taus, counts[0].taus) for each in counts):
        raise ValueError("counts are reconciled at the same tolerances, and there must be one")
    value, low, high = (np.stack([getattr(each, part) for each in counts]) for part in ("value", "low", "high"))
    taken = np.argmin(np.where(np.isnan(value), np.inf, high - low), axis=0)
    at = np.arange(len(counts[0].taus))
    apart = [
        (one.route, other.route)
        for row, one in enumerate(counts)
        for other in counts[row + 1 :]
        if (np.maximum(one.low, other.low) > np.minimum(one.high, other.high)).any()
    ]
    routes = np.array([each.route for each in counts])[taken]
    agree = low.max(axis=0) <= high.min(axis=0)
    value, low, high = (each[taken, at] for each in (value, low, high))
    return Reconciled(counts[0].taus, value, low, high, routes, agree, tuple(apart), tuple(counts))


def untold(found: Reconciled, most: Array) -> Reconciled:
    """What is left to say of the count without symmetries where these could not be told: no value, but an interval.

    Args:
        found: the count of all directions.
        most: the largest number that it may be at each τ (m,).

    Returns:
        From 0 to that, without routes.
    """
    nothing = np.full_like(found.value, np.nan)
    routes = np.full(len(found.taus), UNTOLD)
    agree = np.ones_like(found.agree)
    low, high = np.zeros_like(nothing), np.asarray(most, dtype=np.float64)
    return replace(found, value=nothing, low=low, high=high, routes=routes, agree=agree, apart=(), counts=())


def result(found: Reconciled, tau: float, name: str = "dimension", words: str = "directions with |λ| ≤ τ") -> Result:
    """The count at one τ, and the curves.

    Args:
        found: the reconciled routes.
        tau: τ, one of the tolerances.
        name: of the variables: ``dimension`` for all directions, another for those without symmetries.
        words: what is counted.

    Returns:
        ``tau``, ``NAME``, ``NAME_low``, ``NAME_high``, ``NAME_route`` and ``NAME_agrees`` at τ; along ``tolerance``
        ``NAME_curve`` with ``_taus``, ``_low``, ``_high``, ``_route``, and the curve of every route R as
        ``NAME_curve_R`` with ``_low`` and ``_high``.
    """
    place = int(np.abs(found.taus - tau).argmin())
    value, low, high = (float(each[place]) for each in (found.value, found.low, found.high))
    kept = {
        "tau": scalar(tau, "nat", "an eigenvalue of at most this size counts as zero, τ"),
        name: scalar(value, "1", f"number of {words}"),
        f"{name}_low": scalar(low, "1", f"number of {words}, lower end"),
        f"{name}_high": scalar(high, "1", f"number of {words}, upper end"),
        f"{name}_route": Variable((), np.asarray(str(found.routes[place])), "1", "how it was counted"),
        f"{name}_agrees": Variable(
            (), np.asarray(bool(found.agree[place])), "1", "whether all routes' intervals overlap"
        ),
        f"{name}_curve_taus": series("tolerance", found.taus, "nat", "tolerance τ"),
        f"{name}_curve": series("tolerance", found.value, "1", f"number of {words}"),
        f"{name}_curve_low": series("tolerance", found.low, "1", f"number of {words}, lower end"),
        f"{name}_curve_high": series("tolerance", found.high, "1", f"number of {words}, upper end"),
        f"{name}_curve_route": series("tolerance", found.routes, "1", "how it was counted"),
    }
    for each in found.counts:
        for end, numbers in (("", each.value), ("_low", each.low), ("_high", each.high)):
            about = f"number of {words} by {each.route}{end.replace('_', ', ')}"
            kept[f"{name}_curve_{each.route}{end}"] = series("tolerance", numbers, "1", about)
    return Result(kept)
