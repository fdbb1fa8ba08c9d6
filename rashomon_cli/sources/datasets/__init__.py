"""Named data sets."""

from collections.abc import Callable
from pathlib import Path

from rashomon_cli.core.specs import Spec
from rashomon_cli.sources.data import Source
from rashomon_cli.sources.datasets import cifar, digits, mnist, photos

BUILT_IN: dict[str, Callable[[Spec, Path | None], Source]] = {
    "digits": digits.source,
    "photos": photos.source,
    "mnist": mnist.source,
    "fashion-mnist": mnist.source,
    "cifar10": cifar.source,
    "cifar100": cifar.source,
}
