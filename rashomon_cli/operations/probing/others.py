"""Other data that a quantity looks at besides the run's own."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from rashomon_cli.core.errors import RashomonError, Refused
from rashomon_cli.core.options import Config, flag_of
from rashomon_cli.operations import subjects
from rashomon_cli.operations.context import Context
from rashomon_cli.operations.predictions import Images, check_input, images_of
from rashomon_cli.operations.quantities import Quantity
from rashomon_cli.operations.quantities.quantity import Samples
from rashomon_cli.sources import data


@dataclass(frozen=True)
class Other:
    """The test examples of other data, or a choice of them.

    Attributes:
        quantity: that looks at them.
        setting: of the quantity, which names them.
        images: the examples.
        source: where they come from.
    """

    quantity: str
    setting: str
    images: Images
    source: data.Source

    @property
    def record(self) -> dict[str, str]:
        """The setting with the canonical name."""
        return {self.setting: str(self.source.spec)}

    @property
    def fingerprints(self) -> dict[str, str]:
        """Their digest."""
        return {f"{self.quantity}:{self.source.spec}": self.source.fingerprint}


def prepare(
    context: Context, quantity: Quantity, settings: Config, subject: subjects.Subject, seed: int
) -> Other | None:
    """Look up the other data that a quantity names, without importing torch; None where it names none.

    Raises:
        UsageError: if there are no such data.
        Refused: if they do not fit the subject.
    """
    setting = quantity.other
    if setting is None or getattr(settings, setting) is None:
        return None
    source = context.source(getattr(settings, setting))
    samples: Samples = "all" if quantity.samples is None else getattr(settings, quantity.samples)
    images = images_of(source, source.load(context.store.cache), samples, seed)
    check_input(images, subject, flag_of(setting))
    return Other(quantity.name, setting, images, source)


@contextmanager
def blamed(other: Other | None, label: str) -> Iterator[None]:
    """Within, a model that fails while other data are looked at fails on them, as on a token without an embedding.

    Args:
        other: the other data; without any, an error stays what it is.
        label: of the model.

    Raises:
        Refused: if it fails.
        RashomonError: as it is.
        OutOfMemoryError: as it is.
        Exception: without other data, as it is.
    """
    import torch

    try:
        yield
    except (RashomonError, torch.OutOfMemoryError):
        raise
    except Exception as error:
        if other is None:
            raise
        raise Refused(
            f"{label} fails on {other.images.spec}: {error}", f"measure without {flag_of(other.setting)}"
        ) from error
