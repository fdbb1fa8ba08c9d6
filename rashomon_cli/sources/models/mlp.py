"""Multilayer perceptron."""

from __future__ import annotations

import itertools
import math

from torch import Tensor, nn


class MLP(nn.Module):
    """Fully connected ReLU layers over the flattened input.

    Args:
        input_shape: shape of one input; flattened.
        num_classes: number of outputs.
        width: units of each hidden layer.
        depth: number of hidden layers.
        bias: whether the layers have biases.
    """

    def __init__(
        self, input_shape: tuple[int, ...], num_classes: int, width: int = 64, depth: int = 2, bias: bool = True
    ) -> None:
        super().__init__()
        if width < 1 or depth < 0:
            raise ValueError(f"width = {width} and depth = {depth}: at least 1 and 0")
        sizes = [math.prod(input_shape), *[width] * depth]
        layers: list[nn.Module] = []
        for inputs, outputs in itertools.pairwise(sizes):
            layers += [nn.Linear(inputs, outputs, bias=bias), nn.ReLU()]
        self.layers = nn.Sequential(nn.Flatten(), *layers, nn.Linear(sizes[-1], num_classes, bias=bias))

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, *input_shape) to outputs (N, num_classes)."""
        outputs: Tensor = self.layers(x)
        return outputs


def mlp(
    input_shape: tuple[int, ...], num_classes: int, width: int = 64, depth: int = 2, bias: bool = True
) -> nn.Module:
    """Build an :class:`MLP`."""
    return MLP(input_shape, num_classes, width, depth, bias)
