import torch

from rashomon_cli.science.problem import Point
from rashomon_cli.science.products import products


def vectors_for(count, size):
    return torch.randn(count, size, dtype=torch.float64, generator=torch.Generator().manual_seed(2))


def test_products_and_gradients_are_those_of_each_batch(case, rebatched, dense):
    problem, point = case
    data = rebatched(problem, 50).train
    vectors = vectors_for(2, point.theta.numel())
    found = list(products(problem, point, vectors, data))
    assert [batch.count for batch in found] == [50, 50, 30]
    hessian = sum(batch.products * batch.count for batch in found) / 130
    assert float((hessian - vectors @ dense(problem, point)).abs().max()) < 1e-10
    theta = point.theta.clone().requires_grad_()
    for batch, (x, y) in zip(found, data, strict=True):
        (expected,) = torch.autograd.grad(problem.mean_loss(theta, point.buffers, x, y), theta)
        assert float((batch.gradient - expected).abs().max()) < 1e-12


def test_no_vectors_give_gradients_and_ticks_alone(mlp_case):
    problem, point = mlp_case
    ticks = []
    (alone,) = products(problem, point, vectors_for(0, point.theta.numel()), problem.train, ticks.append)
    (beside,) = products(problem, point, vectors_for(1, point.theta.numel()), problem.train)
    assert torch.equal(alone.gradient, beside.gradient)
    assert alone.products.shape == (0, point.theta.numel())
    assert len(ticks) == 1


def test_products_leave_the_point_and_its_buffers_alone(cnn_case):
    problem, point = cnn_case
    theta, buffers = point.theta.clone(), {name: value.clone() for name, value in point.buffers.items()}
    list(products(problem, point, torch.ones(1, theta.numel(), dtype=torch.float64), problem.train))
    assert torch.equal(theta, point.theta)
    assert all(torch.equal(buffers[name], point.buffers[name]) for name in buffers)
    assert all(parameter.grad is None for parameter in problem.module.parameters())


def test_a_loss_that_is_linear_in_the_parameters_has_no_curvature(function_problem):
    problem = function_problem(lambda p: p.sum(1), 4)
    point = Point(torch.zeros(4, dtype=torch.float64), {})
    (found,) = products(problem, point, torch.eye(4).double(), problem.train)
    assert not found.products.any()
    assert torch.equal(found.gradient, torch.ones(4).double())
