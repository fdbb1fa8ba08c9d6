"""Which directions are flat at a point, and why: they are found by the Hessian, then entered in the ledger."""

from __future__ import annotations

import math

import numpy as np

from rashomon_cli.core.errors import Refused
from rashomon_cli.core.results import Result, Variable, scalar, series
from rashomon_cli.science.directions import directions
from rashomon_cli.science.idle import idle
from rashomon_cli.science.ledger import count, ledger
from rashomon_cli.science.problem import Batches, Point, Problem, Tick, silent
from rashomon_cli.science.spectra.blocks import matching, restricted
from rashomon_cli.science.spectra.curvatures import Curvature
from rashomon_cli.science.spectra.generators import MEMORY
from rashomon_cli.science.spectra.null_directions import null_directions
from rashomon_cli.science.spectra.rank import rank_ratio
from rashomon_cli.science.symmetries import find
from rashomon_cli.science.visibility import STEPS, responding, visible_change

_FEW = 8  # examples on which symmetries are tried


def flat(
    problem: Problem,
    point: Point,
    *,
    batches: Batches,
    tau: float,
    other: Batches | None = None,
    near_null: int = 16,
    deflate: int = 10,
    degree: int = 100,
    visible: float | None = None,
    steps: int = STEPS,
    step: float = 0.01,
    kind: str = "hessian",
    layers: str | None = None,
    with_decay: bool = False,
    memory: int = MEMORY,
    seed: int = 0,
    tick: Tick = silent,
) -> Result:
    """Find flat directions of a point, and enter them in the ledger.

    Args:
        problem: the model and loss.
        point: where; BatchNorm frozen.
        batches: the examples of the matrix and of the outputs.
        tau: |λ| that counts as 0.
        other: examples of other data, if there are any.
        near_null: number of directions.
        deflate: number of eigenvectors of the largest |λ| that they are kept away from.
        degree: of the filter's polynomial.
        visible: change of outputs per unit step up to which it counts as none; as much as τ needs where None.
        steps: of Lanczos for each direction, at most.
        step: distance over which changes of predictions are taken.
        kind: of the matrix that calls them flat: ``hessian``, ``ggn`` or ``fisher``.
        layers: directions within the n parameters of layers that match, the others stay as they are, so that symmetries
            and constant units count which these parameters have alone; None takes all.
        with_decay: whether wd·I is added to the matrix.
        memory: bytes for directions of symmetries: where they do not fit, they are not told.
        seed: of what is drawn.
        tick: called after each batch.

    Returns:
        What :func:`~rashomon_cli.science.ledger.ledger` finds; along ``direction`` also ``flat_curvature`` = vᵀHv and
        ``flat_residual``; besides ``flat_rank_ratio``, n(C − 1)/P, ``flat_tau``, ``flat_within``, the share of the
        directions with ‖Hv‖ ≤ τ, ``flat_blur``, ``flat_units_known``, 0 where the network's units could not be told, so
        that what reads dead ones counts as invisible, ``flat_symmetries_lacking``, why some symmetries could not be
        told, empty if none lack, and ``matvecs``, with those of the outputs. The directions as the tensor
        ``vectors_near_null`` (k, n). Where every eigenvalue is above τ there are fewer directions, or none: NaN.

    Raises:
        Refused: if the loss does not say which change of outputs τ needs.
        UsageError: if no layer matches.
    """
    x, _ = next(iter(batches))
    chosen = None if layers is None else matching(problem.layout, layers)
    null = null_directions(problem, point, batches, chosen, memory)
    problem, point = restricted(problem, point, layers)
    shift = problem.weight_decay if with_decay else 0.0
    matrix = Curvature(problem, point, batches, kind, shift=shift, tick=tick)
    here = Point(point.theta, point.buffers)
    found = directions(
        matrix, here, tau=tau, near_null=near_null, random=0, top=0, deflate=deflate, degree=degree, seed=seed
    )
    try:
        symmetries = find(problem.module, x[:_FEW])[1]
    except Refused:
        symmetries = None
    responses = Curvature(responding(problem), point, batches, kind="ggn", tick=tick)
    entered = ledger(
        problem,
        point,
        found.units,
        responses=responses,
        tolerance=visible_change(problem, point, batches, tau, tick) if visible is None else visible,
        batches=batches,
        other=other,
        symmetry=None if null.lacking and not len(null.rows) else null.rows,
        free=idle(problem, point, batches, symmetries, seed=seed, tick=tick),
        steps=steps,
        step=step,
        seed=seed,
        tick=tick,
    )
    images = np.hypot(found.curvatures, found.residuals)  # vᵀHv alone is small, too, where both signs cancel
    there = images[np.isfinite(images)]
    within = float((there <= tau).mean()) if there.size else math.nan
    variables = {
        "flat_within": scalar(within, "1", "share of the directions with ‖Hv‖ ≤ τ"),
        "flat_rank_ratio": rank_ratio(problem, point, batches, kind=kind),
        "flat_tau": scalar(tau, "nat", "|λ| that counts as 0"),
        "flat_blur": scalar(found.blur, "nat", "how far beyond it eigenvectors pass into the directions"),
        "flat_curvature": series("direction", found.curvatures, "nat", "vᵀHv of the direction"),
        "flat_residual": series("direction", found.residuals, "nat", "‖Hv − (vᵀHv) v‖ of the direction"),
        "flat_units_known": count(int(symmetries is not None), "whether the network's units could be told"),
        "flat_symmetries_lacking": Variable(
            (), np.asarray(null.lacking), "1", "why some symmetries could not be told, which count among the others"
        ),
        "matvecs": count(found.matvecs + responses.matvecs, "products of matrices with one vector"),
    }
    return Result({**entered.variables, **variables}, {"vectors_near_null": found.units.cpu().numpy()})
