"""The local learning coefficient, where a count of zero eigenvalues misleads."""

from __future__ import annotations

from rashomon_cli.core.options import option
from rashomon_cli.operations.plan import Step
from rashomon_cli.operations.quantities.matrix import LossConfig, check_layers, each_layer, one_by_one
from rashomon_cli.operations.quantities.quantity import Pieces, Quantity, Samples, Sizes, taken

_HALVINGS = 10  # until a first step is found, about; at most 100
_CHECK = 10  # draws of minibatches between two that look at themselves, which takes a second gradient


class LlcConfig(LossConfig):
    """Settings of ``llc``."""

    llc_samples: Samples = option(2000, "llc: examples n of the loss, or all.")
    llc_chains: int = option(4, "llc: independent walks from the point.", ge=1, le=100)
    llc_draws: int = option(500, "llc: steps of each that count.", ge=4)
    llc_burn_in: int = option(250, "llc: steps of each before.", ge=1)
    llc_batch: int = option(256, "llc: examples a step; n or more for all, then steps are exact.", ge=2)
    llc_step: float | None = option(
        None, "llc: step size ε of SGLD, the variance of a step's noise; found in the burn-in where left out.", gt=0
    )
    llc_localisation: float = option(100.0, "llc: strength γ of the pull towards the point.", gt=0)
    llc_inverse_temperature: float | None = option(
        None, "llc: nβ, the factor of the loss; n / log n where left out (Lau et al. 2023).", unit="1/nat", gt=0
    )


def _steps(settings: LlcConfig, sizes: Sizes) -> list[Step]:
    sample = taken(settings.llc_samples, getattr(sizes, settings.split))
    chains, draws = settings.llc_chains, settings.llc_draws
    gradients = 1 + (_HALVINGS if settings.llc_step is None else 0)
    batch = settings.llc_batch if settings.llc_batch < sample else None
    if batch is None:
        gradients += settings.llc_burn_in + draws
    else:  # a minibatch sees both ends of an adjusted step anew
        gradients += 2 * settings.llc_burn_in + draws + -(-draws // _CHECK)
    title, passes = f"llc: {chains} walks of {gradients} gradients", chains * gradients * (batch or sample)
    return [Step("llc: losses of the point", chains * sample), Step(title, passes, "train", batch=batch)]


QUANTITY = Quantity(
    name="llc",
    help="local learning coefficient, with its Monte Carlo error",
    settings=LlcConfig,
    subject="point",
    measure="rashomon_cli.science.learning_coefficient:one_chain",
    pieces=Pieces(lambda s: s.llc_chains, "rashomon_cli.science.learning_coefficient:summary"),
    arguments=lambda s, sample: {
        "batches": sample(s.split, s.llc_samples),
        "layers": s.layers,
        "draws": s.llc_draws,
        "burn_in": s.llc_burn_in,
        "batch": s.llc_batch,
        "step": s.llc_step,
        "localisation": s.llc_localisation,
        "inverse_temperature": s.llc_inverse_temperature,
        "seed": sample.seed,
    },
    steps=each_layer(_steps),
    layers=one_by_one,
    check=check_layers,
    default=False,
)
