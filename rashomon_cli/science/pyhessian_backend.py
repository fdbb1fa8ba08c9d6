"""Hessian-vector products by PyHessian 0.1 (Yao et al. 2020, arXiv 1912.07145), a second opinion on our own.

The released package is easily misused, mostly without an error. Each line names a fault and what is done here:

- its mode for a single batch leaves gradients with their graphs on the model, a cycle that is never freed; a second
  object adds its gradient to the first one's, and measures exactly twice the Hessian; once parameters move it measures
  where they were: only the mode for several batches is used, on a copy of the model that nobody else has, and gradients
  are cleared after each product;
- a generator of batches is empty from the second product on, and the mean over no batches is NaN: a list is kept;
- parameters that the loss does not use, or uses linearly, are an error: ``0 · ‖θ‖²`` is added to the loss;
- the model is left in evaluation mode: that is the copy.
"""

from __future__ import annotations

import copy
import importlib
import re
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from types import ModuleType
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel

from rashomon_cli.core.errors import Refused
from rashomon_cli.science.problem import Batches, Point, Problem, Tick, silent
from rashomon_cli.science.twice import once_only

Pieces = list[Tensor]

_TWICE = re.compile("derivative for .* is not implemented|double backwards? on|differentiate twice")


class PyHessian:
    """The Hessian (P, P) of the mean loss at a point, BatchNorm frozen: a :class:`~.spectra.matrices.Matrix`.

    Args:
        problem: the model and loss; neither its module nor the point is touched.
        point: where.
        batches: the examples.
        shift: added to the diagonal: the weight decay, for the Hessian of the loss with its L2 penalty.
        tick: called after each batch of a product.

    Attributes:
        like: of the type and on the device of the vectors that it takes.
        matvecs: products with one vector so far.
        engine: PyHessian's object; it knows no shift.

    Raises:
        Refused: if PyHessian is not installed, or the model has an operation that PyTorch differentiates only once.
    """

    def __init__(
        self, problem: Problem, point: Point, batches: Batches, *, shift: float = 0.0, tick: Tick = silent
    ) -> None:
        package = load("pyhessian")
        self.like, self.matvecs, self.shift = point.theta.new_empty(0), 0, shift
        self._layout, self._passes, self._module = problem.layout, _Passes(batches), _model(problem, point)
        loss_of, leaves = problem.loss, [p for p in self._module.parameters() if p.requires_grad]

        def criterion(outputs: Tensor, targets: Tensor) -> Tensor:
            loss = loss_of(outputs, targets).mean()
            tick(float(loss.detach()))
            return loss + 0.0 * torch.stack([leaf.square().sum() for leaf in leaves]).sum()

        cuda = self.like.is_cuda
        self.engine: Any = package.hessian(self._module, criterion, dataloader=self._passes, cuda=cuda)
        with self.working():
            _refuse_once_only(self._module, criterion, self._passes.first, leaves)

    @property
    def size(self) -> int:
        """P."""
        return self._layout.total

    def __call__(self, vectors: Tensor) -> Tensor:
        """Products (k, P) with the rows of ``vectors`` (k, P).

        Raises:
            Refused: if PyTorch cannot differentiate the gradient of an operation that the model uses.
        """
        rows = [self.joined(self.product(self.pieces(row))) for row in vectors.to(self.like)]
        found = torch.stack(rows) if rows else torch.zeros_like(vectors)
        return found + self.shift * vectors

    def product(self, pieces: Pieces) -> Pieces:
        """The Hessian of the loss, without shift, times one vector in pieces of the parameters' shapes."""
        with self.working():
            found: Pieces = self.engine.dataloader_hv_product(pieces)[1]
        return found

    def pieces(self, vector: Tensor) -> Pieces:
        """A vector (P,) in pieces of the parameters' shapes, copies."""
        return [piece.clone() for piece in self._layout.split(vector).values()]

    def joined(self, pieces: Pieces) -> Tensor:
        """The vector (P,) of such pieces."""
        return torch.cat([piece.detach().reshape(-1) for piece in pieces]).to(self.like)

    @contextmanager
    def working(self) -> Iterator[None]:
        """Within, PyHessian may compute: each pass over the batches is a product, and leaves no gradient.

        Raises:
            Refused: if PyTorch cannot differentiate the gradient of an operation that the model uses.
            RuntimeError: if it fails for another reason.
        """
        before = self._passes.count
        try:
            with ExitStack() as settings:
                settings.enter_context(sdpa_kernel(SDPBackend.MATH))
                settings.enter_context(torch.enable_grad())
                settings.enter_context(_without_warning())
                if self.like.is_cuda:
                    settings.enter_context(torch.cuda.device(self.like.device))
                if self.like.is_cuda and _recurrent(self._module):
                    settings.enter_context(torch.backends.cudnn.flags(enabled=False))
                yield
        except RuntimeError as error:
            if not _TWICE.search(str(error)):
                raise
            words = f"PyHessian cannot differentiate this model twice: {str(error).splitlines()[0]}"
            raise Refused(words, "measure without hvp: --what loss,gradient,distance") from None
        finally:
            self._module.zero_grad(set_to_none=True)
            self.matvecs += self._passes.count - before


def load(name: str) -> ModuleType:
    """PyHessian or one of its modules.

    Raises:
        Refused: if it is not installed.
    """
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError:
        words = "--backend pyhessian needs the package pyhessian"
        raise Refused(words, "pip install 'rashomon-cli[pyhessian]'") from None


class _Passes:
    """Batches that are there for every pass, and the number of passes."""

    def __init__(self, batches: Batches) -> None:
        self._batches, self.count = list(batches), 0

    @property
    def first(self) -> tuple[Tensor, Tensor]:
        """The first batch, which is no pass."""
        return self._batches[0]

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        self.count += 1
        return iter(self._batches)


def _model(problem: Problem, point: Point) -> nn.Module:
    """A copy of the model that holds the point's parameters and buffers."""
    module = copy.deepcopy(problem.module).to(point.theta)
    held = dict(module.named_parameters()) | dict(module.named_buffers())
    with torch.no_grad():
        for name, value in {**problem.layout.split(point.theta), **point.buffers}.items():
            held[name].copy_(value)
    for name, parameter in module.named_parameters():
        parameter.requires_grad_(name in problem.layout.names)
    module.zero_grad(set_to_none=True)
    return module


def _refuse_once_only(
    module: nn.Module,
    criterion: Callable[[Tensor, Tensor], Tensor],
    batch: tuple[Tensor, Tensor],
    leaves: Sequence[Tensor],
) -> None:
    """Refuse operations without second derivatives that ``0 · ‖θ‖²`` would hide.

    Raises:
        Refused: if there is one.
    """
    x, y = batch
    if once_only(torch.autograd.grad(criterion(module(x), y), leaves, create_graph=True)):
        raise Refused("PyHessian cannot differentiate this model twice: one of its operations is differentiable once")


def _recurrent(module: nn.Module) -> bool:
    """Whether cuDNN would run recurrent layers, which it cannot differentiate twice."""
    return any(isinstance(part, nn.RNNBase) for part in module.modules())


@contextmanager
def _without_warning() -> Iterator[None]:
    """Without PyTorch's warning of the cycle that ``create_graph=True`` makes: it is broken after each product."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Using backward\\(\\) with create_graph=True", UserWarning)
        yield
