from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import nn

from rashomon_cli.science.idle import idle
from rashomon_cli.science.problem import Point, fresh_buffers
from rashomon_cli.science.symmetries import find


class Net(nn.Module):
    """Two layers; unit 0 is dead, unit 1 stuck at a constant, the others at work."""

    def __init__(self, activation) -> None:
        super().__init__()
        self.first, self.activation, self.last = nn.Linear(4, 6), activation, nn.Linear(6, 3)

    def forward(self, x):
        return self.last(self.activation(self.first(x)))


class Clipped(nn.Module):
    """Between 0 and 1; a module, so that its operation is traced."""

    def forward(self, x):
        return torch.nn.functional.hardtanh(x, 0.0, 1.0)


@pytest.fixture
def network(make):
    torch.manual_seed(0)
    module = Net(nn.ReLU6())
    with torch.no_grad():
        module.first.bias[0] = -100.0
        module.first.bias[1] = 100.0
    x = torch.randn(40, 4)
    x[:, 2] = 0.0
    return made(make, module, x)


def made(make, module, x, classes=3):
    problem = make(module, x, torch.randint(0, classes, (len(x),)))
    point = Point(problem.layout.flatten(dict(problem.module.named_parameters())), fresh_buffers(problem.module))
    return problem, point, find(problem.module, next(iter(problem.train))[0][:4])[1]


def jacobian(problem, point):
    """Of all outputs less their mean over classes (n·C, P)."""

    def outputs(theta):
        found = torch.cat([problem.outputs(theta, point.buffers, x) for x, _ in problem.train])
        return (found - found.mean(1, keepdim=True)).reshape(-1)

    problem.module.eval()
    return torch.autograd.functional.jacobian(outputs, point.theta)


def names(problem, mask):
    """Indices by parameter."""
    return {name: part.nonzero().tolist() for name, part in problem.layout.split(mask).items()}


def projector(found, total):
    return found.project(torch.eye(total, dtype=torch.float64))


def test_a_dead_unit_frees_what_makes_it_and_what_reads_it(network):
    problem, point, symmetries = network
    found = idle(problem, point, problem.train, symmetries)
    assert names(problem, found.dead) == {
        "first.weight": [[row, column] for row in (0, 1) for column in range(4)],
        "first.bias": [[0], [1]],
        "last.weight": [[0, 0], [1, 0], [2, 0]],
        "last.bias": [],
    }
    # An input that is always 0 is no unit: its weights change nothing here, and are not dead.
    quiet = names(problem, found.quiet)
    assert [place for place in quiet["first.weight"] if place[0] == 5] == [[5, 2]]


def test_a_unit_that_is_stuck_trades_its_weights_against_the_bias(network):
    problem, point, symmetries = network
    found = idle(problem, point, problem.train, symmetries)
    (trade,) = found.trades
    assert trade.constants == pytest.approx(torch.full((3, 1), 6.0).numpy(), rel=1e-9)
    assert problem.layout.split(torch.arange(problem.layout.total))["last.weight"][:, 1].tolist() == (
        trade.weights[:, 0].tolist()
    )
    assert found.dimension == 2 * 4 + 2 + 3 + 3


def test_the_directions_are_those_of_the_jacobian_restricted_to_these_parameters(network):
    problem, point, symmetries = network
    found = idle(problem, point, problem.train, symmetries)
    whole = projector(found, problem.layout.total)
    torch.testing.assert_close(whole, whole.T, atol=1e-12, rtol=0)
    torch.testing.assert_close(whole @ whole, whole, atol=1e-12, rtol=0)
    assert float(whole.trace()) == pytest.approx(found.dimension)
    assert float((jacobian(problem, point) @ whole).abs().max()) < 1e-9
    # Within the parameters of units 0 and 1 and the last bias there is no further one but the shift of all logits.
    allowed = torch.zeros(problem.layout.total, dtype=torch.bool)
    pieces = problem.layout.split(allowed)
    pieces["first.weight"][:2] = pieces["first.bias"][:2] = pieces["last.weight"][:, :2] = True
    pieces["last.bias"][:] = True
    rank = torch.linalg.matrix_rank(jacobian(problem, point)[:, allowed])
    shifts = 1
    assert int(allowed.sum()) - int(rank) == found.dimension + shifts


