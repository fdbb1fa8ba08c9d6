"""Directions of symmetries: the function along the finite move, and what the Hessian makes of them."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional

from rashomon_cli.core.errors import Refused
from rashomon_cli.science.problem import Point, fresh_buffers, squared_error
from rashomon_cli.science.spectra import shifts, tangents
from rashomon_cli.science.spectra.affine import Affine
from rashomon_cli.science.spectra.blocks import matching
from rashomon_cli.science.spectra.curvatures import Curvature
from rashomon_cli.science.spectra.generators import Generators, generators
from rashomon_cli.science.symmetries import find
from rashomon_cli.science.symmetries.frozen import movable, norms, rescale_frozen
from rashomon_cli.sources.models.mlp import mlp
from rashomon_cli.sources.models.preresnet import preresnet8

IMAGES = torch.randn(12, 3, 8, 8, generator=torch.Generator().manual_seed(0))
LABELS = torch.arange(12) % 3


def general(problem, seed=0):
    """A point whose biases, norms and statistics are not those of a fresh network."""
    random = torch.Generator().manual_seed(seed)
    theta = problem.layout.flatten(dict(problem.module.named_parameters()))
    theta = theta + 0.2 * torch.randn(len(theta), generator=random, dtype=torch.float64)
    buffers = fresh_buffers(problem.module)
    for name, value in buffers.items():
        if name.endswith("running_mean"):
            buffers[name] = torch.randn(value.shape, generator=random, dtype=torch.float64)
        elif name.endswith("running_var"):
            buffers[name] = torch.randn(value.shape, generator=random, dtype=torch.float64).exp()
    problem.module.eval()
    return Point(theta, buffers)


def all_of(problem):
    return next(iter(problem.train))


def at(problem, point):
    return generators(problem, point, *all_of(problem))


def jacobian_norms(problem, point, rows):
    """‖Jξ‖ of each direction over ‖J‖_F."""
    x, _ = all_of(problem)
    rows_of_j = torch.autograd.functional.jacobian(lambda t: problem.outputs(t, point.buffers, x), point.theta)
    rows_of_j = rows_of_j.flatten(0, -2)
    return (rows_of_j @ rows.T).norm(dim=0) / rows_of_j.norm()


def gradient(problem, point):
    theta = point.theta.clone().requires_grad_()
    return torch.autograd.grad(problem.mean_loss(theta, point.buffers, *all_of(problem)), theta)[0]


class Residual(nn.Module):
    """Convolutions with biases before BatchNorm, and a sum of two normalised branches behind a ReLU."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3, padding=1)
        self.first = nn.BatchNorm2d(4)
        self.inner = nn.Conv2d(4, 5, 3, padding=1)
        self.second = nn.BatchNorm2d(5)
        self.short = nn.Conv2d(4, 5, 1, bias=False)
        self.third = nn.BatchNorm2d(5)
        self.head = nn.Linear(5, 3)

    def forward(self, x):
        h = functional.relu(self.first(self.conv(x)))
        return self.head(functional.relu(self.second(self.inner(h)) + self.third(self.short(h))).mean((2, 3)))


class Attending(nn.Module):
    """One layer of attention over tokens, without LayerNorm."""

    def __init__(self, width=6, heads=2):
        super().__init__()
        self.heads = heads
        self.q, self.k, self.v = (nn.Linear(4, width, bias=False) for _ in range(3))
        self.out = nn.Linear(width, 3)

    def forward(self, x):
        q, k, v = (f(x).unflatten(-1, (self.heads, -1)).transpose(1, 2) for f in (self.q, self.k, self.v))
        mixed = functional.scaled_dot_product_attention(q, k, v)
        return self.out(mixed.transpose(1, 2).flatten(2)).mean(1)


class Normalised(nn.Module):
    """LayerNorm reads what a layer makes, and takes away what all of it has in common."""

    def __init__(self):
        super().__init__()
        self.first, self.norm, self.head = nn.Linear(4, 6), nn.LayerNorm(6), nn.Linear(6, 3)

    def forward(self, x):
        return self.head(torch.tanh(self.norm(self.first(x))))


class Branching(nn.Module):
    def __init__(self):
        super().__init__()
        self.head = nn.Linear(4, 3)

    def forward(self, x):
        return self.head(x) if float(x.sum()) > -1e9 else self.head(-x)


