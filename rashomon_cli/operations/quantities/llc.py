"""The local learning coefficient, where a count of zero eigenvalues misleads."""

from __future__ import annotations

from rashomon_cli.core.options import Config, option
from rashomon_cli.operations.plan import Step
from rashomon_cli.operations.quantities.quantity import Quantity, Samples, Sizes, taken


class LlcConfig(Config):
    """Settings of ``llc``."""

    llc_samples: Samples = option(2000, "llc: training examples n of the loss, or all.")
    llc_chains: int = option(4, "llc: independent walks from the point.", ge=1, le=100)
    llc_draws: int = option(500, "llc: steps of each that count.", ge=4)
    llc_burn_in: int = option(250, "llc: steps of each before.", ge=1)
    llc_batch: int = option(256, "llc: examples a step; n or more for all, then steps are exact.", ge=2)
    llc_localisation: float = option(100.0, "llc: strength γ of the pull towards the point.", gt=0)


def _steps(settings: LlcConfig, sizes: Sizes) -> list[Step]:
    sample = taken(settings.llc_samples, sizes.train)
    walked = settings.llc_chains * (settings.llc_draws + settings.llc_burn_in)
    return [Step(f"llc: {walked} steps", walked * min(settings.llc_batch, sample), "train")]


QUANTITY = Quantity(
    name="llc",
    help="local learning coefficient, with its Monte Carlo error",
    settings=LlcConfig,
    subject="point",
    measure="rashomon_cli.science.learning_coefficient:learning_coefficient",
    arguments=lambda s, sample: {
        "batches": sample("train", s.llc_samples),
        "chains": s.llc_chains,
        "draws": s.llc_draws,
        "burn_in": s.llc_burn_in,
        "batch": s.llc_batch,
        "localisation": s.llc_localisation,
        "seed": sample.seed,
    },
    steps=_steps,
    default=False,
)
