"""The trace of a matrix and its squared Frobenius norm from products with random vectors, with standard errors.

XTrace (Epperly, Tropp, Webber 2024, SIAM J. Matrix Anal. Appl. 45, 1, "XTrace: making the most of every sample in
stochastic trace estimation") takes the trace on the range of AΩ exactly and estimates the rest, each test vector ω once
for a range that the others span; so a few large eigenvalues add no noise. Hutchinson's estimator (1989), the plain mean
of ``zᵀAz``, needs room for a few vectors only.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from rashomon_cli.core.results import Result, Variable, scalar
from rashomon_cli.core.seeds import derive
from rashomon_cli.science.spectra.leave_one_out import Sketch, on_sphere
from rashomon_cli.science.spectra.matrices import Matrix

LEAST = 4
_BLOCK = 8

Method = Literal["exact", "xtrace", "hutchinson"]


@dataclass(frozen=True)
class Estimate:
    """A number with its standard error, 0 where it is exact."""

    value: float
    stderr: float


@dataclass(frozen=True)
class Trace:
    """What random products tell of a matrix.

    Attributes:
        trace: tr A.
        frobenius_squared: ``‖A‖_F²``, the sum of the squared eigenvalues.
        parts: the traces of diagonal blocks by name.
        method: how they were found.
        matvecs: products with one vector that were spent.
    """

    trace: Estimate
    frobenius_squared: Estimate
    parts: Mapping[str, Estimate]
    method: Method
    matvecs: int

    def result(self) -> Result:
        """As variables; the blocks along ``layer``."""
        spent = np.asarray(self.matvecs)
        found = {
            "trace": scalar(self.trace.value, "nat", "trace", self.trace.stderr),
            "frobenius_squared": scalar(
                self.frobenius_squared.value, "nat^2", "squared Frobenius norm", self.frobenius_squared.stderr
            ),
            "trace_method": Variable((), np.asarray(self.method), "1", "how the trace was found"),
            "matvecs": Variable((), spent, "1", "products of the matrix with one vector"),
        }
        if self.parts:
            values, errors = (np.array([getattr(e, a) for e in self.parts.values()]) for a in ("value", "stderr"))
            found["trace_layer"] = Variable(("layer",), values, "nat", "trace of the layer's block", errors)
            found["layer_name"] = Variable(("layer",), np.array(list(self.parts)), "1", "layer")
        return Result(found)


def estimate(
    matrix: Matrix,
    matvecs: int,
    *,
    parts: Mapping[str, Tensor] | None = None,
    method: Literal["auto", "xtrace", "hutchinson"] = "auto",
    memory: float = math.inf,
    seed: int = 0,
) -> Trace:
    """The trace by the best method that there is room for.

    Args:
        matrix: symmetric (n, n).
        matvecs: products with one vector, at least 4; from n on all is exact, by n products.
        parts: entries of each diagonal block whose trace is wanted, by name: a mask (n,) or indices; no more products.
        method: ``auto`` is XTrace where its vectors fit into ``memory``, else Hutchinson.
        memory: bytes.
        seed: of the random vectors.

    Returns:
        Estimates that are unbiased but for rounding.

    Raises:
        ValueError: if ``matvecs`` is below 4.
    """
    fits = xtrace_memory(matrix.size, matvecs, matrix.like.element_size()) <= memory
    chosen = xtrace if method == "xtrace" or (method == "auto" and fits) else hutchinson
    return chosen(matrix, matvecs, parts=parts, seed=seed)


def xtrace_memory(size: int, matvecs: int, itemsize: int = 4) -> int:
    """Bytes that XTrace takes on the matrix's device: two float64 vectors (n,) a product, and two of its own type."""
    return (16 + 2 * itemsize) * size * matvecs


