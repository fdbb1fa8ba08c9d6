"""Pairs of solutions of which it is known whether a path of zero loss joins them, and what is found between them."""

import math

import numpy as np
import pytest
import torch
from torch import nn

from rashomon_cli.science.bends import pushed
from rashomon_cli.science.curves import fit, with_bends
from rashomon_cli.science.paths import Path, line
from rashomon_cli.science.positions import Worst
from rashomon_cli.science.problem import squared_error
from rashomon_cli.science.training import SGD, TrainState

FINE = np.linspace(0, 1, 1001)


def vector(*values):
    return torch.tensor(values, dtype=torch.float64)


def losses(problem, path, ts=FINE):
    """The loss on all examples at positions of a path."""
    (x, y), *_ = problem.train
    with torch.no_grad():
        return np.array([float(problem.mean_loss(path.at(t), {}, x, y)) for t in ts])


def barrier(problem, path):
    found = losses(problem, path)
    return found.max() - max(found[0], found[-1])


def trained(problem, path, steps=800, lr=0.05, worst=False, seed=0):
    batch = next(iter(problem.train))
    state = TrainState(0, path.points[1:-1].clone(), None, {})
    cfg = SGD(1, lr, 0.9, weight_decay=0.0, schedule="one-cycle", seed=seed)
    (state,) = fit(problem, path, lambda _: iter([batch] * steps), steps, cfg, state, worst=Worst() if worst else None)
    return with_bends(path, state.theta)


def hyperbola(p):
    """(ab − 1)²: its zeros are two pieces, one with a and b positive, one with both negative."""
    return (p[:, 0] * p[:, 1] - 1) ** 2


def cross(p):
    """x²y²: its zeros are the two axes, which meet in the origin only."""
    return p[:, 0] ** 2 * p[:, 1] ** 2


def mixture(p):
    """(p·ab + (1 − p)·cd − 1)²: two networks ab and cd of one task behind a mixing weight."""
    a, b, c, d, share = p.T
    return (share * a * b + (1 - share) * c * d - 1) ** 2


@pytest.mark.parametrize(("kind", "bends"), [("bezier", 1), ("bezier", 3), ("polyline", 3)])
def test_points_on_one_branch_of_the_hyperbola_are_joined(function_problem, kind, bends):
    problem = function_problem(hyperbola, 2)
    straight = line(vector(1, 1), vector(2, 0.5), bends, kind)
    assert barrier(problem, straight) == pytest.approx(1 / 64, abs=1e-6)  # the midpoint's product is 1.125
    assert barrier(problem, trained(problem, straight)) < 1e-3


@pytest.mark.parametrize("worst", [False, True])
@pytest.mark.parametrize("seed", [0, 1])
def test_no_path_joins_the_two_branches_of_the_hyperbola(function_problem, worst, seed):
    # On the way from (1, 1) to (−1, −1) a changes its sign: where it is 0, so is the product, and the loss is 1.
    problem = function_problem(hyperbola, 2)
    start = line(vector(1, 1), vector(-1, -1), 3, "bezier")
    start = pushed(start, torch.Generator().manual_seed(seed), 0.5) if seed else start
    found = barrier(problem, trained(problem, start, worst=worst, seed=seed))
    assert 1 - 1e-4 <= found < 1.01


def test_the_arms_of_the_cross_are_joined_through_the_origin(function_problem):
    problem = function_problem(cross, 2)
    straight = line(vector(1, 0), vector(0, 1), 1)
    assert barrier(problem, straight) == pytest.approx(1 / 16)
    found = trained(problem, straight, steps=2000, lr=0.3)
    assert barrier(problem, found) < 1e-6
    assert float(found.at(0.5).norm()) < 0.01
    corner = Path("polyline", torch.stack([vector(1, 0), vector(0, 0), vector(0, 1)]))
    assert losses(problem, corner).max() == 0


def test_a_mixing_weight_joins_what_one_network_alone_does_not(function_problem):
    # One network alone is the hyperbola: (1, 1) and (−1, −1) lie on pieces that no path joins. With a second network
    # behind a mixing weight the first one is switched off, changed and switched on again.
    problem = function_problem(mixture, 5)
    start, end = vector(1, 1, 1, 1, 1), vector(-1, -1, 1, 1, 1)
    on_purpose = Path("polyline", torch.stack([start, vector(1, 1, 1, 1, 0), vector(-1, -1, 1, 1, 0), end]))
    assert losses(problem, on_purpose).max() < 1e-28
    straight = line(start, end, 3)
    assert barrier(problem, straight) == pytest.approx(1)
    assert barrier(problem, trained(problem, straight, steps=2000, lr=0.1, worst=True)) < 0.01


class Units(nn.Module):
    """ReLU units without biases: x → V ReLU(W x)."""

    def __init__(self, inputs, width, outputs):
        super().__init__()
        self.w = nn.Linear(inputs, width, bias=False)
        self.v = nn.Linear(width, outputs, bias=False)

    def forward(self, x):
        return self.v(torch.relu(self.w(x)))


