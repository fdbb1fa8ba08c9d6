"""The spectral density of a curvature matrix by stochastic Lanczos quadrature."""

from __future__ import annotations

from pydantic import ValidationInfo, field_validator

from rashomon_cli.core.options import option
from rashomon_cli.operations.plan import Step
from rashomon_cli.operations.quantities.matrix import (
    SpectrumConfig,
    asked,
    check_layers,
    each_layer,
    probing,
    products,
    searching,
)
from rashomon_cli.operations.quantities.quantity import Pieces, Quantity, Sizes

_BLOCK = 2  # probes: fewer share no graph of a batch, more are lost where a run is interrupted


class DensityConfig(SpectrumConfig):
    """Settings of ``density``."""

    density_probes: int = option(4, "density: random vectors, the same at every point of a path.", ge=1)
    density_steps: int = option(80, "density: Lanczos steps of each, hence products.", ge=1)
    density_deflate: int = option(0, "density: eigenpairs of the largest |λ| that are found beforehand.", ge=0, le=500)

    @field_validator("density_deflate")
    @classmethod
    def _deflates(cls, value: int, info: ValidationInfo) -> int:
        return cls._own(value, info, "deflates nothing")


def _block(settings: DensityConfig) -> int:
    """Probes that run side by side; those of PyHessian all at once."""
    return settings.density_probes if settings.backend == "pyhessian" else min(_BLOCK, settings.density_probes)


def _steps(settings: DensityConfig, sizes: Sizes) -> list[Step]:
    title = f"density: {settings.density_probes} probes of {settings.density_steps} products"
    found = probing(title, settings.density_probes, _block(settings), settings.density_steps, settings, sizes)
    if settings.density_deflate:
        count = searching(settings.density_deflate)
        found.insert(0, products(f"density: steepest pairs in about {count} products", count, settings, sizes))
    return found


QUANTITY = Quantity(
    name="density",
    help="spectral density, smallest eigenvalue, negative mass",
    settings=DensityConfig,
    subject="point",
    measure="rashomon_cli.science.spectral_density:one_block",
    pieces=Pieces(
        lambda s: -(-s.density_probes // _block(s)), "rashomon_cli.science.spectral_density:joined", after_first=True
    ),
    arguments=lambda s, sample: {
        "asked": asked(s, sample),
        "probes": s.density_probes,
        "steps": s.density_steps,
        "deflate": s.density_deflate,
        "block": _block(s),
        "seed": sample.seed,
    },
    steps=each_layer(_steps),
    check=check_layers,
    default=False,
)
