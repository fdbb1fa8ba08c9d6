"""The largest eigenvalues of a curvature matrix and the most negative ones, with their vectors."""

from __future__ import annotations

from pydantic import ValidationInfo, field_validator

from rashomon_cli.core.options import option
from rashomon_cli.operations.plan import Step
from rashomon_cli.operations.quantities.matrix import (
    SpectrumConfig,
    asked,
    check_layers,
    each_layer,
    products,
    searching,
)
from rashomon_cli.operations.quantities.quantity import Quantity, Sizes

_POWER = 101  # products of a power iteration at most, and of its residual


class TopConfig(SpectrumConfig):
    """Settings of ``top``."""

    top_k: int = option(10, "top: number of the largest eigenvalues.", ge=1, le=500)
    top_bottom: int = option(3, "top: number of the most negative ones; not by pyhessian.", ge=0, le=500)
    top_tolerance: float = option(
        0.05,
        "top: residual at which an eigenpair counts as converged, of |λ|; a search ends at that of |λ| + max |λ|/50.",
        gt=0,
        lt=1,
    )
    top_products: int = option(150, "top: products that may be spent at a point.", ge=1)

    @field_validator("top_bottom")
    @classmethod
    def _ends(cls, value: int, info: ValidationInfo) -> int:
        return cls._own(value, info, "finds those of the largest |λ|, of either sign", 0)

    @field_validator("top_products")
    @classmethod
    def _spends(cls, value: int, info: ValidationInfo) -> int:
        return cls._own(value, info, f"spends up to {_POWER} on each eigenvalue")


def _steps(settings: TopConfig, sizes: Sizes) -> list[Step]:
    if settings.backend == "pyhessian":
        count = _POWER * settings.top_k
        title = f"top: {settings.top_k} eigenvalues by power iteration in at most {count} products"
        return [products(title, count, settings, sizes)]
    count = searching(settings.top_k + settings.top_bottom)
    title = f"top: {settings.top_k} eigenvalues in about {count} products"
    return [products(title, count, settings, sizes)]


QUANTITY = Quantity(
    name="top",
    help="largest and most negative eigenvalues, residuals, eigenvectors",
    settings=TopConfig,
    subject="point",
    measure="rashomon_cli.science.spectrum:top",
    arguments=lambda s, sample: {
        "asked": asked(s, sample),
        "count": s.top_k,
        "bottom": s.top_bottom,
        "tolerance": s.top_tolerance,
        "limit": s.top_products,
        "seed": sample.seed,
    },
    steps=each_layer(_steps),
    check=check_layers,
    turning="rashomon_cli.science.spectrum:turning",
    default=False,
)
