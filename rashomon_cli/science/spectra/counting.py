"""How many eigenvalues are within τ of 0, with an interval, from the raw weights of a spectral density.

Two things are uncertain, and both are in the interval. What one probe's measure has within τ is known only between the
bounds that the moments prove (``quadrature.bracket``). And a probe's share is random, but by a known law (``ranks``).
So the interval has every number N under which a mean of the upper bounds as low, and one of the lower bounds as high,
is not improbable.

A difference between two matrices has no such law, as the projectors may lie anyhow. Probes are common to both, so it is
estimated from the probes' differences by Student's t. Where few eigenvalues enter or leave, these are far from normal
(multiples of χ² with few degrees of freedom), so the Beta law of one projector within the other is allowed for as well.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.special import stdtrit

from rashomon_cli.core.results import Array
from rashomon_cli.science.intervals import LEVEL
from rashomon_cli.science.spectra.density import Density
from rashomon_cli.science.spectra.dimensions import Count
from rashomon_cli.science.spectra.quadrature import ROUNDING, bracket
from rashomon_cli.science.spectra.ranks import high_rank, low_rank

_DECIMALS = 2


def count(found: Density, taus: Array, *, with_symmetry: bool = True, level: float = LEVEL) -> Count:
    """The number of eigenvalues with |λ| ≤ τ as a curve over τ.

    Args:
        found: the density.
        taus: tolerances τ > 0, increasing (m,). Below ``found.noise`` rounding alone decides: see :func:`resolved`.
        with_symmetry: whether the directions of symmetries count; else it is the number for the matrix on what is
            orthogonal to them.
        level: probability that the interval holds at one τ, at least.

    Returns:
        The curve; its interval has the bracket of the quadrature, the chance of the probes, and what rounding and the
        residuals of known directions leave uncertain.
    """
    terms = found.border.part(with_symmetry).terms(taus, found.noise)
    value, low, high = (bound.mean(axis=0) for bound in shares(found, taus, terms.move))
    size, probes = found.dimension, len(found.alpha)
    least = low_rank(low, size, probes, (1 - level) / 2) + terms.low - terms.left_out
    most = high_rank(high, size, probes, (1 - level) / 2) + terms.high + terms.left_out
    total = size + len(found.border.part(with_symmetry).inside)
    least, most = np.clip(np.floor(least), 0, total), np.clip(np.ceil(most), 0, total)
    return Count(taus, np.clip(np.round(size * value + terms.inside), least, most), least, most, "quadrature")


@dataclass(frozen=True)
class Change:
    """The difference of two counts of |λ| ≤ τ, second less first, as a curve over τ; each (m,).

    Attributes:
        taus: tolerances τ.
        value: the difference.
        low: lower end of its interval.
        high: upper end.
    """

    taus: Array
    value: Array
    low: Array
    high: Array


def change(first: Density, second: Density, taus: Array, *, with_symmetry: bool = True, level: float = LEVEL) -> Change:
    """By how much the number of eigenvalues with |λ| ≤ τ differs between two points, from common probes.

    Args:
        first: the density at one point.
        second: at another, by the same probes.
        taus: tolerances τ > 0, increasing (m,).
        with_symmetry: as of :func:`count`.
        level: probability that the interval holds at one τ.

    Returns:
        The difference and its interval; of a single probe the interval has no ends.

    Raises:
        ValueError: if the densities have other probes, or matrices of other sizes.
    """
    if (first.seed, len(first.alpha), first.size) != (second.seed, len(second.alpha), second.size):
        raise ValueError("a change is measured from common probes: the same seed, number of probes and size")
    (value, low, high), (value2, low2, high2) = (_counts(found, taus, with_symmetry) for found in (first, second))
    most = _most(high2 - low, first.size, (1 - level) / 2)
    least = -_most(high - low2, first.size, (1 - level) / 2)
    middle = np.clip((value2 - value).mean(axis=0), least, most)
    return Change(taus, middle, least, most)


def _counts(found: Density, taus: Array, with_symmetry: bool) -> tuple[Array, Array, Array]:
    """Each probe's count with its bounds, (probes, m)."""
    terms = found.border.part(with_symmetry).terms(taus, found.noise)
    value, low, high = (found.dimension * each for each in shares(found, taus, terms.move))
    return value + terms.inside, low + terms.low - terms.left_out, high + terms.high + terms.left_out


def _most(differences: Array, size: int, tail: float) -> Array:
    """Upper ends (m,) of a difference's interval from the probes' upper bounds of it (probes, m)."""
    probes, mean = len(differences), differences.mean(axis=0)
    if probes == 1:
        return np.full(len(mean), np.inf)
    reach = stdtrit(probes - 1, 1 - tail) * differences.std(axis=0, ddof=1) / probes**0.5
    share = np.clip(np.abs(mean) / size, 0.0, 1.0)
    nested = np.where(mean < 0, -low_rank(share, size, probes, tail), high_rank(share, size, probes, tail))
    ends: Array = np.round(np.maximum(mean + reach, nested), _DECIMALS)
    return ends


def resolved(found: Density, taus: Array) -> Array:
    """Whether each τ (m,) is above what rounding leaves uncertain: about 1e-6 of the largest |λ| in float32."""
    above: Array = np.asarray(taus) >= found.noise
    return above


def shares(found: Density, taus: Array, move: Array | float = 0.0) -> tuple[Array, Array, Array]:
    """What each probe's measure has in [−τ, τ].

    Args:
        found: the density.
        taus: tolerances τ (m,).
        move: how far τ may be off (m,), beside what rounding leaves uncertain.

    Returns:
        The share by the Gauss rule, held within the bounds, and the lower and upper bound, each (probes, m).
    """
    margin = found.noise + np.asarray(move)
    inner, outer = taus - margin, taus + margin
    points = np.concatenate([inner, -inner, outer, -outer])
    value, low, high = (np.zeros((len(found.alpha), len(taus))) for _ in range(3))
    for row, (alpha, beta) in enumerate(zip(found.alpha, found.beta, strict=True)):
        nodes, weights = found.rules[row]
        below, up_to = (np.split(bound, 4) for bound in bracket(alpha, beta, points))
        low[row] = np.clip(below[0] - up_to[1] - ROUNDING, 0.0, 1.0)
        high[row] = np.clip(up_to[2] - below[3] + ROUNDING, 0.0, 1.0)
        value[row] = np.clip((np.abs(nodes) <= taus[:, None]) @ weights, low[row], high[row])
    return value, low, high
