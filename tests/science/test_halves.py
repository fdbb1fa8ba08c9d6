import numpy as np
import pytest
import torch
from torch import nn

from rashomon_cli.science import halves
from rashomon_cli.science.halves import moves
from rashomon_cli.science.paths import Path
from rashomon_cli.science.problem import Layout, Problem, cross_entropy, squared_error


def two_halves():
    """Four hidden units, the first two of one network, the last two of another; one output with a bias."""
    torch.manual_seed(0)
    module = nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 2))
    one = {n: torch.randn_like(p) for n, p in module.named_parameters()}
    other = {n: torch.randn_like(p) for n, p in module.named_parameters()}
    for own, free in ((one, slice(2, 4)), (other, slice(0, 2))):
        own["0.weight"][free] = 0
        own["0.bias"][free] = 0
        own["2.weight"][:, free] = 0
    return module, one, other


def flat(problem, named):
    return problem.layout.flatten(named).double()


@pytest.fixture(params=[cross_entropy, squared_error])
def pair(request, make):
    module, one, other = two_halves()
    problem = make(module, torch.randn(40, 3), torch.randint(0, 2, (40,)), loss=request.param)
    shifted = torch.cat(
        [torch.full((size,), n.startswith("2")) for n, size in zip(problem.layout.names, problem.layout.sizes)]
    )
    return problem, flat(problem, one), flat(problem, other), shifted


def test_the_control_points_are_those_of_growing_shifting_and_erasing(pair):
    _, one, other, shifted = pair
    points = moves(one, other, shifted)
    assert torch.equal(points[0], one)
    assert torch.equal(points[3], other)
    assert torch.equal(points[1][shifted], one[shifted])
    assert torch.equal(points[2][shifted], other[shifted])
    assert torch.equal(points[1][~shifted], (one + other)[~shifted])
    assert torch.equal(points[2][~shifted], points[1][~shifted])


def test_outputs_are_the_weighted_mean_of_both_and_the_loss_is_below_its_line(pair):
    problem, one, other, shifted = pair
    points = moves(one, other, shifted)
    f, g = (halves.outputs(problem, theta, problem.train) for theta in (one, other))
    assert halves.deviation(problem, points, f, g, problem.train) < 1e-14
    (x, y), *_ = problem.train
    path = Path("polyline", points)
    losses = np.array([float(problem.mean_loss(path.at(t), {}, x, y)) for t in np.linspace(0, 1, 31)])
    first, last = losses[0], losses[-1]
    assert losses[:11] == pytest.approx(first, abs=1e-14)
    assert losses[20:] == pytest.approx(last, abs=1e-14)
    share = np.linspace(0, 1, 11)
    assert (losses[10:21] <= (1 - share) * first + share * last + 1e-14).all()
    assert losses.max() - max(first, last) <= 1e-12


def test_a_unit_that_reads_the_other_half_is_noticed(pair):
    problem, one, other, shifted = pair
    module = nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.LayerNorm(4, elementwise_affine=False), nn.Linear(4, 2))
    mixed = Problem(module.double(), Layout.of(module), problem.loss, problem.train, problem.test)
    points = moves(one, other, shifted)
    f, g = (halves.outputs(mixed, theta, problem.train) for theta in (one, other))
    assert halves.deviation(mixed, points, f, g, problem.train) > 1e-3


def test_small_outputs_are_compared_as_strictly_as_large_ones(pair):
    """Outputs of both are 1e-12 of what they were: a half that is not where it should be is noticed all the same."""
    problem, one, other, shifted = pair
    points = moves(*(torch.where(shifted, 1e-12 * theta, theta) for theta in (one, other)), shifted)
    f, g = (halves.outputs(problem, theta, problem.train) for theta in (points[0], points[3]))
    assert halves.deviation(problem, points, f, g, problem.train) < 1e-14
    wrong = points.clone()
    wrong[2] = points[1]
    assert halves.deviation(problem, wrong, f, g, problem.train) > 0.1
