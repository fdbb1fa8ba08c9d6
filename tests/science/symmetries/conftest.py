"""Networks in general position, and what a random element of their symmetries does to what they compute."""

from __future__ import annotations

import copy
from typing import NamedTuple

import pytest
import torch
from torch import nn

from rashomon_cli.science.symmetries import Symmetries, check, find, permute, rescale


class Net(nn.Module):
    """Parts by name, and a function (network, inputs) → outputs that uses them."""

    def __init__(self, function, **parts):
        super().__init__()
        self.function = function
        for name, part in parts.items():
            setattr(self, name, part)

    def forward(self, x):
        return self.function(self, x)


def in_general_position(module, seed=0):
    """Statistics, affine parameters and biases are not those of a fresh network."""
    random = torch.Generator().manual_seed(seed)

    def noise(tensor):
        return torch.randn(tensor.shape, generator=random).to(tensor)

    with torch.no_grad():
        for name, tensor in (*module.named_parameters(), *module.named_buffers()):
            if name.endswith("running_var"):
                tensor.mul_((0.5 * noise(tensor)).exp())
            elif name.endswith("running_mean") or (isinstance(tensor, nn.Parameter) and tensor.ndim < 2):
                tensor.add_(0.3 * noise(tensor))
    return module


class Effect(NamedTuple):
    """What one element of a network's symmetries did.

    Attributes:
        difference: of the outputs, relative to the largest.
        moved: number of tensors that it changed.
        found: the symmetries.
    """

    difference: float
    moved: int
    found: Symmetries


def change(module, x, seed=1, groups=None, stretch=True, moves=check.shuffled):
    """Apply one random element of some groups, or all, and compare what the module itself computes in float64."""
    graph, found, _ = find(module, x)
    moved = permute(found, graph.values, moves(found, found.groups if groups is None else groups(found), seed))
    if stretch:
        moved = rescale(found, moved, check.stretched(found, graph.values, seed))
    plain = copy.deepcopy(module).double().eval()
    x = x.double() if x.is_floating_point() else x
    with torch.no_grad():
        before, after = plain(x), torch.func.functional_call(plain, moved, (x,))
    count = sum(not torch.equal(moved[name], graph.values[name]) for name in graph.names)
    return Effect(float((after - before).abs().max()) / max(1.0, float(before.abs().max())), count, found)


@pytest.fixture
def net():
    """net(function, **parts): a module of its own."""
    return Net


@pytest.fixture
def moved_off():
    """moved_off(module): the same module with statistics, affine parameters and biases moved off their first values."""
    return in_general_position


@pytest.fixture
def effect():
    """effect(module, x, seed, groups, stretch, moves) → difference of outputs, tensors that moved, the symmetries."""
    return change


@pytest.fixture
def sizes():
    """sizes(module, x) → sizes of the groups, with (kind, size) of what blocks hold."""

    def act(module, x):
        _, found, _ = find(module, x)
        return [(g.size, *((i.kind, i.units.shape[1]) for i in g.inner)) if g.inner else g.size for g in found.groups]

    return act
