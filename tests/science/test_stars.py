import pytest
import torch

from rashomon_cli.science.stars import fit
from rashomon_cli.science.training import SGD, TrainState


def trained(problem, anchors, hub, **options):
    cfg = SGD(**{"epochs": 200, "lr": 0.1, "weight_decay": 0.0, "seed": 3} | options)
    *_, state = fit(problem, anchors, lambda _: iter(problem.train), 1, cfg, TrainState(0, hub, None, {}))
    return state


def test_the_hub_of_a_quadratic_is_its_minimiser_seen_from_the_anchors(function_problem):
    # E over t of L = ½ E((1−t)h + t·a)² has its minimum at h = −a·E[t(1−t)]/E[(1−t)²] = −a/2: anchors at 1 and 3, −1.
    problem = function_problem(lambda p: 0.5 * p.square().sum(1), 1)
    anchors = torch.tensor([[1.0], [3.0]], dtype=torch.float64)
    state = trained(problem, anchors, anchors.mean(0), epochs=3000, lr=0.02, momentum=0.0)
    assert state.theta.item() == pytest.approx(-1.0, abs=0.1)


def test_the_weight_decay_is_that_of_the_points_on_the_spokes(function_problem):
    # Without any other loss, wd·½E‖(1−t)h + t·a‖² is the quadratic above.
    problem = function_problem(lambda p: 0.0 * p.sum(1), 1)
    anchors = torch.tensor([[2.0]], dtype=torch.float64)
    state = trained(problem, anchors, anchors.mean(0), epochs=3000, lr=0.02, momentum=0.0, weight_decay=1.0)
    assert state.theta.item() == pytest.approx(-1.0, abs=0.1)


def test_a_star_joins_what_no_line_joins(function_problem):
    # A valley y = x² from (−1, 1) to (1, 1): the line between the two is at height 1 in the middle.
    problem = function_problem(lambda p: (p[:, 1] - p[:, 0] ** 2) ** 2, 2)
    anchors = torch.tensor([[-1.0, 1.0], [1.0, 1.0]], dtype=torch.float64)
    hub = trained(problem, anchors, anchors.mean(0), epochs=600, lr=0.05).theta

    def highest(a, b):
        points = torch.stack([(1 - t) * a + t * b for t in torch.linspace(0, 1, 101, dtype=torch.float64)])
        return float(((points[:, 1] - points[:, 0] ** 2) ** 2).max())

    assert highest(*anchors) == pytest.approx(1.0)
    assert max(highest(hub, anchor) for anchor in anchors) < 0.1


def test_an_interrupted_training_goes_on_bit_for_bit(function_problem):
    problem = function_problem(lambda p: (p**4).sum(1), 3)
    anchors = torch.randn(3, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    cfg = SGD(6, 0.05, weight_decay=1e-3)
    states = list(
        fit(problem, anchors, lambda _: iter(problem.train), 1, cfg, TrainState(0, anchors.mean(0), None, {}))
    )
    again = list(fit(problem, anchors, lambda _: iter(problem.train), 1, cfg, states[2]))
    assert torch.equal(again[-1].theta, states[-1].theta)


def test_no_hub_joins_two_pieces(function_problem):
    # (ab − 1)²: every path from (1, 1) to (−1, −1) crosses ab = 0, where the loss is 1.
    problem = function_problem(lambda p: (p[:, 0] * p[:, 1] - 1) ** 2, 2)
    anchors = torch.tensor([[1.0, 1.0], [-1.0, -1.0]], dtype=torch.float64)
    hub = trained(problem, anchors, torch.tensor([0.3, -0.2], dtype=torch.float64), epochs=300, lr=0.05).theta
    ts = torch.linspace(0, 1, 1001, dtype=torch.float64)[:, None]
    products = torch.cat([((1 - ts) * hub + ts * anchor).prod(1) for anchor in anchors])
    assert float((products - 1).square().max()) >= 0.99
