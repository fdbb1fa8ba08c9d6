"""What a spectral density says in numbers: its ends, the share of negative eigenvalues, two moments."""

from __future__ import annotations

import math

import numpy as np

from rashomon_cli.core.results import Array, Result, scalar, series
from rashomon_cli.science.spectra.density import Density
from rashomon_cli.science.spectra.negative import negative_count
from rashomon_cli.science.spectra.quadrature import ends, steps_taken


def summary(found: Density, negative: float | None = None, known: int = 0) -> Result:
    """What a density says in numbers.

    Args:
        found: the density.
        negative: δ ≥ 0: what is below −δ counts as negative; None takes twice what rounding may move an eigenvalue by,
            so that no eigenvalue 0 counts, nor must be allowed for.
        known: room for so many known directions in the raw arrays.

    Returns:
        ``spectrum_min`` and ``spectrum_max``, the outermost nodes and known values, with the residuals ``_residual``
        (an eigenvalue is that near); ``negative_mass``, the share of eigenvalues below −δ, with the ends of its 95 %
        interval ``_low`` and ``_high``, and ``negative_bound``, δ; ``spectrum_mean`` = tr H/n and
        ``spectrum_mean_square`` = ‖H‖_F²/n, with standard errors over probes; beside the raw arrays.
    """
    delta = 2 * found.noise if negative is None else negative
    values, share = found.border.values, found.dimension / found.size

    def mean(each: list[float], exact: Array) -> tuple[float, float]:
        """Of a function of λ, from its mean over each probe's measure and its values at the known eigenvalues."""
        error = float(np.std(each, ddof=1)) / len(each) ** 0.5 if len(each) > 1 else np.nan
        return share * float(np.mean(each)) + float(exact.sum()) / found.size, share * error

    mass = [count / found.size for count in negative_count(found, delta)]
    below = f"share of eigenvalues below {-delta:.3g}"
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
            "negative_mass": scalar(mass[0], "1", below),
            "negative_mass_low": scalar(mass[1], "1", f"{below}, lower end"),
            "negative_mass_high": scalar(mass[2], "1", f"{below}, upper end"),
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


def _ends(found: Density) -> list[tuple[float, float]]:
    """The lowest and the highest eigenvalue that was seen, each with its residual."""
    pairs = [ends(*pair) for pair in zip(found.alpha, found.beta, strict=True) if steps_taken(pair[0])]
    values = found.border.values
    if len(values):
        coupling = float(np.sqrt(np.linalg.eigvalsh(found.border.outside)[-1].clip(0.0)))
        pairs = [((low, math.hypot(a, coupling)), (high, math.hypot(b, coupling))) for (low, a), (high, b) in pairs]
        pairs.append(((float(values[0]), coupling), (float(values[-1]), coupling)))
    return [min(pair[0] for pair in pairs), max(pair[1] for pair in pairs)]
