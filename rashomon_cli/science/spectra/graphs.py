"""Curvature of some examples as a graph that is built once and gives products with as many vectors as asked.

The Hessian by double backward (Pearlmutter 1994): the graph of the gradient is kept, and a product is a backward pass
through it. ``JᵀMJ`` by two: ``Jᵀu`` is linear in u, so its derivative along v is ``Jv``; then M, then ``Jᵀ``. Both work
for every model whose gradient PyTorch can differentiate. Sources: Martens 2020 (arXiv 1412.1193) for the Gauss-Newton
matrix; Kunstner et al. 2019 (arXiv 1905.12558) for what the empirical Fisher matrix is not.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol

import torch
from torch import Tensor

from rashomon_cli.core.errors import Refused
from rashomon_cli.science.problem import Point, Problem, cross_entropy, squared_error
from rashomon_cli.science.spectra.bilinear import Bilinear
from rashomon_cli.science.spectra.blocks import Block
from rashomon_cli.science.spectra.kernels import differentiable
from rashomon_cli.science.twice import once_only

_LACKING = re.compile(
    r"derivative for (?:aten::)?(\w+?)(?:_backward)? is not implemented"
    r"|double backwards? on (\w+) not supported"
)


_WIDE = (cross_entropy, squared_error)


class Frozen:
    """A problem at a point, BatchNorm frozen at the point's statistics, as derivatives are taken of it.

    Args:
        problem: the model and loss.
        point: where; its buffers are used as they are.
        chosen: the parameters that derivatives are taken in, a mask (P,) or places; None for all.
    """

    def __init__(self, problem: Problem, point: Point, chosen: Tensor | None = None) -> None:
        self.problem = problem
        self.buffers = point.buffers
        self.block = Block(problem, point.theta, chosen)
        self.bilinear = Bilinear()

    def outputs(self, x: Tensor) -> Tensor:
        """Of a batch, with their graph."""
        self.problem.module.eval()
        return self.problem.apply(self.block.parameters, self.buffers, x)

    def losses(self, outputs: Tensor, y: Tensor) -> Tensor:
        """Of each example (B,).

        The package's own losses are taken in float64 of float32 outputs: where an example is fitted, p − y and
        p(1 − p) are differences of numbers that are nearly equal. At a loss of 1e-6 float32 leaves 1 % of the largest
        eigenvalue, so 1e-6. A loss of the user's is taken in the type of the outputs.
        """
        return self.problem.loss(outputs.double() if self.problem.loss in _WIDE else outputs, y)

    def derivative(self, of: list[Tensor], along: list[Tensor] | None = None, again: bool = False) -> list[Tensor]:
        """:func:`gradients` in the leaves."""
        return gradients(of, self.block.leaves, along, again)

    @contextmanager
    def differentiating(self) -> Iterator[None]:
        """Within: only kernels that have second derivatives, the quick ones where there are some.

        Fused attention has none, nor have cuDNN's recurrent layers.

        Raises:
            Refused: if PyTorch cannot differentiate a gradient.
            RuntimeError: if it fails for another reason.
        """
        cuda = self.block.leaves[0].is_cuda
        with differentiable(self.problem.module, cuda), self.bilinear:
            try:
                yield
            except RuntimeError as error:
                lacking = _LACKING.search(str(error))
                if lacking is None:
                    raise
                name = next(group for group in lacking.groups() if group)
                raise Refused(*_reason(name)) from None


def gradients(
    of: list[Tensor], leaves: list[Tensor], along: list[Tensor] | None = None, again: bool = False
) -> list[Tensor]:
    """Gradients of ``Σ ⟨of, along⟩``, 0 where there is no graph.

    Args:
        of: tensors with graphs or without.
        leaves: what the gradients are in.
        along: of the shapes of ``of``, whose graphs are kept; None for a scalar, whose graph is not.
        again: whether the gradients get graphs themselves.

    Returns:
        One a leaf.

    Raises:
        Refused: if they are to get graphs, and an operation marked ``@once_differentiable`` took part: its second
            derivative would count as 0.
    """
    there = [row for row, value in enumerate(of) if value.requires_grad]
    if not there:
        return [torch.zeros_like(leaf) for leaf in leaves]
    steps = None if along is None else [along[row] for row in there]
    found = torch.autograd.grad(
        [of[row] for row in there],
        leaves,
        steps,
        retain_graph=again or along is not None,
        create_graph=again,
        allow_unused=True,
        materialize_grads=True,
    )
    if again and once_only(found):
        raise Refused(*_reason("a function marked @once_differentiable"))
    return list(found)


def _reason(name: str) -> tuple[str, str]:
    """Why an operation is refused, and what to do."""
    what = f"torch has no second derivative of {name}, which the model uses"
    return what, "measure what needs none: --what loss,gradient,distance"


class Graph(Protocol):
    """A symmetric matrix (n, n) of some examples.

    Attributes:
        count: of examples.
        loss: their mean loss.
    """

    count: int
    loss: float

    @property
    def gradient(self) -> Tensor:
        """Of the mean loss in the chosen parameters (n,)."""
        ...

    def products(self, vectors: Tensor) -> Tensor:
        """With each row of ``vectors`` (k, n), of its type: (k, n)."""
        ...


class HessianGraph:
    """The Hessian of the mean loss.

    Args:
        frozen: the model at its point.
        x: inputs (B, …).
        y: targets (B, …).
        twice: whether the gradient keeps its graph; without it there are no products.
    """

    def __init__(self, frozen: Frozen, x: Tensor, y: Tensor, twice: bool = True) -> None:
        self.count, self._frozen = len(x), frozen
        with frozen.differentiating():
            loss = frozen.losses(frozen.outputs(x), y).mean()
            self._gradients = frozen.derivative([loss], again=twice)
        self.loss = float(loss.detach())

    @property
    def gradient(self) -> Tensor:
        """Of the mean loss in the chosen parameters (n,)."""
        return self._frozen.block.joined(self._gradients)

    def products(self, vectors: Tensor) -> Tensor:
        """With each row of ``vectors`` (k, n): (k, n)."""
        found, block = torch.empty_like(vectors), self._frozen.block
        with self._frozen.differentiating():
            for row, vector in enumerate(vectors):
                found[row] = block.joined(self._frozen.derivative(self._gradients, block.pieces(vector)))
        return found


class GaussNewtonGraph:
    """The generalised Gauss-Newton matrix ``JᵀH_out J``, for the Jacobian J of the outputs.

    ``H_out`` is the Hessian of the mean loss in the outputs. With softmax and cross-entropy this is the Fisher matrix,
    the expectation over labels that the model itself draws (Martens 2020, §9.2).

    Args:
        frozen: the model at its point.
        x: inputs (B, …).
        y: targets (B, …).
    """

    def __init__(self, frozen: Frozen, x: Tensor, y: Tensor) -> None:
        self.count, self._frozen = len(x), frozen
        with frozen.differentiating():
            outputs = frozen.outputs(x)
            self._free = outputs.detach().requires_grad_()
            loss = frozen.losses(self._free, y).mean()
            self._slope = gradients([loss], [self._free], again=True)
            self._transpose = _Transpose(frozen, outputs)
        self.loss = float(loss.detach())

    @property
    def gradient(self) -> Tensor:
        """Of the mean loss in the chosen parameters (n,)."""
        with self._frozen.differentiating():
            return self._transpose(self._slope[0].detach())

    def products(self, vectors: Tensor) -> Tensor:
        """With each row of ``vectors`` (k, n): (k, n)."""
        found = torch.empty_like(vectors)
        with self._frozen.differentiating():
            for row, vector in enumerate(vectors):
                moved = self._transpose.transposed(vector)
                found[row] = self._transpose(gradients(self._slope, [self._free], [moved])[0])
        return found


class FisherGraph:
    """The EMPIRICAL Fisher matrix ``(1/B) Σ gᵢgᵢᵀ``, gᵢ the gradient of an example's loss at its own label.

    It is not the Fisher matrix, which takes the expectation over the model's labels and is the Gauss-Newton matrix of
    cross-entropy; at a minimum that fits every label it vanishes, whatever the curvature (Kunstner et al. 2019).

    Args:
        frozen: the model at its point.
        x: inputs (B, …).
        y: targets (B, …).
    """

    def __init__(self, frozen: Frozen, x: Tensor, y: Tensor) -> None:
        self.count, self._frozen = len(x), frozen
        with frozen.differentiating():
            self._losses = frozen.losses(frozen.outputs(x), y)
            self._transpose = _Transpose(frozen, self._losses)
        self.loss = float(self._losses.detach().mean())

    @property
    def gradient(self) -> Tensor:
        """Of the mean loss in the chosen parameters (n,)."""
        with self._frozen.differentiating():
            return self._transpose(torch.full_like(self._losses, 1 / self.count))

    def products(self, vectors: Tensor) -> Tensor:
        """With each row of ``vectors`` (k, n): (k, n)."""
        found = torch.empty_like(vectors)
        with self._frozen.differentiating():
            for row, vector in enumerate(vectors):
                found[row] = self._transpose(self._transpose.transposed(vector) / self.count)
        return found


class _Transpose:
    """``Jᵀ`` of values that have a graph.

    Args:
        frozen: the model at its point.
        values: of any shape.
    """

    def __init__(self, frozen: Frozen, values: Tensor) -> None:
        self._frozen, self._values = frozen, values
        self._cotangent = torch.zeros_like(values, requires_grad=True)
        self._pulled = frozen.derivative([values], [self._cotangent], again=True)

    def __call__(self, cotangent: Tensor) -> Tensor:
        """``Jᵀ`` times a tensor of the values' shape: (n,)."""
        return self._frozen.block.joined(self._frozen.derivative([self._values], [cotangent]))

    def transposed(self, vector: Tensor) -> Tensor:
        """``J`` times a vector (n,), of the values' shape."""
        with self._frozen.bilinear.only_cotangents():
            return gradients(self._pulled, [self._cotangent], self._frozen.block.pieces(vector))[0]
