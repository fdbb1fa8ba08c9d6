"""The spectral density of a symmetric matrix as raw nodes and weights: what it is, what it says, how it is stored.

Each probe sees the spectrum as a measure with some nodes and weights (``quadrature``); on average over probes (``slq``)
that is the density of the n eigenvalues, each of weight 1/n. What is known of a part of the spectrum (``deflation``) is
added exactly. Nothing is smoothed but for a plot: a share of the spectrum near 0 must come from raw weights.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from rashomon_cli.core.results import Array, Result, Variable, scalar, series
from rashomon_cli.science.spectra.deflation import Border
from rashomon_cli.science.spectra.quadrature import ends, gauss, steps_taken


@dataclass(frozen=True)
class Density:
    """What the probes saw, raw.

    Attributes:
        alpha: diagonals of the probes' tridiagonal matrices (probes, steps); NaN beyond the steps that were taken, and
            everywhere if all is known.
        beta: what couples each step to the next (probes, steps); 0 where the quadrature is exact.
        dimension: of the space that the probes were drawn from: n less the known directions.
        border: what is known of the others.
        resolution: what an eigenvalue may be off by rounding, relative to the largest |λ|.
        seed: of the probes; points of a path that share it share their probes.
    """

    alpha: Array
    beta: Array
    dimension: int
    border: Border
    resolution: float
    seed: int

    @property
    def size(self) -> int:
        """n, the number of eigenvalues."""
        return self.dimension + len(self.border.inside)

    @cached_property
    def rules(self) -> list[tuple[Array, Array]]:
        """Nodes and weights of each probe."""
        return [gauss(*pair) for pair in zip(self.alpha, self.beta, strict=True)]

    @property
    def nodes(self) -> Array:
        """Nodes (probes, steps), increasing; NaN beyond the steps that were taken."""
        return self._padded(0, np.nan)

    @property
    def weights(self) -> Array:
        """Weights (probes, steps) of the nodes, with sum 1 a probe; 0 beyond the steps that were taken."""
        return self._padded(1, 0.0)

    @property
    def scale(self) -> float:
        """Largest |λ| that was seen."""
        return float(np.nanmax(np.abs([*self.nodes.ravel(), *self.border.values])))

    @property
    def noise(self) -> float:
        """What an eigenvalue may be off by rounding."""
        return self.resolution * self.scale

    def _padded(self, which: int, filling: float) -> Array:
        padded = np.full(self.alpha.shape, filling)
        for row, rule in zip(padded, self.rules, strict=True):
            row[: len(rule[which])] = rule[which]
        return padded

    def variables(self, known: int = 0) -> dict[str, Variable]:
        """The arrays that a file needs to hold for :meth:`of`, and the nodes and weights that others will look for.

        Args:
            known: room for so many known directions, so that points of a path have arrays of one shape; NaN beyond.

        Returns:
            The arrays.
        """
        axes, pairs = ("probe", "lanczos_step"), ("known", "known_other")
        spare = (0, max(0, known - len(self.border.inside)))
        inside, outside = (np.pad(a, spare, constant_values=np.nan) for a in (self.border.inside, self.border.outside))
        return {
            "density_nodes": Variable(axes, self.nodes, "nat", "nodes of each probe's quadrature"),
            "density_weights": Variable(axes, self.weights, "1", "weights of the nodes, with sum 1 a probe"),
            "density_alpha": Variable(axes, self.alpha, "nat", "diagonal of each probe's Lanczos matrix"),
            "density_beta": Variable(axes, self.beta, "nat", "its off-diagonal; 0 where a quadrature is exact"),
            "density_dimension": Variable((), np.asarray(self.dimension), "1", "dimension of the probes' space"),
            "density_known": Variable(pairs, inside, "nat", "block of the known directions"),
            "density_coupling": Variable(pairs, outside, "nat^2", "their coupling to the others, squared"),
            "density_symmetries": Variable((), np.asarray(self.border.symmetry), "1", "known directions of symmetries"),
            "density_resolution": scalar(self.resolution, "1", "rounding of eigenvalues, relative to the largest"),
            "density_seed": Variable((), np.asarray(self.seed), "1", "seed of the probes"),
        }

    @classmethod
    def of(cls, variables: Mapping[str, Variable]) -> Density:
        """The density that was stored."""
        values = {name: variable.values for name, variable in variables.items()}
        there = np.isfinite(np.diagonal(values["density_known"]))
        inside, outside = (values[f"density_{name}"][there][:, there] for name in ("known", "coupling"))
        border = Border(inside, outside, int(values["density_symmetries"]))
        return cls(
            values["density_alpha"],
            values["density_beta"],
            int(values["density_dimension"]),
            border,
            float(values["density_resolution"]),
            int(values["density_seed"]),
        )


def summary(found: Density, negative: float | None = None, known: int = 0) -> Result:
    """What a density says in numbers.

    Args:
        found: the density.
        negative: δ ≥ 0: what is below −δ counts as negative; None takes what rounding leaves uncertain.
        known: room for so many known directions in the raw arrays.

    Returns:
        ``spectrum_min`` and ``spectrum_max``, the outermost nodes and known values, with the residuals ``_residual``
        (an eigenvalue is that near), ``negative_mass``, the share of eigenvalues below −δ, ``spectrum_mean`` = tr H/n
        and ``spectrum_mean_square`` = ‖H‖_F²/n, with standard errors over probes, beside the raw arrays.
    """
    delta = found.noise if negative is None else negative
    values, share = found.border.values, found.dimension / found.size

    def mean(each: list[float], exact: Array) -> tuple[float, float]:
        """Of a function of λ, from its mean over each probe's measure and its values at the known eigenvalues."""
        error = float(np.std(each, ddof=1)) / len(each) ** 0.5 if len(each) > 1 else np.nan
        return share * float(np.mean(each)) + float(exact.sum()) / found.size, share * error

    mass = mean([float(w[x < -delta].sum()) for x, w in found.rules], values < -delta)
    first = mean([float(w @ x) for x, w in found.rules], values)
    squares = float(np.trace(found.border.inside @ found.border.inside) + 2 * np.trace(found.border.outside))
    second = mean([float(w @ x**2) for x, w in found.rules], np.full(len(values), squares / max(1, len(values))))
    low, high = _ends(found)
    return Result(
        {
            "spectrum_min": scalar(low[0], "nat", "smallest eigenvalue that the density shows"),
            "spectrum_min_residual": scalar(low[1], "nat", "its residual"),
            "spectrum_max": scalar(high[0], "nat", "largest eigenvalue that the density shows"),
            "spectrum_max_residual": scalar(high[1], "nat", "its residual"),
            "negative_mass": scalar(mass[0], "1", f"share of eigenvalues below {-delta:.3g}", mass[1]),
            "negative_bound": scalar(delta, "nat", "what is below minus this counts as negative"),
            "spectrum_mean": scalar(first[0], "nat", "mean eigenvalue, the trace over n", first[1]),
            "spectrum_mean_square": scalar(
                second[0], "nat^2", "mean squared eigenvalue, the squared Frobenius norm over n", second[1]
            ),
            "lanczos_steps": series(
                "probe", [steps_taken(row) for row in found.alpha], "1", "Lanczos steps of each probe"
            ),
            **found.variables(known),
        }
    )


