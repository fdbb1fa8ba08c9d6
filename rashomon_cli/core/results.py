"""What a measurement returns and a file holds: named arrays with dimensions, units and standard errors."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
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
    empty ones.

    Args:
        results: one per position along ``dim``.
        dim: name of the new dimension.

    Returns:
        Every variable that occurs in any result, with ``dim`` in front; coordinates, such as the names of layers, are
        those of the first result.
    """
    names = dict.fromkeys(name for result in results for name in result.variables)
    joined: dict[str, Variable] = {}
    for name in names:
        found = [result.variables.get(name) for result in results]
        model = next(variable for variable in found if variable is not None)
        if model.dims == (name,):
            joined[name] = model
            continue
        blank = np.full(np.shape(model.values), "" if np.asarray(model.values).dtype.kind in "UO" else np.nan)
        values = np.stack([blank if v is None else v.values for v in found])
        stderr = None
        if any(v is not None and v.stderr is not None for v in found):
            stderr = np.stack([blank if v is None or v.stderr is None else v.stderr for v in found])
        joined[name] = Variable((dim, *model.dims), values, model.units, model.long_name, stderr)
    return joined
