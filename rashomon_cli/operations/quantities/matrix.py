"""Options that the quantities of a curvature matrix have in common, and what a product with it costs."""

from __future__ import annotations

from typing import Any, Literal

from rashomon_cli.core.options import Config, option
from rashomon_cli.operations.plan import Step
from rashomon_cli.operations.quantities.quantity import Sampler, Samples, Sizes, taken


class DecayConfig(Config):
    """Whether the penalty belongs to the curvature."""

    with_decay: bool = option(False, "hvp and curvature: add wd·I, the Hessian of the L2 penalty.", flag="--with-decay")


class MatrixConfig(DecayConfig):
    """Which matrix: settings of ``top``, ``trace``, ``density``, ``dimension``, ``reach`` and ``flat``."""

    matrix: Literal["hessian", "ggn", "fisher"] = option(
        "hessian", "curvature: the Hessian, the generalised Gauss-Newton or the empirical Fisher matrix."
    )
    split: Literal["train", "test"] = option("train", "curvature: the split whose mean loss it is of.")
    samples: Samples = option(4096, "curvature: examples of the split, or all.")
    layers: str | None = option(None, "curvature: only the parameters of modules whose names match, as 'blocks.*.conv*'.")


def matrix_arguments(settings: MatrixConfig, sample: Sampler) -> dict[str, Any]:
    """What the science needs to make the matrix."""
    return {
        "batches": sample(settings.split, settings.samples),
        "kind": settings.matrix,
        "layers": settings.layers,
        "with_decay": settings.with_decay,
    }


def products(title: str, count: int, settings: MatrixConfig, sizes: Sizes, vectors: int = 1) -> Step:
    """So many calls of the matrix, each with so many vectors.

    Args:
        title: of the step.
        count: calls.
        settings: which matrix.
        sizes: of the data.
        vectors: vectors in a call: they share the batch's graph.

    Returns:
        The step: forward passes and products.
    """
    examples = taken(settings.samples, getattr(sizes, settings.split))
    return Step(title, count * examples, "product", vectors=vectors)
