"""Rows ``LᵢᵀJᵢ/√n`` of the matrix A whose Gram matrices have the spectrum of the Gauss-Newton matrix, in blocks.

One vector-Jacobian product for each example and column of L, all of a block at once under ``torch.func.vmap``; one by
one where an operation of the model cannot be batched so. BatchNorm is frozen at the point's statistics.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor

from rashomon_cli.core.errors import Refused
from rashomon_cli.science.problem import Batches, Point, Problem, Tick, silent
from rashomon_cli.science.spectra.kernels import differentiable
from rashomon_cli.science.spectra.output_factors import Factors, Kind, factors

_FEW = 4  # examples that are tried together first: a block may be of one, which has no others
_APART = 1e-3  # outputs of an example alone and in its batch may differ by so much of the largest, in float32


@dataclass(frozen=True)
class Block:
    """Rows of some examples.

    Attributes:
        rows: (b·R, p), the rows of an example beside each other, p = P unless parameters are chosen.
        rank: of the output Hessians together: an upper bound on the rank of the rows.
    """

    rows: Tensor
    rank: int


class WeightedJacobian:
    """The matrix A (n·R, p), never held whole; ``AᵀA`` is the Gauss-Newton or the empirical Fisher matrix.

    Args:
        problem: the model and loss.
        point: where; its buffers are used as they are.
        batches: the n examples.
        kind: ``ggn`` or ``fisher``.
        chosen: a mask or index of parameters; None takes all.
        tick: called after each block.
    """

    def __init__(
        self,
        problem: Problem,
        point: Point,
        batches: Batches,
        kind: Kind = "ggn",
        chosen: Tensor | None = None,
        tick: Tick = silent,
    ) -> None:
        self.problem, self.point, self.batches = problem, point, batches
        self.kind, self.chosen, self.tick = kind, chosen, tick
        self._together = True
        self._tried = False
        self.columns = 1 if kind == "fisher" else self._outputs()

    @property
    def size(self) -> int:
        """p, the number of columns."""
        theta = self.point.theta
        return theta.numel() if self.chosen is None else theta[self.chosen].numel()

    @property
    def height(self) -> int:
        """n·R, the number of rows."""
        return self.batches.count * self.columns

    def blocks(self, examples: int, first: int = 0) -> Iterator[Block]:
        """The rows of all examples from one on.

        Args:
            examples: at most so many in a block.
            first: number of the first example.

        Yields:
            Blocks in the order of the examples, in the type of θ.

        Raises:
            Refused: if an example's outputs depend on the other examples of its batch or are not finite, or the loss is
                not convex in them.
        """
        self.problem.module.eval()
        self._try()
        passed = 0
        for x, y in self.batches:
            start = max(0, first - passed)
            passed += len(x)
            for begin in range(start, len(x), examples):
                rows = slice(begin, begin + examples)
                with differentiable(self.problem.module, self.point.theta.is_cuda):
                    block = self._block(x[rows], y[rows])
                yield block
                self.tick(None)

    def _outputs(self) -> int:
        """Number of outputs of an example."""
        self.problem.module.eval()
        x = next(iter(self.batches))[0][:1]
        with torch.no_grad():
            return self.problem.outputs(self.point.theta, self.point.buffers, x).numel()

    def _try(self) -> None:
        """Once, on the first few examples: are their outputs together those of each alone?"""
        if self._tried:
            return
        x = next(iter(self.batches))[0][:_FEW]
        with torch.no_grad():
            together = self.problem.outputs(self.point.theta, self.point.buffers, x)
            _check(together, torch.stack([self._forward(self.point.theta, each) for each in x]))
        self._tried = True

    def _block(self, x: Tensor, y: Tensor) -> Block:
        with torch.no_grad():
            outputs = self.problem.outputs(self.point.theta, self.point.buffers, x)
        own: Factors = factors(self.problem.loss, outputs, y, self.kind)
        weights = (own.columns / self.batches.count**0.5).to(outputs)
        found, alone = self._pulled(x, weights)
        _check(outputs, alone)
        return Block(found, own.rank)

    def _pulled(self, x: Tensor, weights: Tensor) -> tuple[Tensor, Tensor]:
        """Rows (b·R, p) and outputs (b, K) of examples, each taken alone."""
        if self._together:
            try:
                with _quiet():
                    rows, alone = torch.func.vmap(self._of_one)(x, weights)
                return self._kept(rows.flatten(0, 1)), alone
            except RuntimeError:
                self._together = False  # an operation that cannot be batched over examples
        several = [self._one_by_one(each, own) for each, own in zip(x, weights)]
        return torch.cat([self._kept(own) for own, _ in several]), torch.stack([alone for _, alone in several])

    def _of_one(self, x: Tensor, weights: Tensor) -> tuple[Tensor, Tensor]:
        """Rows (R, P) and outputs (K,) of one example under vmap."""
        pulled = torch.func.vjp(lambda theta: self._forward(theta, x), self.point.theta)
        outputs, pull = pulled[0], pulled[1]
        rows: Tensor = torch.func.vmap(lambda column: pull(column)[0], in_dims=1)(weights)
        return rows, outputs

    def _one_by_one(self, x: Tensor, weights: Tensor) -> tuple[Tensor, Tensor]:
        """The same by ordinary backward passes."""
        theta = self.point.theta.detach().clone().requires_grad_()
        outputs = self._forward(theta, x)
        rows = [torch.autograd.grad(outputs, theta, column, retain_graph=True)[0] for column in weights.T]
        return torch.stack(rows), outputs.detach()

    def _forward(self, theta: Tensor, x: Tensor) -> Tensor:
        return self.problem.outputs(theta, self.point.buffers, x[None]).reshape(-1)

    def _kept(self, rows: Tensor) -> Tensor:
        return rows if self.chosen is None else rows[:, self.chosen]


def _check(together: Tensor, alone: Tensor) -> None:
    """Compare outputs of examples in a batch (b, …) and of each alone (b, K).

    Raises:
        Refused: if they are not finite or not the same.
    """
    scale = float(together.abs().max())
    if not math.isfinite(scale):
        raise Refused("the model's outputs are not finite")
    if not float((alone - together.flatten(1)).abs().max()) <= _APART * scale:
        words = "the model's outputs of an example depend on the others of its batch"
        raise Refused(f"{words}, so it has no Jacobian of single examples", "count by quadrature")


@contextmanager
def _quiet() -> Iterator[None]:
    """Without torch's remark that it batches an operation by a loop."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*batching rule.*")
        yield
