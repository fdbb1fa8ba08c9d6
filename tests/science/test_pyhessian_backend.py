"""Each fault of PyHessian 0.1, shown on the package as it is, and absent behind the wrapper."""

from __future__ import annotations

import copy
import gc
import sys
import weakref
from dataclasses import replace

import pyhessian
import pytest
import torch
from torch import nn

from rashomon_cli.core.errors import Refused
from rashomon_cli.science.problem import Point
from rashomon_cli.science.pyhessian_backend import PyHessian

CYCLE = pytest.mark.filterwarnings("ignore:Using backward:UserWarning")


def raw(problem, **data):
    """PyHessian's object on the problem's own module, whose parameters are the point's."""
    return pyhessian.hessian(problem.module, lambda out, want: problem.loss(out, want).mean(), cuda=False, **data)


def product_of(engine, vector, problem):
    """What its single-batch mode multiplies with."""
    pieces = list(problem.layout.split(vector).values())
    found = pyhessian.utils.hessian_vector_product(engine.gradsH, engine.params, pieces)
    return torch.cat([piece.reshape(-1) for piece in found]).detach()


def point_of(problem):
    return Point(problem.layout.flatten(dict(problem.module.named_parameters())), {})


def whole(problem):
    (batch,) = list(problem.train)
    return batch


def some(point):
    """A few vectors (k, P)."""
    chance = torch.Generator().manual_seed(9)
    return torch.randn(4, point.theta.numel(), generator=chance, dtype=torch.float64).to(point.theta)


def close(one, other, relative=1e-10):
    return float((one - other).abs().max()) < relative * float(other.abs().max())


@pytest.mark.parametrize("size", [1000, 33])
def test_products_are_those_of_the_dense_hessian(case, dense, rebatched, size):
    problem, point = case
    matrix = PyHessian(problem, point, rebatched(problem, size).train)
    expected = dense(problem, point)
    vectors = some(point)
    assert close(matrix(vectors), vectors @ expected)
    assert (matrix.size, matrix.matvecs) == (len(expected), 4)
    shifted = PyHessian(problem, point, problem.train, shift=0.5)
    assert close(shifted(vectors), vectors @ expected + 0.5 * vectors)


def test_float32_products(case, dense):
    problem, point = case
    expected = dense(problem, point)
    single = replace(problem, train=replace(problem.train, dtype=torch.float32))
    theta = point.theta.float()
    buffers = {name: b.float() if b.is_floating_point() else b for name, b in point.buffers.items()}
    found = PyHessian(single, Point(theta, buffers), single.train)(some(point).float())
    assert found.dtype == torch.float32
    assert close(found.double(), some(point) @ expected, 1e-5)


@CYCLE
def test_memory_is_given_back(mlp_case):
    problem, point = mlp_case

    def used(engine):
        return [weakref.ref(parameter) for parameter in engine.params]

    def raw_use():
        own = replace(problem, module=copy.deepcopy(problem.module))
        engine = raw(own, data=whole(problem))
        product_of(engine, point.theta, own)
        return used(engine)

    def safe_use():
        matrix = PyHessian(problem, point, problem.train)
        matrix(point.theta[None])
        return used(matrix.engine)

    gc.disable()
    try:
        assert all(leaf() is None for leaf in safe_use())
    finally:
        gc.enable()
    leaked = raw_use()
    gc.collect()
    assert all(leaf() is not None for leaf in leaked)
    for leaf in leaked:
        leaf().grad = None


@CYCLE
def test_a_second_object_does_not_measure_twice_the_hessian(mlp_case, dense):
    problem, point = mlp_case
    expected = dense(problem, point)
    first = raw(problem, data=whole(problem))
    second = raw(problem, data=whole(problem))
    vector = torch.randn_like(point.theta)
    assert close(product_of(first, vector, problem), expected @ vector)
    assert close(product_of(second, vector, problem), 2 * expected @ vector)
    problem.module.zero_grad(set_to_none=True)
    matrices = [PyHessian(problem, point, problem.train) for _ in range(2)]
    assert all(close(matrix(vector[None])[0], expected @ vector) for matrix in matrices)


@CYCLE
def test_parameters_that_move_are_not_measured_where_they_were(mlp_case, dense):
    problem, point = mlp_case
    moved = Point(point.theta + 0.5, {})
    vector = torch.randn_like(point.theta)
    engine = raw(problem, data=whole(problem))
    for name, value in problem.layout.split(moved.theta).items():
        problem.module.get_parameter(name).data = value
    assert close(product_of(engine, vector, problem), dense(problem, point) @ vector)
    problem.module.zero_grad(set_to_none=True)
    here, there = (PyHessian(problem, p, problem.train) for p in (point, moved))
    expected = dense(problem, point) @ vector
    assert close(there(vector[None])[0], dense(problem, moved) @ vector)
    point.theta.add_(1.0)
    assert close(here(vector[None])[0], expected)


