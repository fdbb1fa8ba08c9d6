import functools
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from rashomon_cli.core.errors import Refused
from rashomon_cli.science import halves, transplant
from rashomon_cli.science.agreement import deviation
from rashomon_cli.science.batchnorm import refresh
from rashomon_cli.science.paths import Path
from rashomon_cli.science.problem import Point, cross_entropy, fresh_buffers, squared_error
from rashomon_cli.science.profile import train_losses
from rashomon_cli.science.symmetries import find, rescale
from rashomon_cli.science.training import SGD, TrainState, train
from rashomon_cli.sources.models.mlp import mlp
from rashomon_cli.sources.models.preresnet import preresnet8
from rashomon_cli.sources.models.smallcnn import smallcnn

IMAGE, CLASSES = (1, 8, 8), 3


class Heads(nn.Module):
    """Four attention heads of three units over eight tokens, without LayerNorm."""

    def __init__(self):
        super().__init__()
        self.q, self.k, self.v = (nn.Linear(8, 12) for _ in range(3))
        self.out = nn.Linear(12, CLASSES)

    def forward(self, x):
        x = x[:, 0]
        q, k, v = (each(x).unflatten(-1, (4, 3)).transpose(1, 2) for each in (self.q, self.k, self.v))
        found = nn.functional.scaled_dot_product_attention(q, k, v)
        return self.out(found.transpose(1, 2).flatten(2)).mean(1)


class Grouped(nn.Module):
    """A convolution in four groups, and one for each channel."""

    def __init__(self):
        super().__init__()
        self.up = nn.Conv2d(1, 8, 3)
        self.norm = nn.BatchNorm2d(8)
        self.groups = nn.Conv2d(8, 8, 3, groups=4)
        self.each = nn.Conv2d(8, 8, 1, groups=8)
        self.head = nn.Linear(8, CLASSES)

    def forward(self, x):
        return self.head(torch.relu(self.each(torch.relu(self.groups(torch.relu(self.norm(self.up(x))))))).mean((2, 3)))


BUILD = {
    "mlp": lambda: mlp(IMAGE, CLASSES, 5),
    "cnn": lambda: smallcnn(IMAGE, CLASSES, 3),
    "residual": lambda: preresnet8(IMAGE, CLASSES, 2),
    "heads": Heads,
    "groups": Grouped,
}


class OneByOne:
    """Examples in batches of one."""

    def __init__(self, x):
        self.x, self.count = x, len(x)

    def __iter__(self):
        return iter((each[None], None) for each in self.x)


class Case:
    """Two random networks of one kind, what is interchangeable in them, and halves of both."""

    def __init__(self, build, make, loss=cross_entropy):
        torch.manual_seed(0)
        x, y = torch.randn(60, *IMAGE), torch.randint(0, CLASSES, (60,))
        self.problem = make(build(), x, y, loss=loss)
        self.layout = self.problem.layout
        theta = self.layout.flatten(dict(self.problem.module.named_parameters()))
        self.ends = [theta + 0.3 * torch.randn_like(theta) for _ in range(2)]
        _, self.symmetries, _ = find(self.problem.module, x[:4])
        transplant.check(self.symmetries, self.layout.names)
        self.scores = [self.importance(end, seed) for seed, end in enumerate(self.ends)]
        self.chosen = transplant.choose(self.symmetries, *self.scores)
        keeps = (self.chosen.one, self.chosen.other)
        self.masks = [transplant.mask(self.symmetries, self.layout, keep) for keep in keeps]

    def importance(self, theta, seed, batch_size=10):
        own = refresh(self.problem, theta, fresh_buffers(self.problem.module), self.problem.train)
        few = replace(self.problem.train, batch_size=batch_size)
        return transplant.importance(self.problem, Point(theta, own), self.symmetries, few, seed)

    def there(self, theta):
        return transplant.moved(self.symmetries, self.layout, theta, self.chosen.source)

    def points(self, one, other):
        inner = halves.moves(one, self.there(other), transplant.shifted(self.symmetries, self.layout))
        return torch.cat([self.ends[0][None], inner, self.there(self.ends[1])[None]])

    def outputs(self, theta):
        return halves.outputs(self.problem, theta, self.problem.train)

    def losses(self, points, each):
        path = Path("polyline", points)
        ts = np.linspace(0, 1, each * (len(points) - 1) + 1)
        return np.array([train_losses(self.problem, path.at(t), self.problem.train).mean() for t in ts])