def smoothed(found: Density, grid: Array, width: float) -> tuple[Array, Array]:
    """The density with each weight spread as a Gaussian: for a plot, never for a count.

    Args:
        found: the density.
        grid: eigenvalues at which it is wanted (m,).
        width: standard deviation of the Gaussian.

    Returns:
        The density (m,), with integral 1, and its standard error over probes.
    """

    def kernel(values: Array, weights: Array) -> Array:
        spread = np.exp(-0.5 * ((grid[:, None] - values) / width) ** 2) / (width * np.sqrt(2 * np.pi))
        total: Array = spread @ weights
        return total

    each = np.stack([kernel(*rule) for rule in found.rules]) * (found.dimension / found.size)
    known = kernel(found.border.values, np.full(len(found.border.values), 1 / found.size))
    count = len(each)
    error = each.std(axis=0, ddof=1) / count**0.5 if count > 1 else np.full(len(grid), np.nan)
    return each.mean(axis=0) + known, error


def _ends(found: Density) -> list[tuple[float, float]]:
    """The lowest and the highest eigenvalue that was seen, each with its residual."""
    pairs = [ends(*pair) for pair in zip(found.alpha, found.beta, strict=True) if steps_taken(pair[0])]
    values = found.border.values
    if len(values):
        coupling = float(np.sqrt(np.linalg.eigvalsh(found.border.outside)[-1].clip(0.0)))
        pairs.append(((float(values[0]), coupling), (float(values[-1]), coupling)))
    return [min(pair[0] for pair in pairs), max(pair[1] for pair in pairs)]