def xtrace(matrix: Matrix, matvecs: int, *, parts: Mapping[str, Tensor] | None = None, seed: int = 0) -> Trace:
    """XTrace with test vectors uniform on the sphere and residuals scaled by their lengths.

    With Q_i an orthonormal basis of the span of all Aω_j but Aω_i, and ``u = ω_i − Q_iQ_iᵀω_i``, each test vector gives
    ``tr Q_iᵀAQ_i + (n − rank Q_i) uᵀAu / ‖u‖²``, and the estimate is their mean. The same products give the squared
    Frobenius norm, ``tr A²``, with ``‖AQ_i‖²`` and ``‖Au‖²`` in place of these, and the trace of a block by its part of
    each inner product. The standard error is the published one made larger by what the estimates of single test vectors
    have in common.

    Args:
        matrix: symmetric (n, n).
        matvecs: products with one vector; two a test vector, so an odd one is not spent; from n on all is exact.
        parts: entries of each diagonal block whose trace is wanted, by name.
        seed: of the test vectors.

    Returns:
        The estimates; NaN where a product is not finite.

    Raises:
        ValueError: if ``matvecs`` is below 4.
    """
    places = _places(matrix, parts)
    if matrix.size <= _enough(matvecs):
        return _exact(matrix, places)
    before, chooser = matrix.matvecs, torch.Generator().manual_seed(derive(seed, "trace"))
    tests = on_sphere(matrix.size, matvecs // 2, chooser).to(matrix.like)
    products = matrix(tests)
    if not bool(products.isfinite().all()):
        lost = Estimate(math.nan, math.nan)
        return Trace(lost, lost, dict.fromkeys(places, lost), "xtrace", matrix.matvecs - before)
    sketch = Sketch.of(matrix, tests, products)
    forms = [sketch.form(), sketch.square(), *(sketch.form(where) for where in places.values())]
    whole, square, *blocks = (Estimate(float(v), float(e)) for v, e in zip(*sketch.traces(forms), strict=True))
    return Trace(whole, square, dict(zip(places, blocks, strict=True)), "xtrace", matrix.matvecs - before)


def hutchinson(matrix: Matrix, matvecs: int, *, parts: Mapping[str, Tensor] | None = None, seed: int = 0) -> Trace:
    """The means of ``zᵀAz`` and of ``‖Az‖²`` over vectors z of random signs, a few at a time.

    The variance of a product is ``2(‖A‖_F² − Σ a_ii²)``. A block's part of ``zᵀAz`` has the mean of its trace.

    Args:
        matrix: symmetric (n, n).
        matvecs: products with one vector; from n on all is exact.
        parts: entries of each diagonal block whose trace is wanted, by name.
        seed: of the signs.

    Returns:
        The estimates.

    Raises:
        ValueError: if ``matvecs`` is below 4.
    """
    places = _places(matrix, parts)
    if matrix.size <= _enough(matvecs):
        return _exact(matrix, places)
    before, chooser = matrix.matvecs, torch.Generator().manual_seed(derive(seed, "trace"))
    found: dict[str, list[Tensor]] = {name: [] for name in places}
    traces, squares = [], []
    for begin in range(0, matvecs, _BLOCK):
        drawn = torch.randint(0, 2, (min(_BLOCK, matvecs - begin), matrix.size), generator=chooser)
        signs = (2 * drawn - 1).to(matrix.like)
        images = matrix(signs).double()
        terms = images * signs
        traces.append(terms.sum(1))
        squares.append(images.square().sum(1))
        for name, where in places.items():
            found[name].append(terms[:, where].sum(1))
    blocks = {name: _mean(torch.cat(each)) for name, each in found.items()}
    spent = matrix.matvecs - before
    return Trace(_mean(torch.cat(traces)), _mean(torch.cat(squares)), blocks, "hutchinson", spent)


def _enough(matvecs: int) -> int:
    """The products, if there are enough for a spread.

    Raises:
        ValueError: if not.
    """
    if matvecs < LEAST:
        raise ValueError(f"{matvecs} products for a trace: at least {LEAST}")
    return matvecs


def _places(matrix: Matrix, parts: Mapping[str, Tensor] | None) -> dict[str, Tensor]:
    """Indices of each part's entries."""
    found = {name: torch.as_tensor(part, device=matrix.like.device) for name, part in (parts or {}).items()}
    return {name: part.nonzero()[:, 0] if part.dtype == torch.bool else part for name, part in found.items()}


def _exact(matrix: Matrix, places: Mapping[str, Tensor]) -> Trace:
    """Everything from the matrix itself, by n products."""
    written = matrix(torch.eye(matrix.size).to(matrix.like)).double()
    diagonal = written.diagonal()
    blocks = {name: Estimate(float(diagonal[where].sum()), 0.0) for name, where in places.items()}
    square = Estimate(float(written.square().sum()), 0.0)
    return Trace(Estimate(float(diagonal.sum()), 0.0), square, blocks, "exact", matrix.size)


def _mean(values: Tensor) -> Estimate:
    """The mean of values (k,) and its standard error."""
    return Estimate(float(values.mean()), float(values.std()) / math.sqrt(len(values)))
