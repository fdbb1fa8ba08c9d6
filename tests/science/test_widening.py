import re

import numpy as np
import pytest
import torch
from torch import nn

from rashomon_cli.core.errors import Refused
from rashomon_cli.science import halves
from rashomon_cli.science.paths import Path, line
from rashomon_cli.science.problem import Layout, cross_entropy, fresh_buffers, squared_error
from rashomon_cli.science.profile import train_losses
from rashomon_cli.science.widening import Widening, culprit, doubled, twice
from rashomon_cli.sources.models.mlp import mlp
from rashomon_cli.sources.models.preresnet import preresnet8, preresnet164
from rashomon_cli.sources.models.smallcnn import smallcnn
from rashomon_cli.sources.models.vgg import vgg16

IMAGE, CLASSES = (1, 8, 8), 3


class Depthwise(nn.Module):
    """A convolution, one for each channel, PReLU with a slope for each, and a linear layer over all pixels."""

    def __init__(self, width):
        super().__init__()
        self.up = nn.Conv2d(1, width, 3)
        self.each = nn.Conv2d(width, width, 3, groups=width)
        self.slope = nn.PReLU(width)
        self.head = nn.Linear(16 * width, CLASSES)

    def forward(self, x):
        return self.head(self.slope(self.each(self.up(x))).flatten(1))


class Mixing(nn.Module):
    """Convolution, something that may mix channels, pooling, linear layer."""

    def __init__(self, width, middle):
        super().__init__()
        self.up = nn.Conv2d(1, width, 3)
        self.middle = middle(width)
        self.head = nn.LazyLinear(CLASSES)
        self(torch.zeros(2, *IMAGE))

    def forward(self, x):
        return self.head(torch.tanh(self.middle(self.up(x))).mean((2, 3)))


class Grown(nn.Module):
    """As in a DenseNet: what comes in, and what is made of it, side by side; then BatchNorm and a linear map."""

    def __init__(self, width):
        super().__init__()
        self.more = nn.Conv2d(width, width, 1)
        self.norm = nn.BatchNorm2d(2 * width)
        self.mix = nn.Conv2d(2 * width, width, 1)

    def forward(self, x):
        return self.mix(torch.relu(self.norm(torch.cat([x, self.more(x)], 1))))


class Narrow(nn.Module):
    """A layer of five channels whatever the width."""

    def __init__(self, width):
        super().__init__()
        self.squeeze = nn.Conv2d(width, 5, 1)
        self.spread = nn.Conv2d(5, width, 1)

    def forward(self, x):
        return self.spread(torch.tanh(self.squeeze(x)))


HOLDS = {
    "mlp": lambda width: mlp(IMAGE, CLASSES, width, depth=3),
    "no bias": lambda width: mlp(IMAGE, CLASSES, width, bias=False),
    "cnn": lambda width: smallcnn(IMAGE, CLASSES, width),
    "cnn without BatchNorm": lambda width: smallcnn(IMAGE, CLASSES, width, batch_norm=False),
    "residual": lambda width: preresnet8(IMAGE, CLASSES, width),
    "vgg": lambda width: vgg16(IMAGE, CLASSES, True, width),
    "depthwise": Depthwise,
    "instance norm": lambda width: Mixing(width, lambda w: nn.InstanceNorm2d(w, affine=True)),
}
REFUSED = {
    "group norm": (lambda width: Mixing(width, lambda w: nn.GroupNorm(1, w)), r"middle \(GroupNorm\)"),
    "layer norm": (lambda width: Mixing(width, lambda w: nn.LayerNorm((w, 6, 6))), r"middle \(LayerNorm\)"),
    "concatenation": (lambda width: Mixing(width, Grown), r"middle.norm \(BatchNorm2d\)"),
    "bottleneck": (lambda width: Mixing(width, Narrow), None),
    "one slope for all": (lambda width: Mixing(width, lambda w: nn.PReLU()), None),
}


def randomised(problem, seed):
    """Parameters of all sizes, those of BatchNorm too."""
    torch.manual_seed(seed)
    theta = problem.layout.flatten(dict(problem.module.named_parameters()))
    return theta + 0.2 * torch.randn_like(theta)


def wide_path(build, make, width=2, loss=cross_entropy):
    torch.manual_seed(0)
    x, y = torch.randn(60, *IMAGE), torch.randint(0, CLASSES, (60,))
    narrow, wide = make(build(width), x, y, loss=loss), make(build(2 * width), x, y, loss=loss)
    a, b = randomised(narrow, 1), randomised(narrow, 2)
    widening = Widening(narrow.layout, wide.layout)
    points = halves.moves(widening.embed(a, 0), widening.embed(b, 1), widening.shifted)
    f, g = (halves.outputs(narrow, theta, narrow.train) for theta in (a, b))
    return narrow, wide, a, points, halves.deviation(wide, points, f, g, narrow.train)


