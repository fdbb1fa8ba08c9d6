"""Norm of the gradient, with and without the penalty."""

from __future__ import annotations

from rashomon_cli.core.options import Config, option
from rashomon_cli.operations.plan import Step
from rashomon_cli.operations.quantities.quantity import Quantity, Samples, taken


class GradientConfig(Config):
    """Settings of ``gradient``."""

    gradient_samples: Samples = option(5000, "gradient: training examples, or all.")


QUANTITY = Quantity(
    name="gradient",
    help="‖∇L‖, and with the L2 penalty",
    settings=GradientConfig,
    subject="point",
    measure="rashomon_cli.science.curvature:gradient",
    arguments=lambda s, sample: {"batches": sample("train", s.gradient_samples, batches=16)},
    steps=lambda s, sizes: [Step("gradient", taken(s.gradient_samples, sizes.train), "product")],
)
