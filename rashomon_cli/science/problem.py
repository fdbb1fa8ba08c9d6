"""A model as a function of one flat parameter vector, its loss, and the data it is measured on."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from typing import Protocol

import torch
from torch import Tensor, nn

Loss = Callable[[Tensor, Tensor], Tensor]
Tick = Callable[[float | None], None]


def silent(loss: float | None = None) -> None:
    """A tick that nobody watches."""


class Batches(Protocol):
    """Examples in batches; iterates as often as asked.

    Batches are alike: examples are in random order where the outcome depends on it. ``population`` is the number of
    examples that these ``count`` were drawn from without replacement.
    """

    @property
    def count(self) -> int:
        """Number of examples."""
        ...

    @property
    def population(self) -> int:
        """Number of examples that these were drawn from."""
        ...

    @property
    def steps(self) -> int:
        """Number of batches."""
        ...

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield inputs (B, …) and targets (B,) or (B, k)."""
        ...


@dataclass(frozen=True)
class Layout:
    """Where each parameter lies in the flat vector.

    Attributes:
        names: of the parameters that are trained, in the order of ``named_parameters()``; a shared one occurs once, one
            that is frozen (``requires_grad=False``) does not.
        shapes: of the parameters.
    """

    names: tuple[str, ...]
    shapes: tuple[torch.Size, ...]

    @classmethod
    def of(cls, module: nn.Module) -> Layout:
        """The layout of a module's parameters."""
        found = {name: value for name, value in module.named_parameters() if value.requires_grad}
        return cls(tuple(found), tuple(p.shape for p in found.values()))

    @property
    def sizes(self) -> list[int]:
        """Number of entries of each parameter."""
        return [shape.numel() for shape in self.shapes]

    @property
    def total(self) -> int:
        """P, the length of the flat vector."""
        return sum(self.sizes)

    def flatten(self, parameters: Mapping[str, Tensor]) -> Tensor:
        """Join parameters by name into a vector (P,)."""
        return torch.cat([parameters[name].detach().reshape(-1) for name in self.names])

    def split(self, theta: Tensor) -> dict[str, Tensor]:
        """Views of a vector (P,) as parameters by name."""
        pieces = torch.split(theta, self.sizes)
        return {n: piece.view(shape) for n, shape, piece in zip(self.names, self.shapes, pieces, strict=True)}


def as_parameters(layout: Layout, vector: Tensor) -> dict[str, Tensor]:
    """Pieces of a vector (P,) as every kernel takes them, by name: views of it, copied only where they must be."""
    return {
        name: _aligned(piece.contiguous(memory_format=torch.channels_last) if piece.ndim == 4 else piece)
        for name, piece in layout.split(vector).items()
    }


def _aligned(value: Tensor) -> Tensor:
    """The same numbers at an address that every kernel can read from; copied only where it must be.

    cuDNN takes 16 bytes at once and fails on a view that begins between two such groups ("misaligned address").
    """
    return value.clone() if value.storage_offset() * value.element_size() % 16 else value


@dataclass(frozen=True)
class Problem:
    """What is optimised and measured.

    Attributes:
        module: the architecture; its own parameters are never read or changed.
        layout: of its parameters.
        loss: (outputs, targets) → loss of each example (N,).
        train: un-augmented training examples.
        test: test examples.
        classifies: whether targets are class numbers and outputs logits.
        weight_decay: of the training, for ‖∇(L + ½wd‖θ‖²)‖.
    """

    module: nn.Module
    layout: Layout
    loss: Loss
    train: Batches
    test: Batches
    classifies: bool = True
    weight_decay: float = 0.0

    def outputs(self, theta: Tensor, buffers: Mapping[str, Tensor], x: Tensor) -> Tensor:
        """Apply the model.

        Args:
            theta: parameters (P,).
            buffers: by name; those of BatchNorm change in place where its modules are in training mode.
            x: inputs (B, …).

        Returns:
            Outputs (B, …).
        """
        return self.apply(as_parameters(self.layout, theta), buffers, x)

    def apply(self, parameters: Mapping[str, Tensor], buffers: Mapping[str, Tensor], x: Tensor) -> Tensor:
        """The same with the parameters by name."""
        found: Tensor = torch.func.functional_call(self.module, {**parameters, **buffers}, (_aligned(x),))
        return found

    def mean_loss(self, theta: Tensor, buffers: Mapping[str, Tensor], x: Tensor, y: Tensor) -> Tensor:
        """Mean loss over a batch, a scalar that can be differentiated in ``theta``."""
        return self.loss(self.outputs(theta, buffers, x), y).mean()


@dataclass(frozen=True)
class Point:
    """Where a quantity is measured.

    Attributes:
        theta: parameters (P,).
        buffers: BatchNorm statistics and other buffers that belong to this point.
        t: position on its path; None for a single model.
        directions: unit vectors (P,) by name; a direction that does not exist here is absent.
        velocity: θ'(t) of its path, not normalised (P,).
        acceleration: θ''(t) of its path (P,).
    """

    theta: Tensor
    buffers: Mapping[str, Tensor]
    t: float | None = None
    directions: Mapping[str, Tensor] = field(default_factory=dict)
    velocity: Tensor | None = None
    acceleration: Tensor | None = None


def fresh_buffers(module: nn.Module) -> dict[str, Tensor]:
    """Copies of what a module has besides the parameters that are trained, by name: buffers, frozen parameters."""
    return {name: value.detach().clone() for name, value in untrained(module).items()}


def untrained(module: nn.Module) -> dict[str, Tensor]:
    """A module's buffers and frozen parameters, by name."""
    frozen = {name: value for name, value in module.named_parameters() if not value.requires_grad}
    return frozen | dict(module.named_buffers())


def cross_entropy(outputs: Tensor, targets: Tensor) -> Tensor:
    """Cross-entropy of each example in nats: outputs (N, C), class numbers (N,) → (N,)."""
    return torch.nn.functional.cross_entropy(outputs, targets, reduction="none")


def squared_error(outputs: Tensor, targets: Tensor) -> Tensor:
    """Mean squared error of each example over its outputs (N, …) → (N,); class numbers become one-hot vectors."""
    if not targets.is_floating_point():
        targets = torch.nn.functional.one_hot(targets, outputs.shape[-1]).to(outputs.dtype)
    return (outputs - targets.reshape(outputs.shape)).square().flatten(1).mean(1)


def smoothed(loss: Loss, smoothing: float) -> Loss:
    """Cross-entropy against targets mixed with the uniform distribution; any other loss is returned as it is.

    Args:
        loss: the loss of each example.
        smoothing: share of the uniform distribution, in [0, 1).

    Returns:
        A loss for training only.
    """
    if not smoothing or loss is not cross_entropy:
        return loss
    return lambda outputs, targets: torch.nn.functional.cross_entropy(
        outputs, targets, reduction="none", label_smoothing=smoothing
    )


def autocast(device: torch.device, enabled: bool) -> AbstractContextManager[object]:
    """bf16 autocast for training, or nothing."""
    return torch.autocast(device.type, torch.bfloat16) if enabled else nullcontext()