@pytest.mark.parametrize("name", HOLDS)
@pytest.mark.parametrize("loss", [cross_entropy, squared_error])
def test_both_networks_are_in_the_wide_one_and_the_barrier_is_zero(make, name, loss):
    _, wide, _, points, off = wide_path(HOLDS[name], make, loss=loss)
    assert off < 1e-12
    path = Path("polyline", points)
    losses = np.array([train_losses(wide, path.at(t), wide.train).mean() for t in np.linspace(0, 1, 13)])
    assert losses.max() - max(losses[0], losses[-1]) <= 1e-12
    assert losses[:5] == pytest.approx(losses[0], abs=1e-12)
    assert losses[8:] == pytest.approx(losses[-1], abs=1e-12)
    assert abs(losses[0] - losses[-1]) > 1e-3


@pytest.mark.slow
def test_a_bottleneck_network_of_164_layers(make):
    assert wide_path(lambda width: preresnet164(IMAGE, CLASSES, width), make, width=1)[-1] < 1e-10


@pytest.mark.parametrize("name", REFUSED)
def test_what_reads_both_halves_is_noticed_and_named(make, name):
    build, words = REFUSED[name]
    narrow, wide, a, points, off = wide_path(build, make, width=4)
    assert off > 1e-4
    found = culprit(narrow, wide, a, points[1], narrow.train)
    if words is None:  # each part does what it should: what they have in common is no part's fault
        assert found is None or "squeeze" not in found
    else:
        assert found is not None
        assert re.fullmatch(words, found)


def test_two_swapped_relu_units_are_joined_at_width_4(make):
    # At width 2 no path joins them (Buck's example); each solution in its own half of width 4 is.
    angles = 2 * torch.pi * (torch.arange(64, dtype=torch.float64) + 0.5) / 64
    x = torch.stack([angles.cos(), angles.sin()], 1)

    def units(width):
        return make(mlp((2,), 2, width, depth=1, bias=False), x, torch.relu(x), loss=squared_error)

    narrow, wide = units(2), units(4)
    eye, swap = torch.eye(2, dtype=torch.float64), torch.eye(2, dtype=torch.float64).flip(0)
    names = narrow.layout.names
    a, b = (narrow.layout.flatten(dict.fromkeys(names, w)) for w in (eye, swap))
    widening = Widening(narrow.layout, wide.layout)
    points = halves.moves(widening.embed(a, 0), widening.embed(b, 1), widening.shifted)
    path = Path("polyline", points)
    (inputs, targets), *_ = wide.train

    def losses(p, problem):
        return np.array([float(problem.mean_loss(p.at(t), {}, inputs, targets)) for t in np.linspace(0, 1, 301)])

    assert losses(path, wide).max() < 1e-30
    assert losses(line(a, b), narrow).max() > 0.09


def test_a_network_as_wide_as_its_inputs_and_classes_is_told_apart_from_them(make):
    x, y = torch.randn(20, 3), torch.randint(0, 3, (20,))
    narrow, wide = (make(mlp((3,), 3, width), x, y) for width in (3, 6))
    a = randomised(narrow, 1)
    theta = Widening(narrow.layout, wide.layout).embed(a, 1)
    assert torch.allclose(wide.outputs(theta, {}, x.double()), narrow.outputs(a, {}, x.double()))
    assert int((theta != 0).sum()) == len(a)


def test_statistics_of_each_channel_are_its_own(make):
    narrow, wide, a, points, _ = wide_path(HOLDS["cnn"], make)
    own = halves.refresh(narrow, a, fresh_buffers(narrow.module), narrow.train)
    both = halves.refresh(wide, points[1], fresh_buffers(wide.module), wide.train)
    assert torch.allclose(both["features.1.running_var"][:2], own["features.1.running_var"], atol=1e-13)


@pytest.mark.parametrize(("narrow", "wide"), [((2, 3), (4, 4)), ((2,), (2, 2)), ((4,), (2,))])
def test_an_axis_that_is_neither_is_refused(narrow, wide):
    with pytest.raises(Refused, match="neither as long nor twice"):
        doubled("w", narrow, wide)


def test_other_networks_are_refused():
    def layout(*names, size=2):
        return Layout(names, (torch.Size([size]),) * len(names))

    with pytest.raises(Refused, match="only one of the two has c"):
        Widening(layout("a"), layout("a", "c", size=4))
    with pytest.raises(Refused, match="no parameter is larger"):
        Widening(layout("a"), layout("a"))


def test_what_is_not_trained_is_there_once_for_each():
    mask = torch.tensor([[1, 0], [0, 1]])
    assert torch.equal(twice("mask", mask, (4, 4)), torch.block_diag(mask, mask))
    assert torch.equal(twice("mean", mask, (2, 2)), mask)
