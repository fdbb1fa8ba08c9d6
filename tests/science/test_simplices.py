import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from rashomon_cli.science.simplices import Heights, barycentric, fit, log_volume
from rashomon_cli.science.training import SGD, TrainState


def points(count, size, seed):
    return torch.randn(count, size, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


@given(st.integers(1, 12), st.floats(0.01, 100))
def test_the_volume_of_a_regular_simplex(d, side):
    # The corners of the unit vectors are √2 apart; the volume with side 1 is √(d+1) / (d! √(2^d)).
    corners = torch.eye(d + 1, dtype=torch.float64) * side / math.sqrt(2)
    expected = 0.5 * math.log(d + 1) - math.lgamma(d + 1) - 0.5 * d * math.log(2) + d * math.log(side)
    assert log_volume(corners) == pytest.approx(expected, abs=1e-9)


@given(st.integers(1, 4), st.integers(0, 1000))
def test_the_volume_is_that_of_the_cayley_menger_determinant(d, seed):
    corners = points(d + 1, 6, seed)
    matrix = torch.ones(d + 2, d + 2, dtype=torch.float64)
    matrix[0, 0] = 0
    matrix[1:, 1:] = torch.cdist(corners, corners, compute_mode="donot_use_mm_for_euclid_dist").square()
    squared = (-1) ** (d + 1) * float(torch.linalg.det(matrix)) / (2**d * math.factorial(d) ** 2)
    assert math.exp(2 * log_volume(corners)) == pytest.approx(squared, rel=1e-6)


def test_a_volume_that_floats_cannot_hold_has_a_logarithm():
    corners = torch.eye(33, 40, dtype=torch.float64) * 1e-20
    assert log_volume(corners) < math.log(1e-308)
    assert math.isfinite(log_volume(corners))


@pytest.mark.parametrize("corners", [torch.ones(2, 3), torch.tensor([[0.0, 0], [1, 1], [2, 2]]), torch.eye(4)[:, :2]])
def test_what_is_flat_has_no_volume(corners):
    assert log_volume(corners) == -math.inf


@given(st.integers(1, 4), st.integers(1, 3), st.integers(0, 1000))
def test_the_volume_of_a_complex_and_its_gradient(d, count, seed):
    anchors, vertices = points(count, 7, seed), points(d, 7, seed + 1)
    value, gradient = Heights.over(anchors, vertices[:-1]).log_volume(vertices[-1])
    each = [math.exp(log_volume(torch.cat([anchor[None], vertices]))) for anchor in anchors]
    assert value == pytest.approx(math.log(sum(each)), abs=1e-9)

    def whole(vertex):
        edges = [torch.cat([vertices[:-1], vertex[None]]) - anchor for anchor in anchors]
        return sum(torch.linalg.det(e @ e.T).sqrt() for e in edges).log()

    expected = torch.autograd.functional.jacobian(whole, vertices[-1])
    assert torch.allclose(gradient, expected, rtol=1e-6, atol=1e-9)


def test_no_gradient_where_a_simplex_is_flat():
    anchors = torch.tensor([[0.0, 0.0], [1.0, 0.0]], dtype=torch.float64)
    value, gradient = Heights.over(anchors, anchors[:0]).log_volume(anchors[0])
    assert value == pytest.approx(0.0)
    assert gradient.tolist() == pytest.approx([-1.0, 0.0])
    flat, none = Heights.over(anchors[:1], anchors[:0]).log_volume(anchors[0])
    assert flat == -math.inf
    assert none.tolist() == [0.0, 0.0]


def test_random_points_have_the_moments_of_dirichlet():
    # Of Dirichlet(1, …, 1) with n corners: E w = 1/n, E wᵢwⱼ = (1 + [i = j]) / (n (n + 1)).
    chooser = torch.Generator().manual_seed(0)
    weights = torch.stack([barycentric(3, chooser) for _ in range(4000)])
    assert torch.allclose(weights.sum(1), torch.ones(4000, dtype=torch.float64))
    assert torch.allclose(weights.mean(0), torch.full((3,), 1 / 3, dtype=torch.float64), atol=0.015)
    second = (weights.T @ weights / 4000) * 12
    assert torch.allclose(second, torch.ones(3, 3, dtype=torch.float64) + torch.eye(3, dtype=torch.float64), atol=0.08)


def trained(problem, anchors, vertices, volume, start, **options):
    cfg = SGD(**{"epochs": 1500, "lr": 0.1, "momentum": 0.0, "weight_decay": 0.0} | options)
    *_, state = fit(
        problem, anchors, vertices, volume, lambda _: iter(problem.train), 1, cfg, TrainState(0, start, None, {})
    )
    return state.theta


def test_the_volume_term_pushes_a_vertex_to_where_the_loss_holds_it(function_problem):
    # One anchor at 0 and L = ½θ²: E over u ~ U(0, 1) of ½(uw)² is w²/6, and w²/6 − λ log|w| is least at w = √(3λ).
    problem = function_problem(lambda p: 0.5 * p.square().sum(1), 1)
    anchors = torch.zeros(1, 1, dtype=torch.float64)
    start = torch.full((1,), 0.3, dtype=torch.float64)
    assert trained(problem, anchors, anchors[:0], 0.0, start).item() == pytest.approx(0.0, abs=1e-6)
    assert trained(problem, anchors, anchors[:0], 0.5, start).item() == pytest.approx(math.sqrt(1.5), rel=0.1)


def test_on_a_flat_plane_a_triangle_grows_within_the_plane(function_problem):
    # The loss is steep in z alone, so the vertices stay at z = 0 while the volume term drives them apart.
    problem = function_problem(lambda p: 50 * p[:, 2] ** 2, 3)
    anchors = torch.tensor([[0.0, 0, 0], [1, 0, 0]], dtype=torch.float64)
    first = torch.tensor([[0.5, 1.0, 0.0]], dtype=torch.float64)
    start = torch.tensor([0.5, 0.5, 0.2], dtype=torch.float64)
    vertex = trained(problem, anchors, first, 0.5, start, epochs=400, lr=0.02)
    before = sum(math.exp(log_volume(torch.stack([a, first[0], start]))) for a in anchors)
    after = sum(math.exp(log_volume(torch.stack([a, first[0], vertex]))) for a in anchors)
    assert abs(float(vertex[2])) < 0.01
    assert after > 2 * before