def test_a_live_network_has_none(make):
    torch.manual_seed(1)
    problem, point, symmetries = made(make, Net(nn.Tanh()), torch.randn(40, 4))
    found = idle(problem, point, problem.train, symmetries)
    assert found.dimension == 0
    assert not found.quiet.any()
    assert float(found.project(torch.randn(2, problem.layout.total).double()).abs().max()) == 0


def test_without_symmetries_the_weights_that_read_a_dead_unit_are_left_out(network):
    problem, point, _ = network
    found = idle(problem, point, problem.train)
    dead = names(problem, found.dead)
    assert dead["first.bias"] == [[0], [1]]
    assert len(dead["first.weight"]) == 8
    assert dead["last.weight"] == []
    assert found.trades == ()


def test_several_stuck_units_and_a_bias_leave_one_direction_less_than_they_are(make):
    torch.manual_seed(2)
    x = torch.randn(40, 4)
    _, _, symmetries = made(make, Net(Clipped()), x)
    module = Net(Clipped())
    with torch.no_grad():
        module.first.bias[:3] = 100.0
    problem = make(module, x, torch.randint(0, 3, (40,)))
    point = Point(problem.layout.flatten(dict(module.named_parameters())), {})
    found = idle(problem, point, problem.train, symmetries)
    assert found.dimension == 3 * (4 + 1) + 3 * 3
    whole = projector(found, problem.layout.total)
    assert float((jacobian(problem, point) @ whole).abs().max()) < 1e-9
    assert float(whole.trace()) == pytest.approx(found.dimension)


class Filters(nn.Module):
    """A channel of weight 0 before BatchNorm: its scale and shift do the same thing."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.norm = nn.Conv2d(1, 4, 3, padding=1, bias=False), nn.BatchNorm2d(4)
        self.next, self.head = nn.Conv2d(4, 2, 3), nn.Linear(2, 3)

    def forward(self, x):
        h = torch.relu(self.norm(self.conv(x)))
        return self.head(torch.tanh(self.next(h)).mean((2, 3)))


def test_channels_that_are_constant_before_or_after_a_normalisation(make):
    torch.manual_seed(3)
    module = Filters()
    with torch.no_grad():
        module.conv.weight[0] = 0.0
        module.norm.running_mean[0] = 0.75
        module.norm.bias[1] = -100.0
        module.norm.bias[0] = 2.0
    problem, point, symmetries = made(make, module, torch.randn(30, 1, 6, 6))
    found = idle(problem, point, problem.train, symmetries)
    dead = names(problem, found.dead)
    assert dead["norm.weight"] == dead["norm.bias"] == [[1]]
    assert {tuple(place[:1]) for place in dead["conv.weight"]} == {(1,)}
    assert len(dead["next.weight"]) == 2 * 9
    scale, constant = found.trades
    assert scale.weights.shape == (1, 1)
    assert float(scale.constants[0, 0]) == pytest.approx(-0.75 / (1 + 1e-5) ** 0.5, rel=1e-9)
    # What reads the channel at the value 2 − 0.75γ/σ inside the image: nothing is padded here.
    assert constant.weights.shape == (2, 9)
    whole = projector(found, problem.layout.total)
    assert float((jacobian(problem, point) @ whole).abs().max()) < 1e-9


def test_in_single_precision_the_same_is_found(network):
    problem, point, symmetries = network
    expected = idle(problem, point, problem.train, symmetries)
    problem.module.float()
    single = replace(problem, train=replace(problem.train, dtype=torch.float32))
    found = idle(single, Point(point.theta.float(), {}), single.train, symmetries)
    assert found.dimension == expected.dimension
    assert bool((found.dead == expected.dead).all())
