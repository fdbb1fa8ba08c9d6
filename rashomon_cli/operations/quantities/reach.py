"""Is flat really flat: how far the actual loss stays within ε along chosen directions."""

from __future__ import annotations

from typing import Literal

from rashomon_cli.core.errors import UsageError
from rashomon_cli.core.options import option
from rashomon_cli.operations.plan import Step
from rashomon_cli.operations.quantities.directions import DEFLATED, choosing
from rashomon_cli.operations.quantities.matrix import CurvatureConfig, check_layers, each_layer, one_by_one
from rashomon_cli.operations.quantities.quantity import Quantity, Samples, Sizes, taken

_EVALUATIONS = 17  # of a ray at most: 11 to bracket, 6 to bisect
_FITTED = 6  # distances of the fit on a ray


class ReachConfig(CurvatureConfig):
    """Settings of ``reach``."""

    reach_epsilon: float = option(0.05, "reach: rise of the loss ε at which it ends.", unit="nat", gt=0)
    reach_step: float = option(1.0, "reach: length r of a step; |λ| ≤ τ = 2ε/r² counts as near null.", gt=0)
    reach_near_null: int = option(4, "reach: directions that the matrix calls flat.", ge=0, le=200)
    reach_random: int = option(2, "reach: random directions.", ge=0, le=200)
    reach_top: int = option(2, "reach: steepest directions, for contrast.", ge=0, le=200)
    reach_samples: Samples = option(500, "reach: examples of the loss, or all.")
    reach_matrix_samples: Samples = option(500, "reach: examples of the matrix, or all.")
    reach_degree: int = option(100, "reach: degree of the filter, products with each near-null direction.", ge=1)
    reach_max: float = option(100.0, "reach: distance in parameter space at which the search is cut off.", gt=0)
    reach_batchnorm: Literal["frozen", "refreshed"] = option(
        "frozen", "reach: statistics of the point, or made anew on the same examples at every distance."
    )


def _steps(settings: ReachConfig, sizes: Sizes) -> list[Step]:
    """What a point costs.

    Raises:
        UsageError: if no direction is asked for where there is no tangent.
    """
    available = getattr(sizes, settings.split)
    matrix, sample = taken(settings.reach_matrix_samples, available), taken(settings.reach_samples, available)
    near_null, top, others = settings.reach_near_null, settings.reach_top, settings.reach_random
    others += 1 if sizes.directions else 0  # the tangent
    if not near_null + top + others:
        raise UsageError("reach has no direction to follow: a model has no tangent", "ask for one: --reach-random 2")
    rows, each = near_null + top + others, _EVALUATIONS + _FITTED
    refreshing = 2 if settings.reach_batchnorm == "refreshed" else 1
    title = f"reach along {rows} directions, both ways, {each} losses each at most"
    return [
        Step(title, (2 * rows * each + 1) * refreshing * sample),
        *choosing("reach", matrix, near_null=near_null, degree=settings.reach_degree, top=top, others=others),
    ]


QUANTITY = Quantity(
    name="reach",
    help="how far the loss stays within ε along near-null, tangent, random and steep directions",
    settings=ReachConfig,
    subject="point",
    measure="rashomon_cli.science.rays:rays",
    arguments=lambda s, sample: {
        "batches": sample(s.split, s.reach_samples),
        "curvature_batches": sample(s.split, s.reach_matrix_samples),
        "kind": s.matrix,
        "layers": s.layers,
        "epsilon": s.reach_epsilon,
        "maximum": s.reach_max,
        "tau": 2 * s.reach_epsilon / s.reach_step**2,
        "near_null": s.reach_near_null,
        "random": s.reach_random,
        "top": s.reach_top,
        "deflate": DEFLATED,
        "degree": s.reach_degree,
        "refreshed": s.reach_batchnorm == "refreshed",
        "with_decay": s.with_decay,
        "seed": sample.seed,
    },
    steps=each_layer(_steps),
    layers=one_by_one,
    check=check_layers,
    default=False,
)
