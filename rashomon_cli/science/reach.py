"""How wide a ridge is: how far from a point the actual loss stays within ε, in random and in Hessian-free directions.

A zero of the Hessian is not yet a flat direction (``x⁴``), so the loss itself is followed (Post R, step 6). For
``½θᵀAθ`` the reach from 0 along a unit v is ``√(2ε / vᵀAv)``.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor

from rashomon_cli.core.results import Array, Result, Variable, scalar
from rashomon_cli.science.crossings import along, crossing, example_losses
from rashomon_cli.science.curvature import random_units
from rashomon_cli.science.problem import Batches, Point, Problem, Tick, silent
from rashomon_cli.science.spectra.curvatures import Curvature
from rashomon_cli.science.spectra.matrices import Matrix
from rashomon_cli.science.spectra.pairs import LIMIT, leading
from rashomon_cli.science.spectra.subspaces import without

KINDS = {"random": "random directions", "hessian_free": "Hessian-free directions"}
_PRODUCTS = 3  # for each eigenvector, at most, where they are many
_VANISHED = 1e-6  # of the largest |λ|


def reach(
    problem: Problem,
    point: Point,
    *,
    batches: Batches,
    curvature_batches: Batches,
    epsilon: float,
    maximum: float,
    random: int = 8,
    project: int = 10,
    refreshed: bool = False,
    seed: int = 0,
    tick: Tick = silent,
) -> Result:
    """Distances at which the loss of a sample exceeds that of the point by ε, along unit vectors and their opposites.

    Random directions are uniform on the sphere, the same at every point of a path (common random numbers), less their
    part along the path's tangent: the width is that across the path. Hessian-free ones are the same vectors less their
    parts along the eigenvectors of the largest |λ|, which Lanczos finds through Hessian-vector products; what is left
    of their curvature is given beside. The loss is followed by doubling from ``maximum / 1024``, then by bisection to
    0.8 %: a rise and fall between two doublings is passed over. Where the loss stays within ε up to ``maximum`` the
    distance is cut off there, and the mean is a lower bound. The point need not be a minimum.

    Args:
        problem: the model and loss.
        point: where.
        batches: the examples of the loss; fixed, so standard errors are over directions only.
        curvature_batches: the examples of Hessian-vector products, BatchNorm frozen.
        epsilon: rise of the loss, > 0.
        maximum: where the search is cut off.
        random: number of directions.
        project: number of eigenvectors to remove; 0 for no Hessian-free directions and no Hessian-vector products.
        refreshed: whether BatchNorm statistics are made anew on the same examples at every step; else those of the
            point are kept.
        seed: of the directions.
        tick: called after each batch.

    Returns:
        ``width_random`` and ``width_hessian_free``, means over directions and signs, with ``_each`` along ``direction``
        and ``side``, ``_censored``, the share of rays that were cut off, and ``_curvature``, the mean of vᵀHv; what was
        removed. A direction that nothing is left of is absent: NaN.
    """
    losses = example_losses(problem, point, batches, refreshed, tick)
    base = float(losses(point.theta).mean())
    tangent = point.directions.get("tangent")
    fixed = point.theta.new_zeros(0, point.theta.numel()) if tangent is None else tangent[None]
    vectors = {"random": without(random_units(point.theta, random, seed), fixed)}
    found = {
        "width_loss": scalar(base, "nat", "loss on the sample of the widths"),
        "width_epsilon": scalar(epsilon, "nat", "rise of the loss at which a width ends"),
        "width_max": scalar(maximum, "1", "distance at which widths are cut off"),
    }
    if project:
        values, top = _steepest(Curvature(problem, point, curvature_batches, tick=tick), project, seed)
        vectors["hessian_free"] = without(vectors["random"], torch.cat([fixed, top]))
        least = float(np.abs(values).min()) if len(values) else 0.0
        found["width_removed"] = Variable((), np.asarray(len(values)), "1", "number of eigenvectors removed")
        found["width_removed_least"] = scalar(least, "nat", "least |λ| of the eigenvectors removed")
    for kind, units in vectors.items():
        rays = np.full((random, 2, 2), np.nan)
        for row, unit in enumerate(units):
            if bool(unit.any()):
                for side, ray in enumerate((unit, -unit)):
                    rays[row, side] = crossing(along(losses, point.theta, ray, base), epsilon, maximum)
        found |= _summary(kind, rays)
        if project:
            products = Curvature(problem, point, curvature_batches, memory=0, tick=tick)(units)
            curvatures = (products.double() * units.double()).sum(1).cpu().numpy()
            mean, error = _mean(np.where(np.isnan(rays[:, 0, 0]), np.nan, curvatures))
            found[f"width_{kind}_curvature"] = scalar(mean, "nat", f"vᵀHv of {KINDS[kind]}, their mean", error)
    return Result(found)


def variation(variables: Mapping[str, Variable]) -> Result:
    """Does the ridge widen and narrow? The widest position of a path against the narrowest, paired by direction.

    The two are picked by the means that they are compared on, which favours a ratio above 1. A ray that was cut off is
    at least as wide as it says. At the widest position that leaves the ratio a lower bound; at the narrowest it leaves
    nothing: there is no ratio.

    Args:
        variables: of :func:`reach`, stacked along t.

    Returns:
        ``width_K_ratio``, the geometric mean over directions of widest to narrowest, for both kinds K: NaN where any
        ray of the narrowest position was cut off; and ``width_K_ratio_censored``, the share of rays of the widest one
        that were.
    """
    found: dict[str, Variable] = {}
    for kind, words in KINDS.items():
        each = variables.get(f"width_{kind}_each")
        if each is None or not np.isfinite(each.values).any():
            continue
        widths = each.values.mean(2)
        logs = np.log(np.maximum(widths[:, np.isfinite(widths).all(0)], 1e-300))
        if logs.size == 0:
            continue
        widest, narrowest = int(logs.mean(1).argmax()), int(logs.mean(1).argmin())
        cut = variables[f"width_{kind}_censored"].values
        mean, error = (math.nan, math.nan) if cut[narrowest] > 0 else _mean(logs[widest] - logs[narrowest])
        ratio = math.exp(mean)
        about = f"widest to narrowest position in {words}"
        found[f"width_{kind}_ratio"] = scalar(ratio, "1", about, ratio * error)
        share = f"share of widths in {words} that were cut off at the widest position: the ratio is at least so large"
        found[f"width_{kind}_ratio_censored"] = scalar(float(cut[widest]), "1", share)
    return Result(found)


def _steepest(hessian: Matrix, count: int, seed: int) -> tuple[Array, Tensor]:
    """Eigenvalues (m,) of the largest |λ| and eigenvectors (m, P), those that converged and are not 0: m ≤ count."""
    pairs = leading(hessian, count, check=False, limit=max(LIMIT, _PRODUCTS * count), seed=seed)
    kept = pairs.converged & (np.abs(pairs.values) > _VANISHED * np.abs(pairs.values).max(initial=0.0))
    return pairs.values[kept], pairs.vectors[torch.from_numpy(kept)]


def _summary(kind: str, rays: Array) -> dict[str, Variable]:
    """The variables of one kind from distances and cut-offs (directions, sides, 2)."""
    words = KINDS[kind]
    mean, error = _mean(rays[:, :, 0].mean(1))
    there = rays[:, :, 1][np.isfinite(rays[:, :, 1])]
    share = float(there.mean()) if there.size else math.nan
    return {
        f"width_{kind}": scalar(mean, "1", f"width in {words}", error),
        f"width_{kind}_each": Variable(("direction", "side"), rays[:, :, 0], "1", f"width in each of the {words}"),
        f"width_{kind}_censored": scalar(share, "1", f"share of widths in {words} that were cut off"),
    }


def _mean(values: Array) -> tuple[float, float]:
    """Mean and standard error of those values that exist; NaN from too few."""
    there = values[np.isfinite(values)]
    if there.size == 0:
        return math.nan, math.nan
    error = float(there.std(ddof=1)) / math.sqrt(there.size) if there.size > 1 else math.nan
    return float(there.mean()), error
