"""Gradients and Hessian-vector products of the mean loss, batch by batch, exact by double backward (Pearlmutter 1994).

BatchNorm is frozen at the point's statistics (eval mode). The mean over images does not depend on how they are batched.
The products are those of :mod:`~rashomon_cli.science.spectra.graphs`; what needs no gradient beside them takes the
matrix itself, :class:`~rashomon_cli.science.spectra.curvatures.Curvature`, which keeps graphs from call to call.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from torch import Tensor

from rashomon_cli.science.problem import Batches, Point, Problem, Tick, silent
from rashomon_cli.science.spectra.graphs import Frozen, HessianGraph


@dataclass(frozen=True)
class BatchProducts:
    """Products of one batch.

    Attributes:
        count: examples in the batch.
        gradient: of the batch's mean loss (P,).
        products: Hessian of the batch's mean loss times each vector (k, P).
    """

    count: int
    gradient: Tensor
    products: Tensor


def products(
    problem: Problem, point: Point, vectors: Tensor, batches: Batches, tick: Tick = silent
) -> Iterator[BatchProducts]:
    """Gradient and Hessian-vector products of every batch: one retained graph a batch, the vectors inside.

    Args:
        problem: the model and loss.
        point: where; its buffers are used as they are.
        vectors: (k, P); k = 0 gives gradients only.
        batches: the examples.
        tick: called after each batch.

    Yields:
        The products of each batch.

    Raises:
        Refused: if the model has an operation that torch cannot differentiate twice.
    """
    frozen = Frozen(problem, point)
    for x, y in batches:
        yield _of_batch(frozen, x, y, vectors, tick)


def _of_batch(frozen: Frozen, x: Tensor, y: Tensor, vectors: Tensor, tick: Tick) -> BatchProducts:
    """A batch's products; its graph is gone at the end."""
    graph = HessianGraph(frozen, x, y, twice=len(vectors) > 0)
    found = BatchProducts(graph.count, graph.gradient, graph.products(vectors))
    tick(graph.loss)
    return found
