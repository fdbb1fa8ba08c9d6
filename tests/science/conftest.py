"""Small problems in float64 whose Hessian can be written out whole."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from rashomon_cli.science.problem import Layout, Point, Problem, cross_entropy, fresh_buffers
from rashomon_cli.sources.batches import Batches
from rashomon_cli.sources.models.mlp import mlp


class TinyCNN(nn.Module):
    """Convolutions with BatchNorm; smooth, so that second differences of its loss exist: no kinks to step over."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(1, 3, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(3)
        self.conv2 = nn.Conv2d(3, 2, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(2)
        self.head = nn.Linear(2, 3)

    def forward(self, x):
        h = torch.nn.functional.gelu(self.bn1(self.conv1(x)))
        return self.head(torch.tanh(self.bn2(self.conv2(h))).mean((2, 3)))


def make_problem(module, x, y, loss=cross_entropy):
    module = module.double()
    data = Batches(x.double(), y, 1000, population=len(x), dtype=torch.float64)
    return Problem(module, Layout.of(module), loss, data, data, classifies=loss is cross_entropy)


def theta_of(problem):
    return problem.layout.flatten(dict(problem.module.named_parameters()))


def dense_hessian(problem, point):
    def total(theta):
        sums = [problem.loss(problem.outputs(theta, point.buffers, x), y).sum() for x, y in problem.train]
        return sum(sums) / problem.train.count

    problem.module.eval()
    return torch.autograd.functional.hessian(total, point.theta)


@pytest.fixture
def mlp_case():
    torch.manual_seed(0)
    problem = make_problem(mlp((4,), 3, width=5, depth=2), torch.randn(130, 4), torch.randint(0, 3, (130,)))
    return problem, Point(theta_of(problem), {})


@pytest.fixture
def cnn_case():
    torch.manual_seed(1)
    problem = make_problem(TinyCNN(), torch.randn(130, 1, 6, 6), torch.randint(0, 3, (130,)))
    buffers = fresh_buffers(problem.module)
    for name, value in buffers.items():
        if value.is_floating_point():
            buffers[name] = value + torch.rand_like(value)
    return problem, Point(theta_of(problem), buffers)


@pytest.fixture(params=["mlp_case", "cnn_case"])
def case(request):
    return request.getfixturevalue(request.param)


class Constant(nn.Module):
    """Outputs its own parameters for every input: any function of θ can be the loss."""

    def __init__(self, size: int) -> None:
        super().__init__()
        self.p = nn.Parameter(torch.zeros(size))

    def forward(self, x):
        return self.p.expand(len(x), -1)


@pytest.fixture
def function_problem():
    """function_problem(f, P): a problem whose loss is f(θ) for θ of shape (B, P) → (B,)."""

    def build(function, size, count=8):
        x = torch.zeros(count, 1)
        return make_problem(Constant(size), x, torch.zeros(count), loss=lambda outputs, _: function(outputs))

    return build


@pytest.fixture
def dense():
    return dense_hessian


@pytest.fixture
def rebatched():
    """rebatched(problem, sizes…): the same examples in batches of the given size."""
    from dataclasses import replace

    return lambda problem, size: replace(problem, train=replace(problem.train, batch_size=size))


@pytest.fixture
def make():
    """make(module, x, y, loss): a problem in float64 whose training and test examples are the same."""
    return make_problem