@pytest.fixture(params=BUILD)
def case(request, make):
    return Case(BUILD[request.param], make)


def test_the_halves_do_not_read_each_other(case):
    one, other = (theta * mask for theta, mask in zip(case.ends, case.masks))
    points = case.points(one, other)[1:-1]
    f, g = case.outputs(one), case.outputs(other)
    assert halves.deviation(case.problem, points, f, g, case.problem.train) < 1e-12
    assert float((f - g).abs().max()) > 1e-3
    for mask in case.masks:
        assert 0.1 < float(mask.mean()) < 0.6


def test_the_path_ends_at_a_copy_of_the_second_network(case):
    moved = case.there(case.ends[1])
    assert deviation(case.outputs(case.ends[1]), case.outputs(moved)) < 1e-12
    assert not torch.equal(moved, case.ends[1])
    assert moved.sort().values.equal(case.ends[1].sort().values)


@pytest.mark.parametrize("loss", [cross_entropy, squared_error])
@pytest.mark.parametrize("name", BUILD)
def test_networks_that_use_half_of_their_units_are_joined_without_a_barrier(make, name, loss):
    case = Case(BUILD[name], make, loss)
    case.ends = [theta * mask for theta, mask in zip(case.ends, case.masks)]
    scores = [case.importance(theta, seed) for seed, theta in enumerate(case.ends)]
    case.chosen = transplant.choose(case.symmetries, *scores)
    kept = [transplant.mask(case.symmetries, case.layout, keeps) for keeps in (case.chosen.one, case.chosen.other)]
    assert all(torch.equal(theta * mask, theta) for theta, mask in zip(case.ends, kept)), "the used units are found"
    losses = case.losses(case.points(*case.ends), 4)
    assert losses.max() - max(losses[0], losses[-1]) <= 1e-12
    assert losses[:9] == pytest.approx(losses[0], abs=1e-12)
    assert losses[12:] == pytest.approx(losses[-1], abs=1e-12)
    assert abs(losses[0] - losses[-1]) > 1e-3


def test_pruned_networks_stay_halves_while_they_train(make):
    case = Case(BUILD["cnn"], make)
    trained = []
    for theta, mask in zip(case.ends, case.masks):
        state = TrainState(0, theta * mask, None, fresh_buffers(case.problem.module))
        *_, state = train(case.problem, lambda _: iter(case.problem.train), 1, SGD(5, 0.1, bf16=False), state, mask)
        trained.append(state.theta)
        assert bool((state.theta[mask == 0] == 0).all())
    points = case.points(*trained)
    f, g = (case.outputs(theta) for theta in trained)
    assert halves.deviation(case.problem, points[1:-1], f, g, case.problem.train) < 1e-12
    losses = case.losses(points, 2)
    assert losses[2:5] == pytest.approx(losses[2], abs=1e-12)
    assert losses[5] <= max(losses[4], losses[6]) + 1e-12


def test_entries_that_make_or_read_a_dropped_unit_are_gone(make):
    case = Case(lambda: mlp(IMAGE, CLASSES, 6), make)
    split = case.layout.split(case.masks[0])
    expected = {"layers.1": 3 * 64 + 3, "layers.3": 3 * 3 + 3, "layers.5": 3 * 3 + 3}
    for name, count in expected.items():
        assert int(split[f"{name}.weight"].sum() + split[f"{name}.bias"].sum()) == count
    assert torch.equal(case.masks[0], case.masks[0] ** 2)


