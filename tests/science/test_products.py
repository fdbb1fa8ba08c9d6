import numpy as np
import pytest
import torch

from rashomon_cli.science.products import largest_eigenvalue, mean_product, products


def test_products_are_those_of_the_dense_hessian(case, dense):
    problem, point = case
    vectors = torch.randn(3, point.theta.numel(), dtype=torch.float64, generator=torch.Generator().manual_seed(2))
    found, gradient = mean_product(problem, point, vectors, problem.train)
    hessian = dense(problem, point)
    assert float((found - vectors @ hessian).abs().max()) < 1e-10
    theta = point.theta.clone().requires_grad_()
    x, y = next(iter(problem.train))
    (expected,) = torch.autograd.grad(problem.mean_loss(theta, point.buffers, x, y), theta)
    assert float((gradient - expected).abs().max()) < 1e-12


def test_batches_of_128_and_2_and_of_65_and_65_agree(case, rebatched):
    problem, point = case
    vectors = torch.randn(2, point.theta.numel(), dtype=torch.float64, generator=torch.Generator().manual_seed(3))
    uneven, even = (rebatched(problem, size) for size in (128, 65))
    assert [len(x) for x, _ in uneven.train] == [128, 2]
    assert [len(x) for x, _ in even.train] == [65, 65]
    one, two = (mean_product(p, point, vectors, p.train)[0] for p in (uneven, even))
    assert float((one - two).abs().max()) < 1e-10


def test_products_leave_the_point_and_its_buffers_alone(cnn_case):
    problem, point = cnn_case
    theta, buffers = point.theta.clone(), {name: value.clone() for name, value in point.buffers.items()}
    list(products(problem, point, torch.ones(1, theta.numel(), dtype=torch.float64), problem.train))
    assert torch.equal(theta, point.theta)
    assert all(torch.equal(buffers[name], point.buffers[name]) for name in buffers)
    assert all(parameter.grad is None for parameter in problem.module.parameters())


def test_largest_eigenvalue_is_that_of_the_dense_hessian(case, dense):
    problem, point = case
    expected = float(torch.linalg.eigvalsh(dense(problem, point))[-1])
    value, residual, used = largest_eigenvalue(problem, point, problem.train, tolerance=1e-8)
    assert value == pytest.approx(expected, rel=1e-7)
    assert residual < 1e-5 * abs(expected)
    assert used < 200


def test_quadratic_has_the_spectrum_of_its_matrix(function_problem):
    root = torch.from_numpy(np.random.default_rng(0).normal(size=(5, 5)))
    matrix = root @ root.T
    problem = function_problem(lambda p: 0.5 * (p @ matrix * p).sum(1), 5)
    point_theta = torch.ones(5, dtype=torch.float64)
    from rashomon_cli.science.problem import Point

    found, gradient = mean_product(problem, Point(point_theta, {}), torch.eye(5, dtype=torch.float64), problem.train)
    torch.testing.assert_close(found, matrix)
    torch.testing.assert_close(gradient, matrix @ point_theta)


def test_a_loss_that_is_linear_in_the_parameters_has_no_curvature(function_problem):
    from rashomon_cli.science.problem import Point

    problem = function_problem(lambda p: p.sum(1), 4)
    found, _ = mean_product(
        problem, Point(torch.zeros(4, dtype=torch.float64), {}), torch.eye(4).double(), problem.train
    )
    assert not found.any()


def test_largest_eigenvalue_of_two_parameters_needs_no_lanczos(function_problem):
    from rashomon_cli.science.problem import Point

    problem = function_problem(lambda p: 3 * p[:, 0] ** 2 + p[:, 1] ** 2, 2)
    value, _, _ = largest_eigenvalue(problem, Point(torch.zeros(2, dtype=torch.float64), {}), problem.train)
    assert value == pytest.approx(6)
