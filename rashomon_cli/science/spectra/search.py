"""How eigenpairs at the ends of a spectrum are looked for: a run for both ends, then others for what it cannot see."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal

import numpy as np
import torch

from rashomon_cli.core.results import Array
from rashomon_cli.core.seeds import derive
from rashomon_cli.science.spectra.matrices import Matrix
from rashomon_cli.science.spectra.ritz import Products, Ritz, Run, Spent, ritz

End = tuple[Literal["LA", "SA", "LM"], int]
"""An end of a spectrum by ARPACK's name (largest, smallest, largest in size), and how many pairs of it are wanted."""

_CHECK_STEPS = 9
_FLOOR, _BULK = 0.02, 0.2
_LEAST_STEPS = 12
_GROWTH = 1.25
_FINEST = 1e-6


def least_products(count: int, check: bool) -> int:
    """Products of a first run for so many pairs, and of a check."""
    return _first_steps(count) + 1 + (_CHECK_STEPS + 1) * check


def search(matrix: Matrix, ends: Sequence[End], tolerance: float, check: bool, limit: int, seed: int) -> Ritz:
    """Ritz pairs among which are those of the ends asked for.

    Args:
        matrix: symmetric (n, n); where n is no more than runs take, all its eigenpairs are found.
        ends: with at most n pairs each.
        tolerance: see :func:`allowed`.
        check: whether to look for what a single start cannot see.
        limit: products with one vector.
        seed: of the starts.

    Returns:
        Pairs for all that is wanted, converged or not.

    Raises:
        Spent: if not even the first product is finite.
    """
    size, total = matrix.size, sum(count for _, count in ends)
    products = Products(matrix, limit)
    if size <= min(least_products(total, check), limit):
        rows, images = products(np.eye(size))
        return ritz(list(rows), list(images))
    runs = [Run(products, _random(size, seed, 0))]
    checked: Ritz | None = None
    try:
        runs[0].go_on(_first_steps(total))
        while True:
            found = _joined(runs)
            late = len(found.values) < total or any(_late(found, end, tolerance) for end in ends)
            done = not check or (checked is not None and not any(_moved(checked, found, e, tolerance) for e in ends))
            if (done and not late) or len(found.values) == size:
                return found
            if late and runs[-1].open:
                runs[-1].go_on(min(math.ceil(_GROWTH * runs[-1].steps), size))
            else:
                checked, held = found, found.vectors(np.concatenate([wanted(found.values, end) for end in ends]))
                start = _random(size, seed, len(runs))
                runs.append(Run(products, start - (start @ held.T) @ held))
                runs[-1].go_on(_CHECK_STEPS)
    except Spent:
        return _joined(runs)


def _first_steps(count: int) -> int:
    """Lanczos steps to begin with for so many pairs: enough where these stand out from the rest."""
    return max(2 * count + 4, _LEAST_STEPS)


def wanted(values: Array, end: End) -> Array:
    """Which of increasing values (d,) belong to an end: indices (k,), the outermost first."""
    which, count = end
    key = {"LA": -values, "SA": values, "LM": -np.abs(values)}[which]
    found: Array = np.argsort(key, kind="stable")[:count]
    return found


def allowed(values: Array, tolerance: float) -> Array:
    """Residuals (d,) up to which pairs count as converged: relative to their size, and to 1/50 of the largest."""
    sizes = np.abs(values)
    found: Array = tolerance * (sizes + _FLOOR * sizes.max(initial=0.0))
    return found


def attainable(matrix: Matrix, tolerance: float) -> float:
    """A tolerance that the rounding of products lets residuals reach."""
    return max(tolerance, _FINEST, 40 * torch.finfo(matrix.like.dtype).eps / _FLOOR)


def _joined(runs: Sequence[Run]) -> Ritz:
    """The Ritz pairs of all runs together.

    Raises:
        Spent: if nothing was multiplied.
    """
    rows, images = [row for run in runs for row in run.rows], [image for run in runs for image in run.images]
    if not rows:
        raise Spent
    return ritz(rows, images)


def _late(found: Ritz, end: End, tolerance: float) -> bool:
    """Whether a pair of an end has not converged."""
    return bool((found.residuals > allowed(found.values, tolerance))[wanted(found.values, end)].any())


def _moved(before: Ritz, now: Ritz, end: End, tolerance: float) -> bool:
    """Whether values of an end are others than before, by more than convergence allows."""
    old, new = (found.values[wanted(found.values, end)] for found in (before, now))
    margin = tolerance * (np.abs(new) + _BULK * np.abs(now.values).max())  # of a bulk there is always more to be found
    return len(old) < len(new) or bool((np.abs(new - old) > margin).any())


def _random(size: int, seed: int, draw: int) -> Array:
    """A vector (n,) in a direction that is uniform on the sphere."""
    chooser = torch.Generator().manual_seed(derive(seed, "eigsh", draw))
    found: Array = torch.randn(size, generator=chooser, dtype=torch.float64).numpy()
    return found
