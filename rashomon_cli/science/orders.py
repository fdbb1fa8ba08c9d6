"""How a loss rises along a ray: a polynomial of orders 1 to 4 through 0, by least squares."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch

from rashomon_cli.core.results import Array
from rashomon_cli.science.evaluation import standard_error

ORDERS = 4
_TELLING = 0.1


@dataclass(frozen=True)
class Orders:
    """The fit ``c₁s + c₂s² + c₃s³ + c₄s⁴`` of the rise of a mean loss at distances s.

    Attributes:
        coefficients: c₁ … c₄ (4,), in nat per distance to the power of the order. They are those of the polynomial that
            is nearest over the distances given; derivatives at 0 only where the loss is such a polynomial.
        stderr: their errors (4,): that over examples and that of the fit, joined.
        residual: root mean square of what the fit leaves of the mean rise, in nat.
    """

    coefficients: Array
    stderr: Array
    residual: float

    def slope(self, distance: float) -> float:
        """The derivative of the fit at a distance."""
        return float(sum(k * c * distance ** (k - 1) for k, c in enumerate(self.coefficients, 1)))

    def leading(self, distance: float, epsilon: float) -> int:
        """The order that contributes most to the rise at a distance.

        Returns:
            1 to 4; 0 where even that contributes less than a tenth of ε or than twice its error; 0 of no fit.
        """
        powers = distance ** np.arange(1, ORDERS + 1)
        sizes = np.nan_to_num(np.abs(self.coefficients)) * powers
        most = int(sizes.argmax())
        least = max(_TELLING * epsilon, 2 * np.nan_to_num(self.stderr)[most] * powers[most])
        return most + 1 if sizes[most] >= least else 0


def fit(distances: Array, rises: Array, population: int) -> Orders:
    """Fit the rise of a mean loss.

    The coefficients are linear in the loss, so each example has its own, from its own loss less its loss at 0 (paired:
    what an example's loss is at the point cancels). Their spread over examples gives the first part of the errors, with
    all correlations between distances: how far another sample of the same population would move them, given these
    distances and BatchNorm statistics; 0 where the sample is everything. The second is that of ordinary least squares
    from what the fit leaves of the mean: orders above the fourth, kinks, rounding. It is no noise, so only a guide.

    Args:
        distances: signed, not 0 (m,), m > 4.
        rises: of the loss of each example at each distance (m, n).
        population: number of examples that these were drawn from.

    Returns:
        The fit; NaN where a loss is not finite.
    """
    scale = float(np.abs(distances).max())
    powers = scale ** np.arange(1, ORDERS + 1)
    if not np.isfinite(rises).all() or scale == 0.0:
        return Orders(np.full(ORDERS, math.nan), np.full(ORDERS, math.nan), math.nan)
    design = (distances[:, None] / scale) ** np.arange(1, ORDERS + 1)
    solve = np.linalg.pinv(design)
    each = solve @ rises
    means = rises.mean(1)
    coefficients = solve @ means
    left = means - design @ coefficients
    sampling = np.array([standard_error(torch.from_numpy(row), population) for row in each])
    lack = math.sqrt(float(left @ left) / (len(distances) - ORDERS)) * np.sqrt((solve**2).sum(1))
    return Orders(coefficients / powers, np.hypot(sampling, lack) / powers, float(np.sqrt((left**2).mean())))
