"""Convolutions and frozen BatchNorm whose second derivatives cost what their first ones do.

Both are bilinear: linear in the input x and in the weight w. Of ``y = B(x, w)`` the gradient is the pair of adjoints
``(B₁*(g, w), B₂*(x, g))``, and the gradient of that along (u, v) is ``B(u, w) + B(x, v)`` in g and
``(B₁*(g, v), B₂*(u, g))`` in (x, w): the kernels of the first derivatives with other arguments. PyTorch's own second
derivatives are general formulas instead: of a convolution one with the images as channels and kernels of the size of an
image, of BatchNorm some twenty elementwise passes. For a PreResNet20 on a CPU a Hessian-vector product with its graph
kept takes 2.1 times a forward and a backward pass instead of 3.4; the least, by counting convolutions, is 2.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Protocol

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.overrides import TorchFunctionMode

_CONVOLUTIONS = {torch.conv1d: 1, torch.conv2d: 2, torch.conv3d: 3}


class Bilinear(TorchFunctionMode):
    """Within it, the functions of PyTorch that are bilinear run with the second derivatives of this module.

    What they do not cover (batch statistics, padding by a word, a single example without its batch, other types) runs
    as ever. Derivatives of functions that ran within must be taken within the same one.
    """

    def __init__(self) -> None:
        super().__init__()
        self.cotangents_only = False

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Sequence[type],
        args: Sequence[Any] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        """Call a function of PyTorch, or what stands for it."""
        given = kwargs or {}
        dimensions = _CONVOLUTIONS.get(func)
        found = None
        if dimensions is not None:
            found = _convolved(self, dimensions, *args, **given)
        elif func is F.batch_norm:
            found = _normalised(self, *args, **given)
        return func(*args, **given) if found is None else found

    @contextmanager
    def only_cotangents(self) -> Iterator[None]:
        """Within: second derivatives with respect to g alone, as a product ``Jv`` needs them.

        A function of one's own is not told by PyTorch which of its derivatives are asked for.
        """
        self.cotangents_only = True
        try:
            yield
        finally:
            self.cotangents_only = False


class _Operation(Protocol):
    """A bilinear function of x and w, a bias b added, and its adjoints."""

    mode: Bilinear

    def product(self, x: Tensor, w: Tensor, b: Tensor | None) -> Tensor:
        """``B(x, w) + b``."""
        ...

    def add_product(self, total: Tensor, x: Tensor, w: Tensor) -> None:
        """Add ``B(x, w)`` in place."""
        ...

    def adjoints(self, g: Tensor, x: Tensor, w: Tensor, wanted: Sequence[bool]) -> tuple[Tensor | None, ...]:
        """Gradients of ``⟨g, B(x, w) + b⟩`` in x, w and b; None for what is not wanted."""
        ...


@dataclass(frozen=True)
class _Convolution:
    """Of x (N, C, …) with w (D, C / groups, …)."""

    mode: Bilinear
    stride: list[int]
    padding: list[int]
    dilation: list[int]
    groups: int

    @property
    def _settings(self) -> tuple[Any, ...]:
        return self.stride, self.padding, self.dilation, False, [0] * len(self.stride), self.groups

    def product(self, x: Tensor, w: Tensor, b: Tensor | None) -> Tensor:
        found: Tensor = torch.ops.aten.convolution(x, w, b, *self._settings)
        return found

    def add_product(self, total: Tensor, x: Tensor, w: Tensor) -> None:
        total += self.product(x, w, None)

    def adjoints(self, g: Tensor, x: Tensor, w: Tensor, wanted: Sequence[bool]) -> tuple[Tensor | None, ...]:
        found: tuple[Tensor | None, ...] = torch.ops.aten.convolution_backward(
            g, x, w, [len(w)], *self._settings, list(wanted)
        )
        return found


@dataclass(frozen=True)
class _Scaling:
    """Of x (N, C, …) by w (C,): BatchNorm's kernels at mean 0 and variance 1, one pass over x each."""

    mode: Bilinear
    mean: Tensor
    variance: Tensor

    def product(self, x: Tensor, w: Tensor, b: Tensor | None) -> Tensor:
        found: Tensor = torch.ops.aten.native_batch_norm(x, w, b, self.mean, self.variance, False, 0.0, 0.0)[0]
        return found

    def add_product(self, total: Tensor, x: Tensor, w: Tensor) -> None:
        total.addcmul_(x, w.view(-1, *[1] * (x.ndim - 2)))

    def adjoints(self, g: Tensor, x: Tensor, w: Tensor, wanted: Sequence[bool]) -> tuple[Tensor | None, ...]:
        found: tuple[Tensor | None, ...] = torch.ops.aten.native_batch_norm_backward(
            g, x, w, self.mean, self.variance, None, None, False, 0.0, list(wanted)
        )
        return found


