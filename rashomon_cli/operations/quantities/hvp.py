"""Hessian-vector products along straight, detour, tangent and random directions, λ_max beside."""

from __future__ import annotations

from rashomon_cli.core.options import option
from rashomon_cli.operations.plan import Step
from rashomon_cli.operations.quantities.matrix import DecayConfig
from rashomon_cli.operations.quantities.quantity import Quantity, Samples, Sizes, taken

_EIGSH_PRODUCTS = 20


class HvpConfig(DecayConfig):
    """Settings of ``hvp``."""

    hvp_samples: Samples = option(4096, "hvp: training examples of the products, or all.")
    hvp_random: int = option(2, "hvp: random directions, the yardstick.", ge=0)
    hvp_eigenvalue_samples: int = option(512, "hvp: training examples for the largest eigenvalue; 0 for none.", ge=0)
    hvp_radius: float = option(
        0.0, "hvp: if positive, also products averaged over θ ± so far along straight, detour and tangent.", ge=0
    )


def _steps(settings: HvpConfig, sizes: Sizes) -> list[Step]:
    sample = taken(settings.hvp_samples, sizes.train)
    steps = [Step("hvp", sample, "product", vectors=sizes.directions + settings.hvp_random)]
    if settings.hvp_eigenvalue_samples:
        passes = taken(settings.hvp_eigenvalue_samples, sizes.train) * _EIGSH_PRODUCTS
        steps.append(Step(f"largest eigenvalue in about {_EIGSH_PRODUCTS} products", passes, "product", vectors=1))
    if settings.hvp_radius and sizes.directions:
        steps.append(Step("averaged hvp", 2 * sizes.directions * sample, "product"))
    return steps


QUANTITY = Quantity(
    name="hvp",
    help="‖Hv‖ and vᵀHv along straight, detour, tangent and random directions; λ_max",
    settings=HvpConfig,
    subject="point",
    measure="rashomon_cli.science.curvature:directional",
    arguments=lambda s, sample: {
        "batches": sample("train", s.hvp_samples, batches=16),
        "random": s.hvp_random,
        "with_decay": s.with_decay,
        "seed": sample.seed,
        "radius": s.hvp_radius,
        "eigenvalue_batches": sample("train", s.hvp_eigenvalue_samples) if s.hvp_eigenvalue_samples else None,
    },
    steps=_steps,
)
