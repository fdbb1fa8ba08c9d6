"""What a measurement returns and a file holds: named arrays with dimensions, units and standard errors."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]
Metric = float | int | bool | str | None | Sequence[float | None] | Sequence[str]

LABELS = frozenset({"t", "step", "layer", "member", "equal_member", "anchor", "pair"})
"""Metrics that say what each entry of the lists behind them is of: positions, layers, anchors, or pairs as ``1-2``."""


@dataclass(frozen=True)
class Variable:
    """One named array.

    Attributes:
        dims: names of the dimensions, one per axis of ``values``.
        values: the numbers (or strings), of any shape.
        units: ``"1"`` for a pure number, ``"nat"``, ``"percent"``, ``"epoch"`` …
        long_name: what it is, in words, for an axis or a column.
        stderr: standard error of each value, same shape, or None where the value is no estimate.

    Raises:
        ValueError: if the number of dimensions or the shape of ``stderr`` does not fit ``values``.
    """

    dims: tuple[str, ...]
    values: Array
    units: str = "1"
    long_name: str = ""
    stderr: Array | None = None

    def __post_init__(self) -> None:
        """Check that names, axes and errors fit.

        Raises:
            ValueError: if they do not.
        """
        if len(self.dims) != np.ndim(self.values):
            raise ValueError(f"{len(self.dims)} dimension names for an array of {np.ndim(self.values)} axes")
        if self.stderr is not None and np.shape(self.stderr) != np.shape(self.values):
            raise ValueError(f"stderr of shape {np.shape(self.stderr)} for values of {np.shape(self.values)}")


def scalar(value: float, units: str = "1", long_name: str = "", stderr: float | None = None) -> Variable:
    """A variable without dimensions."""
    error = None if stderr is None else np.asarray(stderr, dtype=np.float64)
    return Variable((), np.asarray(value, dtype=np.float64), units, long_name, error)


def series(
    dim: str, values: Sequence[Any] | Array, units: str = "1", long_name: str = "", stderr: Any = None
) -> Variable:
    """A variable along one dimension."""
    error = None if stderr is None else np.asarray(stderr, dtype=np.float64)
    return Variable((dim,), np.asarray(values), units, long_name, error)


@dataclass(frozen=True)
class Result:
    """The outcome of one measurement or of one step that can be resumed.

    Attributes:
        variables: named arrays, for ``metrics.h5``.
        tensors: named arrays that are parameters or states, for safetensors files.
        metrics: headline numbers, for ``run.json``.
    """

    variables: Mapping[str, Variable] = field(default_factory=dict)
    tensors: Mapping[str, Array] = field(default_factory=dict)
    metrics: Mapping[str, Metric] = field(default_factory=dict)


def stack(results: Sequence[Result], dim: str) -> dict[str, Variable]:
    """Join the same variables of several results along a new first dimension.

    A variable that some results lack (a direction that does not exist at a point) is filled with NaN there, words with
    empty ones; so is the end of one that is shorter than another's.

    Args:
        results: one per position along ``dim``.
        dim: name of the new dimension.

    Returns:
        Every variable that occurs in any result, with ``dim`` in front; coordinates, such as the names of layers, are
        those of one result, the longest.

    Raises:
        ValueError: if results have different coordinates.
    """
    names = dict.fromkeys(name for result in results for name in result.variables)
    joined: dict[str, Variable] = {}
    for name in names:
        found = [result.variables.get(name) for result in results]
        there = [variable for variable in found if variable is not None]
        model = there[0]
        if model.dims == (name,):
            joined[name] = _coordinate(there)
            continue
        shape = tuple(map(max, zip(*(np.shape(each.values) for each in there))))
        values = np.stack([_filled(None if v is None else v.values, shape, model.values) for v in found])
        stderr = None
        if any(each.stderr is not None for each in there):
            stderr = np.stack([_filled(None if v is None else v.stderr, shape, np.nan) for v in found])
        joined[name] = Variable((dim, *model.dims), values, model.units, model.long_name, stderr)
    return joined


def entry(variables: Mapping[str, Variable], dim: str, place: int) -> dict[str, Variable]:
    """What variables say at one place of a dimension, the opposite of :func:`stack`.

    Args:
        variables: by name.
        dim: the dimension.
        place: along it.

    Returns:
        Those that have the dimension without it, the others as they are.
    """

    def taken(variable: Variable) -> Variable:
        if dim not in variable.dims:
            return variable
        axis = variable.dims.index(dim)
        dims = (*variable.dims[:axis], *variable.dims[axis + 1 :])
        errors = None if variable.stderr is None else np.asarray(np.take(variable.stderr, place, axis))
        return replace(variable, dims=dims, values=np.asarray(np.take(variable.values, place, axis)), stderr=errors)

    return {name: taken(variable) for name, variable in variables.items()}


def in_layers(layers: Mapping[str, Result]) -> Result:
    """Join what was found in each layer of a network.

    Args:
        layers: by the name of the layer, in the order of the network.

    Returns:
        Everything along ``layer``, with the layers' names; ``matvecs`` summed, if there are any; tensors as
        ``LAYER/NAME``.
    """
    found = list(layers.values())
    joined = {"layer": Variable(("layer",), np.array(list(layers)), "1", "layer"), **stack(found, "layer")}
    spent = [one.variables["matvecs"] for one in found if "matvecs" in one.variables]
    if spent:
        joined["matvecs"] = replace(spent[0], values=np.sum([each.values for each in spent], axis=0))
    tensors = {f"{layer}/{key}": v for layer, one in layers.items() for key, v in one.tensors.items()}
    return Result(joined, tensors)


def _coordinate(several: Sequence[Variable]) -> Variable:
    """The longest, which begins as all others do.

    Raises:
        ValueError: if it does not.
    """
    longest = max(several, key=lambda each: len(each.values))
    if not all(np.array_equal(each.values, longest.values[: len(each.values)]) for each in several):
        raise ValueError(f"results have different coordinates: {[each.values.tolist() for each in several]}")
    return longest


def _filled(values: Any, shape: tuple[int, ...], like: Any) -> Array:
    """Values at the front of a larger array; the rest NaN, or empty words where the example is one of words."""
    words = np.asarray(like).dtype.kind in "UO"
    if values is not None and np.shape(values) == shape:
        return np.asarray(values)
    found: Array = np.full(shape, "" if words else np.nan, dtype=object if words else None)
    if values is not None:
        found[tuple(map(slice, np.shape(values)))] = values
    return found.astype(str) if words else found
