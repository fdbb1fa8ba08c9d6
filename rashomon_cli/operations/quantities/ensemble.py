"""Ensembles of models along the path, against their members and independent models."""

from __future__ import annotations

from typing import Annotated, Any

import numpy as np
from pydantic import BeforeValidator

from rashomon_cli.core.options import Config, RunName, option
from rashomon_cli.core.specs import split_list
from rashomon_cli.operations.plan import Step
from rashomon_cli.operations.quantities.quantity import Gathering, Quantity, Samples, taken


def _split(value: Any) -> Any:
    return [name for name in split_list(value) if name] if isinstance(value, str) else value


Names = Annotated[tuple[RunName, ...], BeforeValidator(_split)]


class EnsembleConfig(Config):
    """Settings of ``ensemble``."""

    ensemble_k: int = option(5, "ensemble: models at equally spaced t, both ends included.", ge=2, le=1000)
    ensemble_samples: Samples = option("all", "ensemble: test examples, or all.")
    ensemble_against: Names = option(
        (), "ensemble: independent models, comma-separated; the path's two ends where left out.", reference=True
    )


QUANTITY = Quantity(
    name="ensemble",
    help="error and loss of models along the path averaged, against each and against independent models",
    settings=EnsembleConfig,
    subject="path",
    measure="rashomon_cli.science.ensembles:ensemble",
    arguments=lambda s, sample: {"batches": sample("test", s.ensemble_samples)},
    steps=lambda s, sizes: [],
    gathering=Gathering(
        gather="rashomon_cli.science.ensembles:predictions",
        arguments=lambda s, sample: {"batches": sample("test", s.ensemble_samples)},
        steps=lambda s, sizes: [Step("predictions", taken(s.ensemble_samples, sizes.test))],
        positions=lambda s: [float(t) for t in np.linspace(0, 1, s.ensemble_k)],
        against="ensemble_against",
    ),
    default=False,
)