def circle(count=64):
    """Inputs evenly on the unit circle: all four quadrants."""
    angles = 2 * math.pi * (torch.arange(count, dtype=torch.float64) + 0.5) / count
    return torch.stack([angles.cos(), angles.sin()], 1)


def weights(w, v):
    """θ of hidden units with ingoing weights w (K, inputs) and outgoing weights v (K, outputs)."""
    return torch.cat([vector(*w).flatten(), vector(*v).T.flatten()])


@pytest.fixture
def swap(make):
    """swap(width): the problem (ReLU(x₁), ReLU(x₂)), a solution, and the same with its units swapped."""

    def build(width):
        x = circle()
        problem = make(Units(2, width, 2), x, torch.relu(x), loss=squared_error)
        spare = [[0, 0]] * (width - 2)
        return (
            problem,
            weights([ONE, TWO, *spare], [ONE, TWO, *spare]),
            weights([TWO, ONE, *spare], [TWO, ONE, *spare]),
        )

    return build


ONE, TWO, OFF = [1, 0], [0, 1], [0, 0]


def least_at_a_singular_point(x, y):
    """The least loss of two units whose ingoing weights are parallel, W = (u, c·u): a bound under every swap.

    det W is 1 where the units are in order and −1 where they are swapped, so every path has a point with det W = 0.
    There the output is α ReLU(u·x) + β ReLU(−u·x) for some direction u: a least-squares problem for each direction.
    """
    least = math.inf
    for angle in np.linspace(0, math.pi, 721):
        s = x @ vector(math.cos(angle), math.sin(angle))
        features = torch.stack([torch.relu(s), torch.relu(-s)], 1)
        residual = y - features @ torch.linalg.lstsq(features, y).solution
        least = min(least, float(residual.square().mean()))
    return least


def test_the_bound_is_that_of_the_uniform_circle():
    # On the whole circle the best direction is an axis: (1/4 − 1/(2π²))/2, from E ReLU(cos)² = 1/4 and
    # E ReLU(cos θ) ReLU(sin θ) = 1/(4π).
    x = circle(4096)
    assert least_at_a_singular_point(x, torch.relu(x)) == pytest.approx((1 / 4 - 1 / (2 * math.pi**2)) / 2, abs=1e-4)


@pytest.mark.parametrize("kind", ["bezier", "polyline"])
def test_no_path_swaps_two_units_at_width_2(swap, kind):
    problem, start, end = swap(2)
    (x, y), *_ = problem.train
    assert losses(problem, line(start, end), [0.0, 1.0]).max() == 0
    bound = least_at_a_singular_point(x, y)
    assert bound > 0.09
    straight = line(start, end, 3, kind)
    starts = [straight] + [pushed(straight, torch.Generator().manual_seed(k), 0.5) for k in (1, 2)]
    found = min(barrier(problem, trained(problem, path, 300, 0.3, True, k)) for k, path in enumerate(starts))
    assert found >= bound - 1e-3
    assert found < barrier(problem, straight)


def test_with_one_unit_more_the_share_of_a_task_moves_from_unit_to_unit(swap):
    problem, start, end = swap(3)
    steps = [
        ([ONE, TWO, ONE], [ONE, TWO, OFF]),  # the spare unit learns the first task; nobody listens to it yet
        ([ONE, TWO, ONE], [OFF, TWO, ONE]),  # and takes it over, share by share
        ([TWO, TWO, ONE], [OFF, TWO, ONE]),  # the first unit, free now, learns the second task
        ([TWO, TWO, ONE], [TWO, OFF, ONE]),
        ([TWO, ONE, ONE], [TWO, OFF, ONE]),
        ([TWO, ONE, ONE], [TWO, ONE, OFF]),
    ]
    path = Path("polyline", torch.stack([start, *(weights(w, v) for w, v in steps), end]))
    assert losses(problem, path).max() < 1e-30
    assert barrier(problem, line(start, end)) > 0.05


def test_a_path_at_width_3_is_found_below_every_path_at_width_2(swap):
    problem, start, end = swap(3)
    (x, y), *_ = problem.train
    path = pushed(line(start, end, 5), torch.Generator().manual_seed(0), 0.5)
    assert barrier(problem, trained(problem, path, 600, 0.3, True)) < least_at_a_singular_point(x, y) / 10


def test_swapped_units_need_rescaling_too(make):
    # One unit as (1, 1) and as (2, ½) computes the same; their midpoint (1.5, 0.75) gives 1.125 times as much.
    x = circle()[:, :1]
    problem = make(Units(1, 1, 1), x, torch.relu(x), loss=squared_error)
    path = line(vector(1, 1), vector(2, 0.5))
    expected = 0.125**2 * float(torch.relu(x).square().mean())
    assert losses(problem, path, [0.0, 0.5, 1.0]) == pytest.approx([0, expected, 0])
    assert barrier(problem, path) == pytest.approx(expected)
