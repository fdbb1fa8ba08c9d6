"""The matrices of a network: Hessian, Gauss-Newton and empirical Fisher matrix of the mean loss, by exact products."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

import torch
from torch import Tensor

from rashomon_cli.science.problem import Batches, Point, Problem, Tick, silent
from rashomon_cli.science.spectra.graphs import FisherGraph, Frozen, GaussNewtonGraph, Graph, HessianGraph
from rashomon_cli.science.spectra.memory import measured

KINDS: Mapping[str, Callable[[Frozen, Tensor, Tensor], Graph]] = {
    "hessian": HessianGraph,
    "ggn": GaussNewtonGraph,
    "fisher": FisherGraph,
}
MEMORY = 2**31


class Curvature:
    """A symmetric matrix (n, n) of the mean loss at a point: a :class:`~rashomon_cli.science.spectra.matrices.Matrix`.

    Products are exact. Each batch has a graph that is built once a call, or once for all where it fits into ``memory``,
    and every vector goes through it. The mean over examples does not depend on how they are batched. Products are in
    the type of θ, sums over batches in float64; float32 leaves about 1e-6 of the largest eigenvalue.

    Args:
        problem: the model and loss.
        point: where; BatchNorm is frozen at its statistics.
        batches: the examples.
        kind: ``hessian``; ``ggn``, the generalised Gauss-Newton matrix, with softmax and cross-entropy the Fisher
            matrix (Martens 2020); or ``fisher``, the EMPIRICAL Fisher matrix, which is not (Kunstner et al. 2019).
        chosen: the principal block of some parameters: a mask (P,), or places, in the order of the block; None for all.
        shift: added to the diagonal: the weight decay, for the Hessian of the loss with its L2 penalty.
        memory: bytes of graphs that are kept from call to call; one more exists while a batch is worked at.
        tick: called after each batch with its loss.

    Attributes:
        like: of the type and on the device of the vectors that it takes.
        matvecs: products with one vector so far.
        held: bytes of the graphs that are kept.

    Raises:
        ValueError: if there is no such kind, or ``chosen`` is not what it should be.
    """

    def __init__(
        self,
        problem: Problem,
        point: Point,
        batches: Batches,
        kind: str = "hessian",
        chosen: Tensor | None = None,
        shift: float = 0.0,
        memory: int = MEMORY,
        tick: Tick = silent,
    ) -> None:
        if kind not in KINDS:
            raise ValueError(f"kind = {kind!r}: one of {', '.join(KINDS)}")
        self.like = point.theta.new_empty(0)
        self.matvecs = self.held = 0
        self._build, self._batches, self._shift, self._tick = KINDS[kind], batches, shift, tick
        self._frozen = Frozen(problem, point, chosen)
        self._kept: list[Graph] = []
        self._memory = memory

    @property
    def size(self) -> int:
        """n, the number of parameters that are chosen."""
        return self._frozen.block.size

    def __call__(self, vectors: Tensor) -> Tensor:
        """Products (k, n) with the rows of ``vectors`` (k, n).

        Raises:
            Refused: if PyTorch cannot differentiate the gradient of an operation that the model uses.
        """
        total = torch.zeros(vectors.shape, dtype=torch.float64, device=self.like.device)
        for count, found in self._each(vectors):
            total.add_(found, alpha=count / self._batches.count)
        return total.add_(vectors.to(total), alpha=self._shift).to(self.like)

    def by_batch(self, vectors: Tensor) -> Iterator[tuple[int, Tensor]]:
        """The products of each batch's own matrix, for what they spread.

        Args:
            vectors: (k, n).

        Yields:
            The number of examples and the products (k, n); their mean over examples is that of the call.

        Raises:
            Refused: if PyTorch cannot differentiate the gradient of an operation that the model uses.
        """
        for count, found in self._each(vectors):
            yield count, found.add_(vectors.to(found), alpha=self._shift)

    def gradient(self) -> Tensor:
        """The gradient of the mean loss in the chosen parameters (n,), without that of a penalty."""
        total = torch.zeros(self.size, dtype=torch.float64, device=self.like.device)
        for x, y in self._batches:
            first = HessianGraph(self._frozen, x, y, twice=False)
            total.add_(first.gradient, alpha=first.count / self._batches.count)
            self._tick(first.loss)
        return total.to(self.like)

    def _each(self, vectors: Tensor) -> Iterator[tuple[int, Tensor]]:
        """Counts and products of the batches, without the shift."""
        self.matvecs += len(vectors)
        vectors, kept = vectors.to(self.like), len(self._kept)
        for graph in self._kept[:kept]:
            yield self._through(graph, vectors)
        if kept < self._batches.steps:
            for row, (x, y) in enumerate(self._batches):
                if row >= kept:
                    yield self._through(self._graph(row, x, y), vectors)

    def _through(self, graph: Graph, vectors: Tensor) -> tuple[int, Tensor]:
        found = graph.products(vectors)
        self._tick(graph.loss)
        return graph.count, found

    def _graph(self, row: int, x: Tensor, y: Tensor) -> Graph:
        """The graph of a batch; kept if all before it are, and it fits.

        Raises:
            RuntimeError: if PyTorch cannot build it.
        """
        if row != len(self._kept) or self.held >= self._memory:
            return self._build(self._frozen, x, y)
        try:
            with measured(self.like, self._frozen.block.parameters.values()) as found:
                graph = self._build(self._frozen, x, y)
        except RuntimeError as error:
            if "saved tensor hooks" not in str(error):  # of a model that calls torch.func, which allows none
                raise
            self._memory = 0
            return self._build(self._frozen, x, y)
        if self.held + found.bytes > self._memory:
            self._memory = self.held
            return graph
        self.held += found.bytes
        self._kept.append(graph)
        return graph
