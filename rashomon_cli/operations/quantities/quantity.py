"""What a quantity of ``probe`` is: a name, its own settings, and the science function that measures it."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Annotated, Any, Literal, Protocol

from pydantic import Field

from rashomon_cli.core.options import Config
from rashomon_cli.core.results import Array, Result, Variable, entry, stack
from rashomon_cli.operations.plan import Step

if TYPE_CHECKING:
    from rashomon_cli.science.problem import Layout

Samples = Annotated[int, Field(ge=2)] | Literal["all"]  # BatchNorm and a standard error need two


@dataclass(frozen=True)
class Sizes:
    """How many examples there are, and how many directions a point has: those of a path, or none.

    ``other`` counts the test examples of the other data that a quantity names, ``outputs`` the outputs of a model;
    ``layout`` is that of its parameters, known where a quantity has a ``check``.
    """

    train: int
    test: int
    directions: int = 0
    other: int = 0
    outputs: int = 1
    layout: Layout | None = None


class Sampler(Protocol):
    """Gives a quantity its examples."""

    @property
    def seed(self) -> int:
        """Seed of the probe: determines the samples, and what else a quantity draws."""
        ...

    def __call__(self, split: str, samples: Samples, batches: int = 1) -> Any:
        """Examples of a split, in at least so many batches: what is estimated from batches needs several."""
        ...

    def other(self) -> Any:
        """Test examples of the other data that a quantity names, as the model takes them; None without any."""
        ...


@dataclass(frozen=True)
class Gathering:
    """What a path quantity gathers at each of its positions, and of models beside the path, before it measures.

    What is gathered of a model is one step: it is kept, and an interrupted probe goes on behind it.

    Attributes:
        gather: ``module:function`` of ``science``: (problem, point, **arguments) → Result of one model.
        arguments: (settings, sampler) → keyword arguments of that function.
        steps: (settings, sizes) → what one model costs; BatchNorm is refreshed besides.
        positions: settings → positions on the path; None takes those of ``--points``.
        against: the setting that names models beside the path; they become parents of the run.
    """

    gather: str
    arguments: Callable[[Any, Sampler], dict[str, Any]]
    steps: Callable[[Any, Sizes], list[Step]]
    positions: Callable[[Any], Sequence[float]] | None = None
    against: str | None = None

    def load(self) -> Callable[..., Result]:
        """Import the function that gathers."""
        return _function(self.gather)


@dataclass(frozen=True)
class Pieces:
    """That a point quantity is measured in pieces, none of which needs another but perhaps the first.

    Each is kept, and an interrupted probe goes on behind it. The quantity's function is called with its ``index``.

    Attributes:
        count: settings → how many there are.
        join: ``module:function`` of ``science``: Results of all pieces, in order → Result of the quantity.
        after_first: whether the others are called with the Result of the ``first``.
        lasting: whether a Result is kept; one that only says why there is none is tried again by the next call.
    """

    count: Callable[[Any], int]
    join: str
    after_first: bool = False
    lasting: Callable[[Result], bool] = lambda piece: True

    def load(self) -> Callable[..., Result]:
        """Import the function that joins them."""
        return _function(self.join)


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
        summary: ``module:function`` of ``science``: variables of a point quantity, stacked along t → further ones.
        turning: ``module:function`` of ``science``: tensors of a point quantity at each point → further variables.
        layers: of a point quantity that may be measured layer by layer: (settings, layout of the parameters) → names of
            those layers, None for all at once. Its function is then called with one of them as ``layers``.
        check: (settings, layout of the parameters) → nothing; refuses what does not fit the model before a first step.
        other: the setting that names other data.
        samples: the setting that says how many of their test examples are used.
        pieces: of a point quantity that is measured piece by piece.
        gathering: of a path quantity that looks at models; its function is then called with the problem, the path, the
            positions and what was gathered, and its arguments.
        default: whether it is measured where ``--what`` is left out.
    """

    name: str
    help: str
    settings: type[Config]
    subject: Literal["point", "path"]
    measure: str
    arguments: Callable[[Any, Sampler], dict[str, Any]]
    steps: Callable[[Any, Sizes], list[Step]]
    summary: str | None = None
    turning: str | None = None
    layers: Callable[[Any, Layout], Sequence[str] | None] | None = None
    check: Callable[[Any, Layout], None] | None = None
    other: str | None = None
    samples: str | None = None
    pieces: Pieces | None = None
    gathering: Gathering | None = None
    default: bool = True

    def load(self) -> Callable[..., Result]:
        """Import the function that measures."""
        return _function(self.measure)

    def summarise(
        self, variables: Mapping[str, Variable], tensors: Sequence[Mapping[str, Array]] = ()
    ) -> dict[str, Variable]:
        """What follows from the values at all points together.

        Args:
            variables: stacked along t; by layer along t and layer.
            tensors: of each point.

        Returns:
            Further variables.
        """
        found: dict[str, Variable] = {}
        if self.summary and self.layers and "layer" in variables:
            rows = range(len(variables["layer"].values))
            each = [_function(self.summary)(entry(variables, "layer", row)) for row in rows]
            found = {name: _along_t(variable) for name, variable in stack(each, "layer").items()}
        elif self.summary:
            found = dict(_function(self.summary)(variables).variables)
        return found | (dict(_function(self.turning)(tensors).variables) if self.turning else {})


def _along_t(variable: Variable) -> Variable:
    """A variable with t in front of the layers."""
    if variable.dims[:2] != ("layer", "t"):
        return variable
    errors = None if variable.stderr is None else variable.stderr.swapaxes(0, 1)
    dims, values = ("t", "layer", *variable.dims[2:]), variable.values.swapaxes(0, 1)
    return replace(variable, dims=dims, values=values, stderr=errors)


def _function(place: str) -> Callable[..., Result]:
    module, _, function = place.partition(":")
    found: Callable[..., Result] = getattr(importlib.import_module(module), function)
    return found


def taken(samples: Samples, available: int) -> int:
    """Number of examples that a setting takes."""
    return available if samples == "all" else min(samples, available)
