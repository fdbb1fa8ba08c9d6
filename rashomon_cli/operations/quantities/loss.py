"""Loss, error, cross-entropy and calibration on train and test."""

from __future__ import annotations

from rashomon_cli.core.options import Config, option
from rashomon_cli.operations.plan import Step
from rashomon_cli.operations.quantities.quantity import Quantity, Samples, taken


class LossConfig(Config):
    """Settings of ``loss``."""

    loss_samples: Samples = option("all", "loss: examples of each split, or all.")


QUANTITY = Quantity(
    name="loss",
    help="train and test loss, error, cross-entropy, calibration",
    settings=LossConfig,
    subject="point",
    measure="rashomon_cli.science.losses:losses",
    arguments=lambda s, sample: {"train": sample("train", s.loss_samples), "test": sample("test", s.loss_samples)},
    steps=lambda s, sizes: [Step("loss", taken(s.loss_samples, sizes.train) + taken(s.loss_samples, sizes.test))],
)
