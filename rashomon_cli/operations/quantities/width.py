"""How far in random and in Hessian-free directions until the loss rises by ε."""

from __future__ import annotations

from typing import Literal

from rashomon_cli.core.options import Config, option
from rashomon_cli.operations.plan import Step
from rashomon_cli.operations.quantities.quantity import Quantity, Samples, Sizes, taken

_EVALUATIONS = 17  # of a ray at most: 11 to bracket, 6 to bisect
_LEAST_PRODUCTS, _PRODUCTS = 21, 3  # for each eigenvector; Lanczos begins with 20 vectors


class WidthConfig(Config):
    """Settings of ``width``."""

    width_epsilon: float = option(0.05, "width: rise of the loss at which it ends.", unit="nat", gt=0)
    width_samples: Samples = option(500, "width: training examples of the loss, or all.")
    width_random: int = option(8, "width: random directions, each with both signs.", ge=1, le=1000)
    width_project: int = option(
        10, "width: eigenvectors of the largest |λ| removed for Hessian-free directions; 0 for none.", ge=0, le=200
    )
    width_project_samples: Samples = option(500, "width: training examples of the Hessian-vector products, or all.")
    width_max: float = option(100.0, "width: distance in parameter space at which the search is cut off.", gt=0)
    width_batchnorm: Literal["frozen", "refreshed"] = option(
        "frozen", "width: statistics of the point, or made anew on the same examples at every distance."
    )


def _steps(settings: WidthConfig, sizes: Sizes) -> list[Step]:
    sample = taken(settings.width_samples, sizes.train)
    kinds = 2 if settings.width_project else 1
    refreshing = 2 if settings.width_batchnorm == "refreshed" else 1
    rays = 2 * kinds * settings.width_random
    losses = (rays * _EVALUATIONS + 1) * refreshing
    steps = [Step(f"width of {rays} rays, {_EVALUATIONS} losses each at most", losses * sample)]
    if settings.width_project:
        products = taken(settings.width_project_samples, sizes.train)
        count = max(_LEAST_PRODUCTS, _PRODUCTS * settings.width_project)
        title = f"width: {settings.width_project} eigenvectors in about {count} products"
        steps.append(Step(title, count * products, "product", vectors=1))
        steps.append(Step("width: curvatures", kinds * products, "product", vectors=settings.width_random))
    return steps


QUANTITY = Quantity(
    name="width",
    help="distance until the loss rises by ε, in random and in Hessian-free directions",
    settings=WidthConfig,
    subject="point",
    measure="rashomon_cli.science.reach:reach",
    arguments=lambda s, sample: {
        "batches": sample("train", s.width_samples),
        "curvature_batches": sample("train", s.width_project_samples),
        "epsilon": s.width_epsilon,
        "maximum": s.width_max,
        "random": s.width_random,
        "project": s.width_project,
        "refreshed": s.width_batchnorm == "refreshed",
        "seed": sample.seed,
    },
    steps=_steps,
    summary="rashomon_cli.science.reach:variation",
    default=False,
)
