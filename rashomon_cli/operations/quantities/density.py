"""The spectral density of a curvature matrix by stochastic Lanczos quadrature."""

from __future__ import annotations

from pydantic import ValidationInfo, field_validator

from rashomon_cli.core.options import option
from rashomon_cli.operations.plan import Step
from rashomon_cli.operations.quantities.matrix import (
    SpectrumConfig,
    asked,
    by_layer,
    check_layers,
    products,
    searching,
)
from rashomon_cli.operations.quantities.quantity import Quantity, Sizes


class DensityConfig(SpectrumConfig):
    """Settings of ``density``."""

    density_probes: int = option(4, "density: random vectors, the same at every point of a path.", ge=1)
    density_steps: int = option(80, "density: Lanczos steps of each, hence products.", ge=1)
    density_deflate: int = option(0, "density: eigenpairs of the largest |λ| that are found beforehand.", ge=0, le=500)

    @field_validator("density_deflate")
    @classmethod
    def _deflates(cls, value: int, info: ValidationInfo) -> int:
        return cls._own(value, info, "deflates nothing")


def _steps(settings: DensityConfig, sizes: Sizes) -> list[Step]:
    title = f"density: {settings.density_probes} probes of {settings.density_steps} products"
    found = [products(title, settings.density_steps, settings, sizes, vectors=settings.density_probes)]
    if settings.density_deflate:
        count = searching(settings.density_deflate)
        found.insert(0, products(f"density: steepest pairs in about {count} products", count, settings, sizes))
    return [by_layer(step, settings, sizes) for step in found]


QUANTITY = Quantity(
    name="density",
    help="spectral density, smallest eigenvalue, negative mass",
    settings=DensityConfig,
    subject="point",
    measure="rashomon_cli.science.spectrum:density",
    arguments=lambda s, sample: {
        "asked": asked(s, sample),
        "probes": s.density_probes,
        "steps": s.density_steps,
        "deflate": s.density_deflate,
        "seed": sample.seed,
    },
    steps=_steps,
    check=check_layers,
    default=False,
)
