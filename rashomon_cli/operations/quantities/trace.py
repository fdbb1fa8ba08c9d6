"""The trace of a curvature matrix and its squared Frobenius norm."""

from __future__ import annotations

from typing import Literal

from pydantic import ValidationInfo, field_validator

from rashomon_cli.core.options import option
from rashomon_cli.operations.plan import Step
from rashomon_cli.operations.quantities.matrix import SpectrumConfig, asked, check_layers, products
from rashomon_cli.operations.quantities.quantity import Quantity, Sizes


class TraceConfig(SpectrumConfig):
    """Settings of ``trace``."""

    trace_matvecs: int = option(60, "trace: products with one vector.", ge=10)
    trace_method: Literal["auto", "xtrace", "hutchinson"] = option(
        "auto", "trace: XTrace, or Hutchinson's estimator; auto: XTrace where its vectors fit into 2 GiB."
    )

    @field_validator("trace_method")
    @classmethod
    def _estimates(cls, value: str, info: ValidationInfo) -> str:
        return cls._own(value, info, "has Hutchinson's estimator only", "hutchinson")


def _steps(settings: TraceConfig, sizes: Sizes) -> list[Step]:
    count = settings.trace_matvecs
    return [products(f"trace in {count} products", 1, settings, sizes, vectors=count)]


QUANTITY = Quantity(
    name="trace",
    help="trace and squared Frobenius norm, with standard errors",
    settings=TraceConfig,
    subject="point",
    measure="rashomon_cli.science.spectrum:trace",
    arguments=lambda s, sample: {
        "asked": asked(s, sample),
        "matvecs": s.trace_matvecs,
        "method": s.trace_method,
        "seed": sample.seed,
    },
    steps=_steps,
    check=check_layers,
    default=False,
)