@CYCLE
def test_a_generator_of_batches_does_not_run_dry(mlp_case, dense):
    problem, point = mlp_case
    engine = raw(problem, dataloader=iter(problem.train))
    assert torch.tensor(engine.eigenvalues(maxIter=3)[0]).isnan().all()
    matrix = PyHessian(problem, point, iter(problem.train))
    assert close(matrix(some(point)), some(point) @ dense(problem, point))


class Partly(nn.Module):
    """Has a layer that no output depends on, and one that only some inputs use."""

    def __init__(self):
        super().__init__()
        self.used, self.unused, self.sometimes = nn.Linear(3, 2), nn.Linear(3, 2), nn.Linear(3, 2)

    def forward(self, x):
        found = torch.tanh(self.used(x))
        return found + self.sometimes(x) ** 2 if bool(x.sum() > 0) else found


@CYCLE
def test_parameters_without_use_have_a_hessian_of_zero(make, dense, rebatched):
    torch.manual_seed(2)
    x = torch.randn(8, 3)
    problem = rebatched(make(Partly(), torch.cat([x.abs(), -x.abs()]), torch.randint(0, 2, (16,))), 8)
    point = point_of(problem)
    with pytest.raises((RuntimeError, TypeError, AssertionError)):
        raw(problem, dataloader=list(problem.train)).eigenvalues(maxIter=1)
    problem.module.zero_grad(set_to_none=True)
    found = PyHessian(problem, point, problem.train)(some(point))
    assert close(found, some(point) @ dense(problem, point))
    assert not found[:, 8:16].any()


@CYCLE
def test_the_model_stays_as_it_was(cnn_case):
    problem, point = cnn_case
    module = problem.module.train()
    raw(problem, dataloader=list(problem.train)).eigenvalues(maxIter=1)
    assert not module.training
    module.train()
    module.bn1.weight.requires_grad_(False)
    state = {name: value.clone() for name, value in module.state_dict().items()}
    PyHessian(problem, point, problem.train)(point.theta[None])
    assert all(part.training for part in module.modules())
    assert all(parameter.grad is None for parameter in module.parameters())
    assert all(torch.equal(value, state[name]) for name, value in module.state_dict().items())


def test_frozen_parameters_are_those_of_the_point(make, dense):
    torch.manual_seed(3)
    module = nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 2))
    module[0].weight.requires_grad_(False)
    problem = make(module, torch.randn(20, 3), torch.randint(0, 2, (20,)))
    point = Point(
        problem.layout.flatten(dict(module.named_parameters())), {"0.weight": torch.randn(4, 3, dtype=torch.float64)}
    )
    assert close(PyHessian(problem, point, problem.train)(some(point)), some(point) @ dense(problem, point))


class Attention(nn.Module):
    def __init__(self):
        super().__init__()
        self.maps, self.head = nn.Linear(4, 12), nn.Linear(4, 2)

    def forward(self, x):
        q, k, v = self.maps(x).chunk(3, -1)
        return self.head(nn.functional.scaled_dot_product_attention(q, k, v).mean(1))


class Recurrent(nn.Module):
    def __init__(self):
        super().__init__()
        self.lstm, self.head = nn.LSTM(4, 3, batch_first=True), nn.Linear(3, 2)

    def forward(self, x):
        return self.head(self.lstm(x)[0][:, -1])


@pytest.mark.parametrize("module", [Attention, Recurrent])
def test_attention_and_recurrent_layers(make, dense, module):
    torch.manual_seed(4)
    problem = make(module(), torch.randn(12, 5, 4), torch.randint(0, 2, (12,)))
    point = point_of(problem)
    with torch.nn.attention.sdpa_kernel(torch.nn.attention.SDPBackend.MATH):
        expected = dense(problem, point)
    assert close(PyHessian(problem, point, problem.train)(some(point)), some(point) @ expected)


class Once(torch.autograd.Function):
    @staticmethod
    def forward(context, x):
        return 2 * x

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(context, gradient):
        return 2 * gradient


def applied(function):
    class Applied(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = nn.Linear(3, 2)

        def forward(self, x):
            return function(self.layer(x))

    return Applied()


def test_an_operation_without_a_second_derivative_is_refused_and_leaves_no_gradient(make):
    problem = make(applied(nn.functional.hardsigmoid), torch.randn(6, 3), torch.randint(0, 2, (6,)))
    point = point_of(problem)
    matrix = PyHessian(problem, point, problem.train)
    with pytest.raises(Refused, match="differentiate this model twice: derivative for aten::hardsigmoid"):
        matrix(point.theta[None])
    assert all(parameter.grad is None for parameter in matrix.engine.params)


def test_an_operation_that_is_differentiable_once_does_not_count_as_straight(make):
    problem = make(applied(Once.apply), torch.randn(6, 3), torch.randint(0, 2, (6,)))
    with pytest.raises(Refused, match="differentiable once"):
        PyHessian(problem, point_of(problem), problem.train)


def test_without_the_package_it_is_named(mlp_case, monkeypatch):
    problem, point = mlp_case
    monkeypatch.setitem(sys.modules, "pyhessian", None)
    with pytest.raises(Refused, match="needs the package pyhessian") as refused:
        PyHessian(problem, point, problem.train)
    assert "pip install" in refused.value.hint