class _Product(torch.autograd.Function):
    """``B(x, w) + b``."""

    generate_vmap_rule = True

    @staticmethod
    def forward(operation: _Operation, x: Tensor, w: Tensor, b: Tensor | None) -> Tensor:
        return operation.product(x, w, b)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        ctx.operation, x, w, _ = inputs
        ctx.save_for_backward(x, w)

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> tuple[Tensor | None, ...]:
        x, w = ctx.saved_tensors
        return None, *_Adjoints.apply(ctx.operation, g, x, w, ctx.needs_input_grad[1:])


class _Adjoints(torch.autograd.Function):
    """The gradient of :class:`_Product`, whose own gradient needs no other kernels."""

    generate_vmap_rule = True

    @staticmethod
    def forward(
        operation: _Operation, g: Tensor, x: Tensor, w: Tensor, wanted: Sequence[bool]
    ) -> tuple[Tensor | None, ...]:
        return tuple(operation.adjoints(g, x, w, wanted))

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor | None, ...]) -> None:
        ctx.operation, g, x, w, _ = inputs
        ctx.save_for_backward(g, x, w)
        ctx.set_materialize_grads(False)

    @staticmethod
    def backward(ctx: Any, u: Tensor | None, v: Tensor | None, c: Tensor | None) -> tuple[Tensor | None, ...]:
        operation, (g, x, w) = ctx.operation, ctx.saved_tensors
        _, in_g, in_x, in_w, _ = ctx.needs_input_grad
        wanted = (in_x and v is not None, in_w and u is not None, False)
        of_x = of_w = None
        if any(wanted) and not operation.mode.cotangents_only:
            of_x, of_w, _ = operation.adjoints(g, x if u is None else u, w if v is None else v, wanted)
        return None, _along(operation, g, (x, w), (u, v, c)) if in_g else None, of_x, of_w, None


def _along(
    operation: _Operation, g: Tensor, at: tuple[Tensor, Tensor], step: tuple[Tensor | None, ...]
) -> Tensor | None:
    """``B(u, w) + B(x, v) + c``, of the shape of g, for a step (u, v, c) from (x, w, b); None where it is 0."""
    (x, w), (u, v, c) = at, step
    if v is not None:
        found = operation.product(x, v, c)
        if u is not None:
            operation.add_product(found, u, w)
        return found
    if u is not None:
        return operation.product(u, w, c)
    return None if c is None else c.view(-1, *[1] * (g.ndim - 2)).expand_as(g)


def _convolved(
    mode: Bilinear,
    dimensions: int,
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: int | Sequence[int] = 1,
    padding: int | Sequence[int] | str = 0,
    dilation: int | Sequence[int] = 1,
    groups: int = 1,
) -> Tensor | None:
    """A convolution by its documented arguments; None where this module does not cover it."""
    if isinstance(padding, str) or input.ndim != dimensions + 2 or not _real(input, weight):
        return None
    each = [[v] if isinstance(v, int) else list(v) for v in (stride, padding, dilation)]
    along, border, apart = (v * (dimensions // len(v)) for v in each)
    found: Tensor = _Product.apply(_Convolution(mode, along, border, apart, groups), input, weight, bias)
    return found


def _normalised(
    mode: Bilinear,
    input: Tensor,
    running_mean: Tensor | None,
    running_var: Tensor | None,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    training: bool = False,
    momentum: float = 0.1,
    eps: float = 1e-5,
) -> Tensor | None:
    """BatchNorm by its documented arguments; None where this module does not cover it."""
    if training or running_mean is None or running_var is None or not _real(input, running_mean, running_var):
        return None
    scale = torch.rsqrt(running_var + eps) if weight is None else weight * torch.rsqrt(running_var + eps)
    shift = -running_mean * scale if bias is None else bias - running_mean * scale
    unit = _Scaling(mode, torch.zeros_like(running_mean), torch.ones_like(running_var))
    found: Tensor = _Product.apply(unit, input, scale, shift)
    return found


def _real(first: Tensor, *others: Tensor) -> bool:
    """Whether numbers are float32 or float64, all alike."""
    return first.dtype in (torch.float32, torch.float64) and all(other.dtype == first.dtype for other in others)
