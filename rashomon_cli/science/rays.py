"""Is flat really flat? Directions that a curvature calls flat, steep ones for contrast, and the loss along them.

A zero of the Hessian is not yet a flat direction (Post R, step 6): see :mod:`~rashomon_cli.science.following`.
"""

from __future__ import annotations

import numpy as np
from torch import Tensor

from rashomon_cli.core.results import Result, Variable, scalar, series
from rashomon_cli.science.directions import directions
from rashomon_cli.science.following import follow
from rashomon_cli.science.problem import Batches, Point, Problem, Tick, silent
from rashomon_cli.science.spectra.blocks import restricted
from rashomon_cli.science.spectra.curvatures import Curvature
from rashomon_cli.science.spectra.rank import rank_ratio


def rays(
    problem: Problem,
    point: Point,
    *,
    batches: Batches,
    curvature_batches: Batches,
    epsilon: float,
    maximum: float,
    tau: float,
    near_null: int = 4,
    random: int = 2,
    top: int = 2,
    deflate: int = 10,
    degree: int = 100,
    given: Tensor | None = None,
    refreshed: bool = False,
    kind: str = "hessian",
    layers: str | None = None,
    with_decay: bool = False,
    seed: int = 0,
    tick: Tick = silent,
) -> Result:
    """Choose directions by the curvature at a point, and follow the loss along them.

    Args:
        problem: the model and loss.
        point: where.
        batches: the examples of the loss.
        curvature_batches: those of the matrix, BatchNorm frozen.
        epsilon: rise of the loss that is allowed, > 0.
        maximum: distance at which the search is cut off.
        tau: |λ| that counts as 0.
        near_null: number of filtered near-null directions.
        random: number of random directions.
        top: number of eigenvectors of the largest eigenvalues, for contrast.
        deflate: number of eigenvectors of the largest |λ| that near-null directions are kept away from.
        degree: of the filter's polynomial.
        given: further directions (m, n).
        refreshed: whether BatchNorm statistics are made anew on the same examples at every distance.
        kind: of the matrix: ``hessian``, ``ggn`` or ``fisher``.
        layers: directions within the n parameters of layers that match, the others stay as they are; None takes all.
        with_decay: whether wd·I is added to the matrix; the loss that is followed is that without penalty.
        seed: of what is drawn.
        tick: called after each batch.

    Returns:
        What :func:`~rashomon_cli.science.following.follow` finds; along ``direction`` also ``reach_curvature`` = vᵀHv
        and ``reach_residual``; besides ``reach_rank_ratio``, n(C − 1)/P of the matrix's examples, ``reach_tau``,
        ``reach_blur``, how far beyond τ the filter lets pass, and ``matvecs``. Near-null directions as the tensor
        ``vectors_near_null`` (k, n).

    Raises:
        UsageError: if no layer matches.
    """
    problem, point = restricted(problem, point, layers)
    shift = problem.weight_decay if with_decay else 0.0
    matrix = Curvature(problem, point, curvature_batches, kind, shift=shift, tick=tick)
    chosen = directions(
        matrix,
        point,
        tau=tau,
        near_null=near_null,
        random=random,
        top=top,
        deflate=deflate,
        degree=degree,
        given=given,
        seed=seed,
    )
    followed = follow(
        problem,
        point,
        chosen.units,
        chosen.kinds,
        batches=batches,
        epsilon=epsilon,
        maximum=maximum,
        refreshed=refreshed,
        tick=tick,
    )
    left = "‖Hv − (vᵀHv) v‖ of the direction"
    found = {
        "reach_rank_ratio": rank_ratio(problem, point, curvature_batches, kind=kind),
        "reach_tau": scalar(tau, "nat", "|λ| that counts as 0"),
        "reach_blur": scalar(chosen.blur, "nat", "how far beyond it eigenvectors pass into near-null directions"),
        "reach_curvature": series("direction", chosen.curvatures, "nat", "vᵀHv of the direction"),
        "reach_residual": series("direction", chosen.residuals, "nat", left),
        "matvecs": Variable((), np.asarray(chosen.matvecs), "1", "products of the matrix with one vector"),
    }
    rows = [row for row, kind in enumerate(chosen.kinds) if kind == "near_null"]
    tensors = {"vectors_near_null": chosen.units[rows].cpu().numpy()} if rows else {}
    return Result({**followed.variables, **found}, tensors)
