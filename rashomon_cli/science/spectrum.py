"""What can be asked of the spectrum of a curvature matrix at a point: its ends and its trace here.

Each takes the same description of the matrix. By layer it is asked of the diagonal block of each layer in turn.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from rashomon_cli.core.results import Array, Result, in_layers, series
from rashomon_cli.science import second_opinion
from rashomon_cli.science.problem import Batches, Point, Problem, Tick, silent
from rashomon_cli.science.pyhessian_backend import PyHessian
from rashomon_cli.science.spectra import pairs, subspaces, traces
from rashomon_cli.science.spectra.blocks import layers as layers_of
from rashomon_cli.science.spectra.curvatures import Curvature
from rashomon_cli.science.spectra.matrices import Matrix


@dataclass(frozen=True)
class Asked:
    """Which matrix is meant.

    Attributes:
        batches: the examples.
        kind: ``hessian``, ``ggn`` or ``fisher``.
        layers: only the parameters of layers that match; None takes all.
        by_layer: whether the diagonal block of each layer is a matrix of its own.
        with_decay: whether wd·I is added.
        backend: whose products and algorithms: ``own`` or ``pyhessian``.
    """

    batches: Batches
    kind: str = "hessian"
    layers: str | None = None
    by_layer: bool = False
    with_decay: bool = False
    backend: str = "own"

    def each(self, problem: Problem, point: Point, measure: Callable[[Matrix], Result], tick: Tick) -> Result:
        """Measure the matrix, or each of the layers' blocks.

        Args:
            problem: the model and loss.
            point: where; BatchNorm frozen.
            measure: what is asked of a matrix.
            tick: called after each batch of a product.

        Returns:
            Its result; by layer along ``layer``, with the layers' names, but for the products, which are summed.

        Raises:
            UsageError: if no layer matches.
        """
        shift = problem.weight_decay if self.with_decay else 0.0
        if self.backend == "pyhessian":
            return measure(PyHessian(problem, point, self.batches, shift=shift, tick=tick))
        masks = None if self.layers is None and not self.by_layer else layers_of(problem.layout, self.layers)

        def of(chosen: Tensor | None) -> Result:
            return measure(Curvature(problem, point, self.batches, self.kind, chosen, shift, tick=tick))

        if masks is None:
            return of(None)
        if not self.by_layer:
            return of(torch.stack(list(masks.values())).any(0))
        return in_layers({name: of(mask) for name, mask in masks.items()})


def top(
    problem: Problem,
    point: Point,
    *,
    asked: Asked,
    count: int = 10,
    bottom: int = 3,
    tolerance: float = pairs.TOLERANCE,
    limit: int = pairs.LIMIT,
    seed: int = 0,
    tick: Tick = silent,
) -> Result:
    """The largest eigenpairs and the most negative ones.

    Args:
        problem: the model and loss.
        point: where; BatchNorm frozen.
        asked: which matrix.
        count: number of the largest.
        bottom: number of the smallest.
        tolerance: residual up to which a pair counts as converged, relative to ``|λ| + max|λ|/50``.
        limit: products that may be spent.
        seed: of the first vectors.
        tick: called after each batch of a product.

    Returns:
        ``eigenvalues_top``, ``residuals_top``, ``eigenvalues_bottom``, ``residuals_bottom``, ``converged_top``,
        ``converged_bottom`` and ``matvecs``; of the whole matrix on a path ``top_share_<name>``, the share of each
        direction's squared length in the span of the top eigenvectors; those as tensors ``vectors_top`` and
        ``vectors_bottom``.

    Raises:
        UsageError: if no layer matches.
    """

    def measure(matrix: Matrix) -> Result:
        if isinstance(matrix, PyHessian):
            return second_opinion.eigenvalues(matrix, count, accepted=tolerance, seed=seed)
        least = pairs.products(min(count, matrix.size), min(bottom, matrix.size), check=False)
        found = pairs.extreme(matrix, count, bottom, tolerance=tolerance, limit=max(limit, least), seed=seed)
        directions = point.directions if matrix.size == problem.layout.total else {}
        return _padded(found.result(directions), {"top": count, "bottom": bottom})

    return asked.each(problem, point, measure, tick)


def turning(tensors: Sequence[Mapping[str, Array]]) -> Result:
    """How the top subspace of the whole matrix turns along a path.

    Args:
        tensors: of :func:`top` at each point.

    Returns:
        What :func:`~rashomon_cli.science.spectra.subspaces.turning` says; nothing where there are no such vectors.
    """
    if not all("vectors_top" in each for each in tensors):
        return Result()
    return subspaces.turning([torch.from_numpy(np.array(each["vectors_top"])) for each in tensors])


def trace(
    problem: Problem,
    point: Point,
    *,
    asked: Asked,
    matvecs: int = 60,
    method: Literal["auto", "xtrace", "hutchinson"] = "auto",
    memory: float = 2**31,
    seed: int = 0,
    tick: Tick = silent,
) -> Result:
    """The trace and the squared Frobenius norm.

    Args:
        problem: the model and loss.
        point: where; BatchNorm frozen.
        asked: which matrix; by layer the traces of the layers' blocks come from the same products.
        matvecs: products with one vector, at least 4.
        method: ``auto``, ``xtrace`` or ``hutchinson``.
        memory: bytes for XTrace's vectors.
        seed: of the random vectors.
        tick: called after each batch of a product.

    Returns:
        ``trace``, ``frobenius_squared``, ``trace_method``, ``matvecs``; by layer also ``trace_layer`` along ``layer``.

    Raises:
        UsageError: if no layer matches.
    """
    masks = layers_of(problem.layout, asked.layers) if asked.by_layer else None
    whole = Asked(asked.batches, asked.kind, asked.layers, False, asked.with_decay, asked.backend)
    if masks is not None:
        kept = torch.stack(list(masks.values())).any(0)
        masks = {name: mask[kept] for name, mask in masks.items()}

    def measure(matrix: Matrix) -> Result:
        if isinstance(matrix, PyHessian):
            return traces.hutchinson(matrix, matvecs, seed=seed).result()
        return traces.estimate(matrix, matvecs, parts=masks, method=method, memory=memory, seed=seed).result()

    found = whole.each(problem, point, measure, tick)
    variables = {name.replace("layer_name", "layer"): variable for name, variable in found.variables.items()}
    return Result(variables, found.tensors)


def _padded(found: Result, counts: dict[str, int]) -> Result:
    """Eigenvalues and residuals of every point at one length, NaN at the end; what there is none of is absent."""
    variables = dict(found.variables)
    for end, count in counts.items():
        for name in (f"eigenvalues_{end}", f"residuals_{end}"):
            if name in variables and len(variables[name].values) < count:
                v = variables[name]
                padded = np.concatenate([v.values, np.full(count - len(v.values), np.nan)])
                variables[name] = series(end, padded, v.units, v.long_name)
    return Result(variables, found.tensors)