def test_importance_of_a_unit_is_the_mean_square_of_what_it_contributes(make):
    # One output, one example a batch: signs do not matter, and Σ θ ∂f/∂θ over w and b is v·ReLU(w·x + b).
    torch.manual_seed(0)
    x = torch.randn(50, 4)
    problem = make(mlp((4,), 1, 6, depth=1), x, torch.zeros(50, 1), loss=squared_error)
    theta = problem.layout.flatten(dict(problem.module.named_parameters()))
    _, symmetries, _ = find(problem.module, x[:4])
    named = problem.layout.split(theta)
    named["layers.1.weight"][0] = 0
    named["layers.1.bias"][0] = 0
    named["layers.3.weight"][0, 1] = 0
    found = transplant.importance(problem, Point(theta, {}), symmetries, OneByOne(x.double()), 0)
    hidden = torch.relu(x.double() @ named["layers.1.weight"].T + named["layers.1.bias"])
    expected = (hidden * named["layers.3.weight"][0]).square().mean(0)
    (group,) = symmetries.groups
    np.testing.assert_allclose(found[group.units], expected.numpy(), rtol=1e-10, atol=1e-15)
    assert (found[group.units[:2]] == 0).all(), "never made, and never read"


def test_importance_does_not_change_when_factors_move(make):
    case = Case(BUILD["mlp"], make)
    factors = torch.zeros(case.symmetries.scales, dtype=torch.float64)
    factors[torch.from_numpy(case.symmetries.free)] = torch.linspace(-1, 1, len(case.symmetries.free)).double()
    stretched = rescale(case.symmetries, case.layout.split(case.ends[0]), factors)
    again = case.importance(case.layout.flatten(stretched), 0)
    assert float((again - case.scores[0]).abs().max()) < 1e-10 * float(again.max())
    assert not torch.equal(case.layout.flatten(stretched), case.ends[0])


def test_signs_give_the_mean_over_examples_without_bias(make):
    case = Case(BUILD["mlp"], make)
    units = case.symmetries.groups[0].units
    estimates = [
        torch.stack([case.importance(case.ends[0], s, b) for s in range(n)])[:, units] for b, n in ((2, 20), (30, 200))
    ]
    means, errors = ([f(each) for each in estimates] for f in (lambda e: e.mean(0), lambda e: e.std(0) / len(e) ** 0.5))
    assert (errors[1] < 0.2 * means[1]).all()
    assert ((means[1] - means[0]).abs() < 4 * (errors[0].square() + errors[1].square()).sqrt()).all()


@given(st.data())
def test_any_scores_give_a_permutation_that_takes_kept_units_to_free_places(data):
    case = five_units()
    numbers = st.lists(st.floats(0, 10), min_size=case.units, max_size=case.units)
    scores = [torch.tensor(data.draw(numbers), dtype=torch.float64) for _ in range(2)]
    chosen = transplant.choose(case, *scores)
    assert sorted(chosen.source) == list(range(case.units))
    for group in case.groups:
        one, other = chosen.one[group.units], chosen.other[group.units]
        assert one.sum() == group.size // 2
        assert other.sum() == group.size - group.size // 2
        there = chosen.other[chosen.source[group.units]]
        assert (there == 1 - one).all(), "what is left of the second lies where the first has nothing"
        least = scores[0].numpy()[group.units][one == 1].min()
        assert least >= scores[0].numpy()[group.units][one == 0].max()


@functools.cache
def five_units():
    return find(mlp((4,), 3, 5), torch.randn(4, 4))[1]


@pytest.mark.parametrize(
    ("module", "words"),
    [
        (lambda: mlp(IMAGE, CLASSES, 1), r"layers.1.weight has a unit that no other"),
        (lambda: mlp(IMAGE, CLASSES, depth=0), "none of its units are interchangeable"),
    ],
)
def test_what_cannot_be_halved_is_refused_by_name(make, module, words):
    with pytest.raises(Refused, match=words):
        Case(module, make)


def test_layer_norm_reads_both_halves(make):
    class Normed(nn.Module):
        def __init__(self):
            super().__init__()
            self.up, self.norm, self.head = nn.Linear(64, 8), nn.LayerNorm(8), nn.Linear(8, CLASSES)

        def forward(self, x):
            return self.head(torch.relu(self.norm(self.up(x.flatten(1)))))

    case = Case(Normed, make)
    one, other = (theta * mask for theta, mask in zip(case.ends, case.masks))
    f, g = case.outputs(one), case.outputs(other)
    assert halves.deviation(case.problem, case.points(one, other)[1:-1], f, g, case.problem.train) > 1e-3
