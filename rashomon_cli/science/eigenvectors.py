"""Eigenvectors of the Hessian's largest |λ| at a point."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from rashomon_cli.core.results import Array
from rashomon_cli.science.problem import Batches, Point, Problem, Tick, silent
from rashomon_cli.science.spectra.curvatures import Curvature
from rashomon_cli.science.spectra.pairs import leading
from rashomon_cli.science.spectra.subspaces import without as without

_VANISHED = 1e-6


def leading_eigenvectors(
    problem: Problem, point: Point, batches: Batches, count: int, seed: int = 0, tick: Tick = silent
) -> tuple[Array, Tensor]:
    """Eigenvectors of the largest |λ| of the Hessian.

    Args:
        problem: the model and loss.
        point: where; BatchNorm frozen.
        batches: the examples.
        count: how many.
        seed: of the starting vector.
        tick: called after each batch of each product.

    Returns:
        Eigenvalues (m,) and eigenvectors (m, P), those that converged and are not 0: m ≤ ``count``.
    """
    pairs = leading(Curvature(problem, point, batches, tick=tick), count, check=False, seed=seed)
    kept = pairs.converged & (np.abs(pairs.values) > _VANISHED * np.abs(pairs.values).max(initial=0.0))
    return pairs.values[kept], pairs.vectors[torch.from_numpy(kept)]
