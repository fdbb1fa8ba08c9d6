"""Why flat directions are flat: symmetries, dead units, what the examples do not show, what the loss does not mind."""

from __future__ import annotations

from rashomon_cli.core.options import option
from rashomon_cli.operations.plan import Step
from rashomon_cli.operations.quantities.directions import DEFLATED, choosing
from rashomon_cli.operations.quantities.matrix import CurvatureConfig, check_layers, each_layer, one_by_one
from rashomon_cli.operations.quantities.quantity import Quantity, Samples, Sizes, taken

_LARGEST = 12  # products that tell the largest change of outputs
_IDLE = 2  # products that cost as much as four gradients through one graph
_PARTS, _YARDSTICKS = 4, 4  # of each direction at most; random directions


class FlatConfig(CurvatureConfig):
    """Settings of ``flat``."""

    flat_epsilon: float = option(0.05, "flat: rise of the loss ε that a step may bring.", unit="nat", gt=0)
    flat_step: float = option(1.0, "flat: length r of that step; |λ| ≤ τ = 2ε/r² counts as flat.", gt=0)
    flat_samples: Samples = option(500, "flat: examples of the matrix and of the outputs, or all.")
    flat_near_null: int = option(16, "flat: directions that the matrix calls flat.", ge=1, le=200)
    flat_degree: int = option(100, "flat: degree of the filter, products with each direction.", ge=1)
    flat_steps: int = option(300, "flat: products with each to tell what outputs do not show, at most.", ge=1)
    flat_visible: float | None = option(
        None, "flat: change of outputs per unit step that counts as none; what τ needs where left out.", gt=0
    )
    flat_ood: str | None = option(None, "flat: other data on which to see how predictions change, as mnist.")
    flat_ood_samples: Samples = option(500, "flat: test examples of the other data, or all.")


def _steps(settings: FlatConfig, sizes: Sizes) -> list[Step]:
    sample, rows = taken(settings.flat_samples, getattr(sizes, settings.split)), settings.flat_near_null
    moves = 1 + 2 * (_PARTS * rows + _YARDSTICKS)
    title = f"flat: what outputs do not show, {settings.flat_steps} products each at most"
    return [
        *choosing("flat", sample, near_null=rows, degree=settings.flat_degree),
        Step(f"flat: largest change of outputs in {_LARGEST} products", _LARGEST * sample, "product", vectors=1),
        Step(title, settings.flat_steps * sample, "product", vectors=rows),
        Step("flat: dead units", sample, "product", vectors=_IDLE),
        Step("flat: changes of predictions", moves * (sample + sizes.other)),
    ]


QUANTITY = Quantity(
    name="flat",
    help="ledger of flat directions: symmetries, dead units, invisible on these data, invisible to the loss",
    settings=FlatConfig,
    subject="point",
    measure="rashomon_cli.science.flatness:flat",
    arguments=lambda s, sample: {
        "batches": sample(s.split, s.flat_samples),
        "kind": s.matrix,
        "layers": s.layers,
        "other": sample.other(),
        "tau": 2 * s.flat_epsilon / s.flat_step**2,
        "near_null": s.flat_near_null,
        "deflate": DEFLATED,
        "degree": s.flat_degree,
        "visible": s.flat_visible,
        "steps": s.flat_steps,
        "with_decay": s.with_decay,
        "seed": sample.seed,
    },
    steps=each_layer(_steps),
    layers=one_by_one,
    check=check_layers,
    other="flat_ood",
    samples="flat_ood_samples",
    default=False,
)
