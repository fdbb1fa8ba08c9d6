"""SCIENCE.md's cases: two swapped ReLU units, and (1, 1) against (2, ½)."""

import itertools

import pytest
import torch
from torch import nn

from rashomon_cli.science.alignment.move import match_weights, move
from rashomon_cli.science.symmetries import find

QUADRANTS = torch.tensor(list(itertools.product((-1.5, -1.0, 1.0, 2.0), repeat=2)), dtype=torch.float64)


def two_units():
    return nn.Sequential(nn.Linear(2, 2, bias=False), nn.ReLU(), nn.Linear(2, 2, bias=False)).double()


def tensors(first, second):
    return {"0.weight": torch.tensor(first).double(), "2.weight": torch.tensor(second).double()}


def loss(weights):
    """Of the task (ReLU(x₁), ReLU(x₂)), on points of all four quadrants."""
    outputs = torch.func.functional_call(two_units(), weights, (QUADRANTS,))
    return float((outputs - QUADRANTS.relu()).square().mean())


def barrier(one, other):
    steps = torch.linspace(0, 1, 41, dtype=torch.float64)
    between = [loss({n: (1 - t) * one[n] + t * other[n] for n in one}) for t in steps]
    return max(between) - max(between[0], between[-1])


def aligned(one, other, scaled=True):
    module = two_units()
    _, symmetries, _ = find(module, QUADRANTS)
    names = frozenset(one)
    _, match = match_weights(symmetries, [one, other], names, 0, scaled)
    return move(module, symmetries, other, match.source, one if scaled else None, names, [QUADRANTS], other).tensors


ONE = ([[1.0, 0.0], [0.0, 1.0]], [[1.0, 0.0], [0.0, 1.0]])
SWAPPED = ([[0.0, 1.0], [1.0, 0.0]], [[0.0, 1.0], [1.0, 0.0]])


def test_two_swapped_units_have_a_barrier_that_aligning_takes_away():
    one, other = tensors(*ONE), tensors(*SWAPPED)
    assert loss(one) == loss(other) == 0
    assert barrier(one, other) > 0.1
    assert barrier(one, aligned(one, other)) == 0


@pytest.mark.parametrize("factors", [(2.0, 1.0), (2.0, 0.25), (5.0, 0.1)])
def test_where_units_are_rescaled_too_permuting_alone_does_not_do(factors):
    one, (first, second) = tensors(*ONE), SWAPPED
    scale = torch.tensor(factors).double()
    other = tensors(first, second)
    other = {"0.weight": other["0.weight"] * scale[:, None], "2.weight": other["2.weight"] / scale}
    assert loss(other) < 1e-30
    assert barrier(one, aligned(one, other, scaled=False)) > 1e-3
    assert abs(barrier(one, aligned(one, other))) < 1e-12


def test_the_midpoint_of_one_one_and_two_a_half_is_nine_eighths():
    one = {"0.weight": torch.tensor([[1.0]]), "2.weight": torch.tensor([[1.0]])}
    other = {"0.weight": torch.tensor([[2.0]]), "2.weight": torch.tensor([[0.5]])}
    middle = {name: 0.5 * (one[name] + other[name]).double() for name in one}
    module = nn.Sequential(nn.Linear(1, 1, bias=False), nn.ReLU(), nn.Linear(1, 1, bias=False)).double()
    assert float(torch.func.functional_call(module, middle, (torch.ones(1, 1).double(),))) == 1.125
