"""What a quantity of ``probe`` is: a name, its own settings, and the science function that measures it."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Any, Literal, Protocol

from pydantic import Field

from rashomon_cli.core.options import Config
from rashomon_cli.core.results import Result
from rashomon_cli.operations.plan import Step

Samples = Annotated[int, Field(ge=2)] | Literal["all"]  # BatchNorm and a standard error need two


@dataclass(frozen=True)
class Sizes:
    """How many examples there are, and how many directions a point has: those of a path, or none."""

    train: int
    test: int
    directions: int = 0


class Sampler(Protocol):
    """Gives a quantity its examples."""

    @property
    def seed(self) -> int:
        """Seed of the probe: determines the samples, and what else a quantity draws."""
        ...

    def __call__(self, split: str, samples: Samples, batches: int = 1) -> Any:
        """Examples of a split, in at least so many batches: what is estimated from batches needs several."""
        ...


@dataclass(frozen=True)
class Quantity:
    """Something that ``probe`` can measure.

    Attributes:
        name: as in ``--what``.
        help: one line.
        settings: its options; each becomes a flag of ``probe``, so their names begin with the quantity's.
        subject: ``point`` (measured at each point) or ``path`` (once, over all points).
        measure: ``module:function`` of ``science``; imported on use.
        arguments: (settings, sampler) → keyword arguments of the function.
        steps: (settings, sizes) → what one point costs.
    """

    name: str
    help: str
    settings: type[Config]
    subject: Literal["point", "path"]
    measure: str
    arguments: Callable[[Any, Sampler], dict[str, Any]]
    steps: Callable[[Any, Sizes], list[Step]]

    def load(self) -> Callable[..., Result]:
        """Import the function that measures."""
        module, _, function = self.measure.partition(":")
        found: Callable[..., Result] = getattr(importlib.import_module(module), function)
        return found


def taken(samples: Samples, available: int) -> int:
    """Number of examples that a setting takes."""
    return available if samples == "all" else min(samples, available)
