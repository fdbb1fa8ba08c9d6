"""Networks, and copies of them whose units were interchanged and rescaled at random."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest
import torch
from torch import nn

from rashomon_cli.science.symmetries import check, find, permute, rescale
from rashomon_cli.sources import builders


@dataclass
class Planted:
    """A network and a copy of it that computes the same.

    Attributes:
        module: the architecture, float64.
        x: inputs.
        graph: its data flow.
        symmetries: of it.
        readings: where activations are read.
        names: of its parameters.
        own: its tensors.
        copy: those of the copy.
        back: the permutation that undoes the one of the copy.
    """

    module: nn.Module
    x: torch.Tensor
    graph: object
    symmetries: object
    readings: list
    names: frozenset
    own: dict
    copy: dict
    back: np.ndarray

    def off(self, one, other):
        """How far two sets of tensors compute different outputs."""
        return check.difference(self.graph, one, other, self.x[:2])


def lively(module, seed=0):
    """Statistics, scales and shifts of norms as training leaves them: no two alike."""
    generator = torch.Generator().manual_seed(seed)
    for layer in module.modules():
        if isinstance(layer, nn.BatchNorm1d | nn.BatchNorm2d):
            layer.running_mean.copy_(0.1 * torch.randn(layer.num_features, generator=generator))
            layer.running_var.copy_(0.5 + torch.rand(layer.num_features, generator=generator))
        if isinstance(layer, nn.BatchNorm1d | nn.BatchNorm2d | nn.LayerNorm):
            with torch.no_grad():
                layer.weight.copy_(0.5 + torch.rand(layer.weight.shape, generator=generator))
                layer.bias.copy_(0.5 + 0.2 * torch.randn(layer.bias.shape, generator=generator))
    for parameter in module.parameters():
        if not parameter.any():  # what is made as zeros has no scale to be found again
            with torch.no_grad():
                parameter.copy_(0.1 * torch.randn(parameter.shape, generator=generator))
    return module.double()


def plant_one(module, x, seed=0):
    module = lively(module)
    graph, symmetries, readings = find(module, x[:2])
    own = {name: value.clone() for name, value in graph.values.items()}
    source = check.shuffled(symmetries, symmetries.groups, seed + 1)
    copy = rescale(symmetries, permute(symmetries, own, source), check.stretched(symmetries, own, seed + 1))
    names = frozenset(name for name, _ in module.named_parameters())
    return Planted(module, x.double(), graph, symmetries, readings, names, own, copy, np.argsort(source))


@pytest.fixture
def plant():
    """plant(module, x, seed=0): a network with a copy of it."""
    return plant_one


@pytest.fixture
def make():
    """make(spec, shape=(3, 8, 8), classes=4): a module of a builder."""

    def build(spec, shape=(3, 8, 8), classes=4, seed=0):
        torch.manual_seed(seed)
        return builders.resolve(spec).make(shape, classes)

    return build
