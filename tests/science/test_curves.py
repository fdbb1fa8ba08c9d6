import numpy as np
import pytest
import torch
from numpy.polynomial.legendre import leggauss
from scipy.optimize import minimize

from rashomon_cli.science.curves import fit, with_bends
from rashomon_cli.science.paths import Path, line
from rashomon_cli.science.positions import Worst
from rashomon_cli.science.training import SGD, TrainState

MATRIX = torch.tensor([[3.0, 1.0], [1.0, 2.0]], dtype=torch.float64)
CENTRE = torch.tensor([0.5, 2.0], dtype=torch.float64)
START, END = torch.tensor([-1.0, 0.0], dtype=torch.float64), torch.tensor([2.0, 0.5], dtype=torch.float64)


def quadratic(p):
    return 0.5 * ((p - CENTRE) @ MATRIX * (p - CENTRE)).sum(1)


def best_bends(kind, bends, weight_decay=0.0):
    """scipy's minimiser of the mean loss along the path, by Gauss-Legendre quadrature on each half."""
    nodes, shares = leggauss(20)
    ts = np.concatenate([(nodes + 1) / 4, (nodes + 3) / 4])

    path = Path(kind, torch.stack([START, *[START] * bends, END]))
    weights = np.stack([path.weights(t) for t in ts])

    def mean_loss(flat):
        theta = weights @ np.vstack([START.numpy(), flat.reshape(bends, 2), END.numpy()])
        away = theta - CENTRE.numpy()
        each = 0.5 * (away @ MATRIX.numpy() * away).sum(1) + weight_decay / 2 * (theta**2).sum(1)
        return np.concatenate([shares, shares]) @ each / 4

    return minimize(mean_loss, np.zeros(2 * bends)).x.reshape(bends, 2)


@pytest.mark.parametrize(("kind", "weight_decay"), [("bezier", 0.0), ("polyline", 0.0), ("bezier", 0.5)])
def test_the_trained_bend_of_a_quadratic_is_scipys_minimiser(function_problem, kind, weight_decay):
    problem = function_problem(quadratic, 2)
    path = line(START, END, 1, kind)
    batch = next(iter(problem.train))
    cfg = SGD(30, 0.05, 0.9, weight_decay=weight_decay, schedule="one-cycle", seed=3)
    state = TrainState(0, path.points[1:-1].clone(), None, {})
    *_, state = fit(problem, path, lambda epoch: iter([batch] * 200), 200, cfg, state)
    np.testing.assert_allclose(state.theta.numpy(), best_bends(kind, 1, weight_decay), atol=0.03)


def test_the_ends_stay_and_the_same_seed_gives_the_same_bends(function_problem):
    problem = function_problem(quadratic, 2)
    path = line(START, END, 2, "bezier")
    batch = next(iter(problem.train))

    def run(seed, start=None):
        state = start or TrainState(0, path.points[1:-1].clone(), None, {})
        return list(fit(problem, path, lambda epoch: iter([batch] * 5), 5, SGD(3, 0.02, seed=seed), state))

    one, two, other = run(1), run(1), run(2)
    assert torch.equal(one[-1].theta, two[-1].theta)
    assert not torch.equal(one[-1].theta, other[-1].theta)
    assert torch.equal(run(1, one[0])[-1].theta, one[-1].theta)  # resumed after the first epoch
    trained = with_bends(path, one[-1].theta)
    assert torch.equal(trained.at(0.0), START)
    assert torch.equal(trained.at(1.0), END)


def hill(p):
    """A narrow hill between (−1, 0) and (1, 0), in a bowl that rises slowly to all sides."""
    return torch.exp(-(p[:, 0] ** 2) / 0.05 - p[:, 1] ** 2 / 0.5) + 0.2 * (p**2).sum(1)


def over_the_hill(problem, worst, seed=0, start=None, steps=250):
    ends = torch.tensor([[-1.0, 0.3], [1.0, 0.3]], dtype=torch.float64)
    path = line(*ends, 1, "bezier")
    batch = next(iter(problem.train))
    state = start or TrainState(0, path.points[1:-1].clone(), None, {})
    cfg = SGD(4, 0.02, 0.9, weight_decay=0.0, schedule="one-cycle", seed=seed)
    states = [
        (now, worst and worst.losses.copy())
        for now in fit(problem, path, lambda e: iter([batch] * steps), steps, cfg, state, worst=worst)
    ]
    trained = with_bends(path, states[-1][0].theta)
    highest = max(float(hill(trained.at(t)[None])) for t in np.linspace(0, 1, 401))
    return states, highest


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_positions_where_the_loss_is_worst_lower_the_highest_point(function_problem, seed):
    problem = function_problem(hill, 2)
    (_, uniform), (_, worst) = over_the_hill(problem, None, seed), over_the_hill(problem, Worst(), seed)
    assert worst < uniform - 0.02


def test_positions_where_the_loss_is_worst_are_resumed_from_their_estimates(function_problem):
    problem = function_problem(hill, 2)
    (whole, _), (again, _) = (over_the_hill(problem, Worst(), steps=50) for _ in range(2))
    assert torch.equal(whole[-1][0].theta, again[-1][0].theta)
    state, losses = whole[1]
    later, _ = over_the_hill(problem, Worst(losses), start=state, steps=50)
    assert torch.equal(later[-1][0].theta, whole[-1][0].theta)
    forgetful, _ = over_the_hill(problem, Worst(), start=state, steps=50)
    assert not torch.equal(forgetful[-1][0].theta, whole[-1][0].theta)
