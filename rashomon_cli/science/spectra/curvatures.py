"""The matrices of a network: Hessian, Gauss-Newton and empirical Fisher matrix of the mean loss, by exact products."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

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
# Above, the C library gives the memory of every passing tensor back and gets it anew, page by page: a PreResNet20's two
# products and their graph took 21 ms an image for 512 at once, 17 for 128, 15 for 64.
AT_ONCE = 192 * 2**20
_FEW = 8


@dataclass(frozen=True)
class BatchProducts:
    """Products of one batch.

    Attributes:
        count: examples in the batch.
        loss: their mean loss.
        gradient: of that loss in the chosen parameters (n,), without that of a penalty.
        products: of the batch's own matrix with each vector (k, n), the shift included.
    """

    count: int
    loss: float
    gradient: Tensor
    products: Tensor


class Curvature:
    """A symmetric matrix (n, n) of the mean loss at a point: a :class:`~rashomon_cli.science.spectra.matrices.Matrix`.

    Products are exact. Each batch has a graph that is built once a call, or once for all where it fits into ``memory``,
    and every vector goes through it; on a CPU a batch with a large graph has several, one after the other. The mean
    over examples does not depend on how they are batched. Products are in the type of θ, sums over batches in float64;
    float32 leaves about 1e-6 of the largest eigenvalue, and more with a loss of the user's where examples are fitted.

    Args:
        problem: the model and loss.
        point: where; BatchNorm is frozen at its statistics.
        batches: the examples.
        kind: ``hessian``; ``ggn``, the generalised Gauss-Newton matrix, with softmax and cross-entropy the Fisher
            matrix (Martens 2020); or ``fisher``, the EMPIRICAL Fisher matrix, which is not (Kunstner et al. 2019).
        chosen: the principal block of some parameters: a mask (P,), or places, in the order of the block; None for all.
        shift: added to the diagonal: the weight decay, for the Hessian of the loss with its L2 penalty.
        memory: bytes of graphs that are kept from call to call, of the batches that come first; one graph more exists
            while another batch is worked at.
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
        self._kept: list[Sequence[Graph]] = []
        self._memory = memory
        self._example: dict[bool, float] = {}

    @property
    def size(self) -> int:
        """n, the number of parameters that are chosen."""
        return self._frozen.block.size

    def __call__(self, vectors: Tensor) -> Tensor:
        """Products (k, n) with the rows of ``vectors`` (k, n).

        Raises:
            Refused: if PyTorch cannot differentiate the gradient of an operation that the model uses.
        """
        return self._shifted(_mean(self._each(vectors, slopes=False)).products, vectors)

    def by_batch(self, vectors: Tensor) -> Iterator[BatchProducts]:
        """What each batch's own matrix gives, and its gradient, for standard errors over examples.

        Args:
            vectors: (k, n); with k = 0 there are gradients only, which need no second derivatives.

        Yields:
            Of each batch; the means over examples are those of the whole.

        Raises:
            Refused: if PyTorch cannot differentiate the gradient of an operation that the model uses.
        """
        for batch in self._each(vectors, slopes=True):
            products = self._shifted(batch.products, vectors)
            yield BatchProducts(batch.count, batch.loss, batch.gradient.to(self.like), products)

    def gradient(self) -> Tensor:
        """The gradient of the mean loss in the chosen parameters (n,), without that of a penalty."""
        return _mean(self._each(self.like.new_zeros(0, self.size), slopes=True)).gradient.to(self.like)

    def _shifted(self, products: Tensor, vectors: Tensor) -> Tensor:
        return products.add(vectors.to(products), alpha=self._shift).to(self.like)

    def _each(self, vectors: Tensor, slopes: bool) -> Iterator[BatchProducts]:
        """Of each batch, in float64 and without the shift; without gradients where no slopes are asked for."""
        self.matvecs += len(vectors)
        vectors, kept = vectors.to(self.like), len(self._kept)

        def of_graph(graph: Graph) -> BatchProducts:
            gradient = graph.gradient if slopes else self.like
            return BatchProducts(graph.count, graph.loss, gradient, graph.products(vectors))

        def of_batch(graphs: Iterable[Graph]) -> BatchProducts:
            found = _mean(map(of_graph, graphs))  # a graph is gone before the next is built
            self._tick(found.loss)
            return found

        for graphs in self._kept[:kept]:
            yield of_batch(graphs)
        if kept < self._batches.steps:
            for row, (x, y) in enumerate(self._batches):
                if row >= kept:
                    yield of_batch(self._graphs(row, x, y, twice=len(vectors) > 0))

    def _graphs(self, row: int, x: Tensor, y: Tensor, twice: bool) -> Iterator[Graph]:
        """Those of a batch; kept if all batches before it are, and it fits."""
        build = self._builder(twice)
        needed = self._example_bytes(x, y, twice) * len(x)
        parts = min(len(x), math.ceil(needed / AT_ONCE)) if math.isfinite(needed) and not x.is_cuda else 1
        pieces = zip(x.tensor_split(parts), y.tensor_split(parts))
        if twice and row == len(self._kept) and self.held + needed <= self._memory:
            self._kept.append([build(self._frozen, *piece) for piece in pieces])
            self.held += int(needed)
            yield from self._kept[row]
        else:
            for piece in pieces:
                yield build(self._frozen, *piece)

    def _builder(self, twice: bool) -> Callable[[Frozen, Tensor, Tensor], Graph]:
        return self._build if twice else partial(HessianGraph, twice=False)

    def _example_bytes(self, x: Tensor, y: Tensor, twice: bool) -> float:
        """Of an example and its share of a graph, measured once on a few; infinite where it cannot be measured.

        Raises:
            RuntimeError: if PyTorch cannot build the graph.
        """
        if twice in self._example:
            return self._example[twice]
        few = min(len(x), _FEW)
        try:
            with measured(self.like, [x, *self._frozen.block.parameters.values()]) as found:
                graph = self._builder(twice)(self._frozen, x[:few], y[:few])
        except RuntimeError as error:
            if "saved tensor hooks" not in str(error):  # of a model that calls torch.func, which allows none
                raise
            self._example[twice] = math.inf
        else:
            self._example[twice] = found.bytes / few + x[:1].nbytes
            del graph  # which had to be there to be measured
        return self._example[twice]


def _mean(parts: Iterator[BatchProducts]) -> BatchProducts:
    """Of all examples, in float64."""
    first = next(parts)
    count, loss = first.count, first.loss * first.count
    gradient, products = (mean.double() * count for mean in (first.gradient, first.products))
    for part in parts:
        count += part.count
        loss += part.loss * part.count
        gradient.add_(part.gradient, alpha=part.count)
        products.add_(part.products, alpha=part.count)
    return BatchProducts(count, loss / count, gradient.div_(count), products.div_(count))