VECTORS = torch.randn(12, 4, generator=torch.Generator().manual_seed(1))
TOKENS = torch.randn(12, 5, 4, generator=torch.Generator().manual_seed(2))
CASES = {
    "mlp": (lambda: mlp((4,), 3, width=5, depth=2), VECTORS, {"rescaling": 10, "loss": 6}),
    "residual": (Residual, IMAGES, {"rescaling": 4 + 4 + 5 + 5 + 5, "shift": 4 + 5 + 5, "loss": 6}),
    "preresnet": (lambda: preresnet8((3, 8, 8), 3, width=2), IMAGES, {"rescaling": 58, "loss": 9}),
    "attention": (Attending, TOKENS, {"attention": 2 * (9 + 9), "loss": 7}),
    "layer norm": (Normalised, VECTORS, {"shift": 5, "loss": 7}),
}


@pytest.fixture(params=CASES)
def network(request, make):
    build, x, expected = CASES[request.param]
    torch.manual_seed(0)
    problem = make(build(), x, LABELS)
    return problem, general(problem), expected


def test_what_theory_says_is_found_and_no_output_or_loss_feels_it(network):
    problem, point, expected = network
    found = at(problem, point)
    assert found.counts == expected
    assert found.lacking == ""
    rows = torch.from_numpy(found.matrix.toarray())
    rows = rows / rows.norm(dim=1, keepdim=True)
    of_function = torch.tensor([kind != "loss" for kind in found.kinds])
    felt = jacobian_norms(problem, point, rows)
    assert not (felt[of_function] > 1e-14).any()
    assert float(felt[~of_function].amax()) > 0.05
    slope = gradient(problem, point)
    assert float((rows @ slope).abs().max()) < 1e-14 * max(1.0, float(slope.norm()))
    basis = found.basis().rows
    torch.testing.assert_close(basis @ basis.T, torch.eye(len(basis), dtype=torch.float64), atol=1e-12, rtol=0)
    assert float((rows - rows @ basis.T @ basis).abs().max()) < 1e-6


def test_all_but_known_overlaps_are_independent(network):
    problem, point, expected = network
    assert len(at(problem, point).basis().rows) == sum(expected.values())


def test_directions_are_the_derivatives_of_the_finite_moves(make):
    torch.manual_seed(0)
    problem = make(Residual(), IMAGES, LABELS)
    point = general(problem)
    tensors = {**problem.layout.split(point.theta), **point.buffers}
    graph, symmetries, _ = find(problem.module, IMAGES)
    several = norms(graph, problem.layout.names)
    free = movable(symmetries, several, problem.layout.names)
    found = at(problem, point)
    for row, scale in zip(found.matrix[: len(free)].toarray(), free):
        ends = []
        for step in (1e-4, -1e-4):
            logarithms = torch.zeros(symmetries.scales, dtype=torch.float64)
            logarithms[scale] = step
            ends.append(problem.layout.flatten(rescale_frozen(symmetries, several, tensors, logarithms)))
        np.testing.assert_allclose(row, (ends[0] - ends[1]) / 2e-4, atol=1e-7)


@pytest.fixture
def small(make):
    torch.manual_seed(0)
    module = nn.Sequential(nn.Conv2d(3, 2, 3), nn.BatchNorm2d(2), nn.ReLU(), nn.Flatten(), nn.Linear(72, 3))
    problem = make(module, IMAGES, LABELS)
    return problem, general(problem)


def test_the_hessian_moves_them_by_the_gradient(small, dense):
    problem, point = small
    found, slope, hessian = at(problem, point), gradient(problem, point), dense(problem, point)
    here = torch.from_numpy(found.matrix.toarray())
    felt = here @ hessian
    assert float(felt[0].norm()) > 1e-3 * float(here[0].norm())
    random = torch.Generator().manual_seed(3)
    for _ in range(3):
        step = torch.randn(len(point.theta), generator=random, dtype=torch.float64)
        there = torch.from_numpy(at(problem, Point(point.theta + step, point.buffers)).matrix.toarray())
        along = there - here  # Dξ times the step, exactly: ξ is linear in θ
        torch.testing.assert_close(felt @ step, -along @ slope, atol=1e-10, rtol=1e-9)


def test_a_gradient_tells_what_the_hessian_makes_of_them(network):
    problem, point, expected = network
    found, slope = at(problem, point), gradient(problem, point)
    basis = found.basis()
    torch.testing.assert_close(basis.weights @ torch.from_numpy(found.matrix.toarray()), basis.rows)
    assert bool(basis.sound.all())
    images, exact = found.images(basis, slope), Curvature(problem, point, problem.train)(basis.rows)
    assert (float(exact.norm()) > 1e-3) == bool({"rescaling", "attention"} & set(expected))
    assert float((images - exact).norm()) < 1e-12 * max(1.0, float(exact.norm()))


