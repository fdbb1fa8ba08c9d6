import math
from dataclasses import replace

import pytest
import torch

from rashomon_cli.science.curvature import averaged_product, directional, gradient, random_units, verdict
from rashomon_cli.science.evaluation import evaluate
from rashomon_cli.science.paths import Path, directions
from rashomon_cli.science.problem import Point


def on_a_path(problem, point, t, kind="bezier"):
    chooser = torch.Generator().manual_seed(5)
    shape = (3, point.theta.numel())
    path = Path(kind, point.theta + 0.3 * torch.randn(shape, dtype=torch.float64, generator=chooser))
    here = Point(path.at(t), point.buffers, t, directions(path, t), path.tangent(t), path.acceleration(t))
    return path, here


def value(result, name):
    return float(result.variables[name].values)


def test_directions_have_the_dense_curvature_and_no_error_on_full_data(case, dense):
    problem, point = case
    _, here = on_a_path(problem, point, 0.4)
    found = directional(problem, here, problem.train, eigenvalue_batches=problem.train)
    hessian = dense(problem, here)
    for name in ("straight", "detour", "tangent"):
        v = here.directions[name]
        assert value(found, f"curvature_{name}") == pytest.approx(float(v @ hessian @ v), abs=1e-10)
        assert value(found, f"hvp_norm_{name}") == pytest.approx(float((hessian @ v).norm()), abs=1e-10)
        assert float(found.variables[f"curvature_{name}"].stderr) == 0
    assert value(found, "eigenvalue_max") == pytest.approx(float(torch.linalg.eigvalsh(hessian)[-1]), rel=1e-2)


def test_second_difference_of_a_frozen_profile_is_curvature_plus_gradient_times_bending(case):
    problem, point = case
    path, here = on_a_path(problem, point, 0.4)
    found = directional(problem, here, problem.train, random=0)

    def loss(t):
        return evaluate(problem, path.at(t), point.buffers, problem.train).loss

    h = 1e-4
    second = (loss(0.4 + h) - 2 * loss(0.4) + loss(0.4 - h)) / h**2
    together = value(found, "path_curvature") + value(found, "path_gradient_bending")
    assert together == pytest.approx(second, rel=1e-4)
    assert abs(value(found, "path_gradient_bending")) > 1e-3 * abs(second)
    parts = {name: abs(value(found, f"path_{name}")) for name in ("curvature", "gradient_bending")}
    larger = max(parts, key=parts.get).replace("gradient_bending", "gradient times bending")
    assert str(found.variables["path_verdict"].values) == larger


def test_parameters_times_the_mean_random_curvature_is_the_trace(mlp_case, dense):
    problem, point = mlp_case
    hessian = dense(problem, point)
    size, count = len(hessian), 600
    found = directional(problem, point, problem.train, random=count)
    mean, error = found.variables["curvature_random"].values, found.variables["curvature_random"].stderr
    assert abs(size * float(mean) - float(hessian.trace())) < 4 * size * float(error)
    assert size * float(error) < 0.1 * float(hessian.trace())
    squares = (random_units(point.theta, count, 0) @ hessian).norm(dim=1).square().mean() * size
    assert float(squares) == pytest.approx(float(hessian.square().sum()), rel=0.25)


def test_a_single_model_has_random_directions_only(mlp_case):
    problem, point = mlp_case
    names = set(directional(problem, point, problem.train).variables)
    assert "curvature_random" in names
    assert not any(d in name for name in names for d in ("straight", "detour", "tangent", "path"))


def test_with_decay_adds_the_penalty_to_the_hessian(mlp_case, dense):
    problem, point = mlp_case
    problem = replace(problem, weight_decay=0.1)
    _, here = on_a_path(problem, point, 0.5)
    plain = directional(problem, here, problem.train, random=0)
    decayed = directional(problem, here, problem.train, random=0, with_decay=True)
    assert value(decayed, "curvature_straight") == pytest.approx(value(plain, "curvature_straight") + 0.1)
    v = here.directions["straight"]
    shifted = dense(problem, here) @ v + 0.1 * v
    assert value(decayed, "hvp_norm_straight") == pytest.approx(float(shifted.norm()), abs=1e-10)


def test_sampled_curvature_covers_the_full_one(mlp_case, rebatched):
    problem, point = mlp_case
    problem = rebatched(problem, 5)
    _, here = on_a_path(problem, point, 0.5)
    truth = value(directional(problem, here, problem.train, random=0), "curvature_straight")
    inside = 0
    for seed in range(40):
        sample = problem.train.sample(65, seed)
        variable = directional(problem, here, sample, random=0).variables["curvature_straight"]
        assert float(variable.stderr) > 0
        inside += abs(float(variable.values) - truth) < 2 * float(variable.stderr)
    assert inside >= 34  # 95 % of 40 is 38


def test_gradient_norms_with_and_without_the_penalty(case):
    problem, point = case
    problem = replace(problem, weight_decay=0.05)
    found = gradient(problem, point, problem.train)
    theta = point.theta.clone().requires_grad_()
    x, y = next(iter(problem.train))
    (expected,) = torch.autograd.grad(problem.mean_loss(theta, point.buffers, x, y), theta)
    assert value(found, "gradient_norm") == pytest.approx(float(expected.norm()), rel=1e-9)
    penalised = float((expected + 0.05 * point.theta).norm())
    assert value(found, "gradient_norm_with_penalty") == pytest.approx(penalised, rel=1e-9)


def test_average_of_products_along_a_direction_is_two_gradients(function_problem):
    problem = function_problem(lambda p: (p**4).sum(1), 2)
    v = torch.tensor([1.0, 0.0], dtype=torch.float64)
    origin = Point(torch.zeros(2, dtype=torch.float64), {}, directions={"tangent": v})
    found = averaged_product(problem, origin, v, 0.5, problem.train).mean()
    # H(sv)v = 12 s² v, whose mean over [−½, ½] is 1; at the point itself the Hessian vanishes.
    torch.testing.assert_close(found, torch.tensor([1.0, 0.0], dtype=torch.float64))
    both = directional(problem, origin, problem.train, random=0, radius=0.5)
    assert value(both, "curvature_averaged_tangent") == pytest.approx(1)
    assert value(both, "hvp_norm_averaged_tangent") == pytest.approx(1)
    assert value(both, "curvature_tangent") == 0


def test_random_units_are_unit_vectors_and_the_same_for_the_same_seed():
    like = torch.zeros(1000)
    one, two = random_units(like, 3, 7), random_units(like, 3, 7)
    assert torch.equal(one, two)
    torch.testing.assert_close(one.norm(dim=1), torch.ones(3))
    assert abs(float(one[0] @ one[1])) < 5 / math.sqrt(1000)


@pytest.mark.parametrize(
    ("curvature", "bending", "expected"),
    [
        ((0.1, 0.06), (-0.3, 0.2), "noise"),
        ((4.0, 0.1), (-2.0, 0.1), "curvature"),
        ((0.5, 0.1), (-2.0, 0.1), "bending"),
        ((0.5, 0.1), (-2.0, 1.1), "curvature"),
        ((0.0, 0.0), (0.0, 0.0), "noise"),
    ],
)
def test_the_verdict_is_the_largest_term_that_is_told_from_0(curvature, bending, expected):
    assert verdict({"curvature": curvature, "bending": bending}) == expected
