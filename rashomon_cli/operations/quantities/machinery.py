"""How predictions and representation change along the path, on test examples and on data that no model has seen."""

from __future__ import annotations

from rashomon_cli.core.options import Config, option
from rashomon_cli.operations.plan import Step
from rashomon_cli.operations.quantities.quantity import Gathering, Quantity, Samples, taken


class MachineryConfig(Config):
    """Settings of ``machinery``."""

    machinery_ood: str | None = option(None, "machinery: other data whose test split to look at besides, as mnist.")
    machinery_samples: Samples = option(2000, "machinery: test examples of each data set, or all.")


QUANTITY = Quantity(
    name="machinery",
    help="cosine, disagreement and representation change from the start, and their rates along the path",
    settings=MachineryConfig,
    subject="path",
    measure="rashomon_cli.science.machinery:machinery",
    arguments=lambda s, sample: {},
    steps=lambda s, sizes: [],
    gathering=Gathering(
        gather="rashomon_cli.science.machinery:look",
        arguments=lambda s, sample: {"test": sample("test", s.machinery_samples), "other": sample.other()},
        steps=lambda s, sizes: [Step("predictions and features", taken(s.machinery_samples, sizes.test) + sizes.other)],
    ),
    other="machinery_ood",
    samples="machinery_samples",
    default=False,
)