def test_of_a_block_they_are_those_that_move_nothing_outside(small, dense):
    problem, point = small
    found = at(problem, point).within(matching(problem.layout, "0,1"))
    chosen = torch.from_numpy(found.chosen)
    assert found.counts == {"rescaling": 2, "shift": 2}
    block = dense(problem, point)[chosen][:, chosen]
    basis = found.basis()
    images = found.images(basis, gradient(problem, point))
    assert float((images - basis.rows @ block).norm()) < 1e-12 * float(block.norm())
    assert float(images.norm()) > 1e-6


def test_of_directions_that_are_nearly_the_same_the_difference_has_no_image():
    sizes = np.array([1.0, 1.0, 1.0])
    almost = Affine((2, 3), np.array([0, 1, 1]), np.array([0, 0, 1]), np.array([0, 0, 2]), np.array([1.0, 1.0, 1e-5]))
    found = Generators(almost, sizes, ("rescaling",) * 2)
    basis = found.basis()
    assert basis.sound.tolist() == [True, False]
    images = found.images(basis, torch.tensor([3.0, 4.0, 0.0]))
    assert images.isnan().any(1).tolist() == [False, True]


def test_the_hessian_has_them_as_null_vectors_where_the_gradient_is_zero(small, make, dense):
    problem, point = small
    x, _ = all_of(problem)
    targets = problem.outputs(point.theta, point.buffers, x).detach()
    fitted = make(problem.module, IMAGES, targets, loss=squared_error)
    found = at(fitted, point)
    assert found.counts == {"rescaling": 4, "shift": 2}
    rows = found.basis().rows
    hessian = dense(fitted, point)
    assert float((rows @ hessian).norm()) < 1e-13 * float(hessian.norm())


def test_a_unit_of_zeros_has_no_direction(make):
    torch.manual_seed(0)
    problem = make(mlp((4,), 3, width=5, depth=1), VECTORS, LABELS)
    point = general(problem)
    tensors = {name: value.clone() for name, value in problem.layout.split(point.theta).items()}
    (first, bias, second, _) = tensors.values()
    first[2], bias[2], second[:, 2] = 0.0, 0.0, 0.0
    dead = Point(problem.layout.flatten(tensors), {})
    assert (len(at(problem, point).basis().rows), len(at(problem, dead).basis().rows)) == (5 + 6, 4 + 6)


def test_what_is_blind_to_a_constant_is_found_where_the_network_cannot_be_traced(make):
    torch.manual_seed(0)
    problem = make(Branching(), VECTORS, LABELS)
    found = at(problem, general(problem))
    assert found.counts == {"loss": 5}
    assert "depends on the data" in found.lacking


def test_statistics_without_gamma_and_beta_leave_the_filter_s_factor_no_way(make):
    torch.manual_seed(0)
    module = nn.Sequential(
        nn.Conv2d(3, 2, 3), nn.BatchNorm2d(2, affine=False), nn.ReLU(), nn.Flatten(), nn.Linear(72, 3)
    )
    problem = make(module, IMAGES, LABELS)
    assert at(problem, general(problem)).counts == {"loss": 73}


def test_parameters_that_are_not_trained_stay(make):
    torch.manual_seed(0)
    module = mlp((4,), 3, width=5, depth=1)
    parameters = list(module.parameters())
    parameters[0].requires_grad_(False)
    parameters[3].requires_grad_(False)
    problem = make(module, VECTORS, LABELS)
    found = at(problem, general(problem))
    assert found.counts == {"loss": 5}
    assert found.matrix.shape == (5, 20)


def test_directions_that_do_not_fit_are_refused(small):
    found = at(*small)
    with pytest.raises(Refused, match="take"):
        found.basis(memory=1000)


def test_what_does_not_fit_is_refused_before_anything_is_proved_by_trial(small, monkeypatch):
    problem, point = small
    x, y = all_of(problem)
    found = generators(problem, point, x, y)
    own, need = found.counts["rescaling"], 3 * 8 * len(point.theta)
    monkeypatch.setattr(tangents, "prove", pytest.fail)
    monkeypatch.setattr(shifts, "of_axes", pytest.fail)
    with pytest.raises(Refused, match=f"at least {own} directions of symmetries of {len(point.theta)} parameters"):
        generators(problem, point, x, y, own * need - 1)
    monkeypatch.undo()
    assert generators(problem, point, x, y, own * need).kinds == found.kinds
