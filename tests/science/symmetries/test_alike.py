"""Units that look alike but are not, and units that are alike but do not look so: the right groups, or a refusal."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn import functional

from rashomon_cli.core.errors import Refused
from rashomon_cli.science.symmetries import find

X = torch.randn(3, 6, generator=torch.Generator().manual_seed(0))
IMAGES = torch.randn(2, 3, 8, 8, generator=torch.Generator().manual_seed(0))
TOKENS = torch.randn(2, 5, 8, generator=torch.Generator().manual_seed(0))


def between(act, width=8, out=None):
    """Two linear maps with something between them."""
    parts = {"a": nn.Linear(6, width), "b": nn.Linear(out or width, 3)}
    return (lambda own, x: own.b(act(own.a(x)))), parts


MIDDLES = {
    "reversed": (lambda h: h.flip(-1).relu(), 8, [8], 8),
    "added to its reverse": (lambda h: (h + h.flip(-1)).relu(), 8, [4], 4),
    "rolled": (lambda h: h.roll(1, -1).relu(), 8, [8], 8),
    "added to itself rolled": (lambda h: (h + h.roll(1, -1)).relu(), 8, [], 1),
    "running sum": (lambda h: h.cumsum(-1), 8, [], 0),
    "every second": (lambda h: h[..., ::2].relu(), 4, [4, 4], 8),
    "largest of pairs": (lambda h: h.view(-1, 4, 2).amax(-1), 4, [(4, ("units", 2))], 4),
    "largest of pairs far apart": (lambda h: h.view(-1, 2, 4).amax(1), 4, [(4, ("units", 2))], 4),
    "largest of all": (lambda h: h.max(-1, keepdim=True)[0], 1, [8], 0),
    "half negated": (lambda h: torch.cat([h[:, :4], -h[:, 4:]], 1).relu(), 8, [4, 4], 8),
    "two activations": (lambda h: torch.cat([h[:, :4].relu(), h[:, 4:].tanh()], 1), 8, [4, 4], 4),
    "both signs": (lambda h: torch.cat([h, -h], 1).relu(), 16, [8], 8),
    "its own length": (lambda h: functional.normalize(h, dim=-1), 8, [8], 0),
    "numbers of their own": (lambda h: (h * torch.arange(1.0, 9.0)).relu(), 8, [], 8),
    "softmax": (lambda h: h.softmax(-1), 8, [8], 0),
    "glu": (lambda h: functional.glu(h), 4, [4], 4),
    "gate": (lambda h: functional.silu(h[:, :4]) * h[:, 4:], 4, [4], 4),
    "outer product with itself": (lambda h: (h[:, :, None] * h[:, None, :]).flatten(1), 64, [], 0),
    "in place": (lambda h: h.add_(1.0).relu_(), 8, [8], 0),
}


@pytest.mark.parametrize("name", MIDDLES)
def test_what_lies_between_two_layers(name, net, sizes, effect):
    torch.manual_seed(0)
    act, out, expected, continuous = MIDDLES[name]
    function, parts = between(act, 8, out)
    module = net(function, **parts)
    assert sizes(module, X) == expected
    assert find(module, X)[1].continuous == continuous
    assert effect(module, X).difference <= 1e-10


def entrywise(act, **parameters):
    """Two linear maps with a function of each unit between them that may have parameters of its own."""
    parts = {"a": nn.Linear(6, 8), "b": nn.Linear(8, 3)} | {k: nn.Parameter(v) for k, v in parameters.items()}
    return (lambda own, x: own.b(act(own, own.a(x)))), parts


def numbers(low, count=8):
    return low + torch.rand(count, generator=torch.Generator().manual_seed(0))


ENTRYWISE = {
    "a power of an integer": (lambda: entrywise(lambda own, h: 2**h), [8], 3),
    "a power of a number": (lambda: entrywise(lambda own, h: 10.0**h), [8], 3),
    "a power of numbers of their own": (lambda: entrywise(lambda own, h: torch.arange(1.0, 9.0) ** h), [], 0),
    "an exponent each": (lambda: entrywise(lambda own, h: h.sigmoid() ** own.p, p=numbers(1)), [8], 4),
    "one exponent": (lambda: entrywise(lambda own, h: h.sigmoid() ** own.p, p=numbers(1, 1)), [8], 3),
    "an upper limit each": (lambda: entrywise(lambda own, h: h.clamp(max=own.p), p=numbers(0)), [8], 4),
    "two limits each": (
        lambda: entrywise(lambda own, h: torch.clamp(h, own.p, own.q), p=numbers(-1), q=numbers(0)),
        [8],
        5,
    ),
    "a gain, and its exponential as a bias": (
        lambda: entrywise(lambda own, h: (h * own.p + own.p.exp()).relu(), p=numbers(0)),
        [8],
        4,
    ),
    "the exponential of a gain, and the gain as a bias": (
        lambda: entrywise(lambda own, h: (h * own.p.exp() + own.p).relu(), p=numbers(0)),
        [8],
        4,
    ),
    "rounded down": (lambda: entrywise(lambda own, h: torch.div(h, 0.1, rounding_mode="floor")), [8], 3),
}


@pytest.mark.parametrize("name", ENTRYWISE)
def test_each_unit_alone_with_parameters_or_numbers_of_its_own(name, net, sizes, effect):
    torch.manual_seed(0)
    make, expected, moving = ENTRYWISE[name]
    function, parts = make()
    module = net(function, **parts)
    assert sizes(module, X) == expected
    assert find(module, X)[1].continuous == 0
    difference, moved, _ = effect(module, X)
    assert difference <= 1e-10
    assert moved == moving


class Standardised(nn.Conv2d):
    """Filters of mean 0 and variance 1 (Qiao et al. 2019, arXiv 1903.10520), by hand or as timm does it."""

    def __init__(self, *sizes, gain=False, by_hand=True):
        super().__init__(*sizes)
        self.gain = nn.Parameter(torch.ones(sizes[1])) if gain else None
        self.by_hand = by_hand

    def forward(self, x):
        if self.by_hand:
            centred = self.weight - self.weight.mean((1, 2, 3), keepdim=True)
            filters = centred / (centred.std((1, 2, 3), keepdim=True) + 1e-5)
            filters = filters if self.gain is None else filters * self.gain[:, None, None, None]
        else:
            rows = self.weight.reshape(1, len(self.weight), -1)
            filters = functional.batch_norm(rows, None, None, self.gain, training=True).reshape_as(self.weight)
        return functional.conv2d(x, filters, self.bias)


@pytest.mark.parametrize("by_hand", [True, False])
@pytest.mark.parametrize("gain", [False, True])
def test_standardised_filters(by_hand, gain, sizes, effect, moved_off):
    torch.manual_seed(0)
    convolutions = [Standardised(*widths, 3, gain=gain, by_hand=by_hand) for widths in ((3, 6), (6, 5))]
    module = nn.Sequential(
        *(convolutions[0], nn.ReLU(), convolutions[1], nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten()),
        nn.Linear(5, 3),
    )
    moved_off(module)
    assert sizes(module, IMAGES) == [6, 5]
    # what reads the first layer is standardised, so only the gains of the second can be moved into the linear map
    assert find(module, IMAGES)[1].continuous == (5 if gain else 0)
    assert effect(module, IMAGES).difference <= 1e-10


@pytest.mark.parametrize(
    ("options", "free", "absorbed"),
    [
        ({"momentum": None}, 4 + 4, 4),
        ({"affine": False}, 4, 4),  # the filters' own factors; without γ and β none passes on
        ({"track_running_stats": False}, 4, 0),  # γ and β; with ε no factor of a filter is taken away exactly
    ],
)
def test_kinds_of_batch_norm(options, free, absorbed, sizes, effect, moved_off):
    torch.manual_seed(0)
    norm = nn.BatchNorm2d(4, **options)
    module = moved_off(nn.Sequential(nn.Conv2d(3, 4, 3), norm, nn.ReLU(), nn.Flatten(), nn.Linear(144, 3)))
    assert sizes(module, IMAGES) == [4]
    _, found, _ = find(module, IMAGES)
    assert (len(found.free), len(found.absorbed)) == (free, absorbed)
    assert effect(module, IMAGES).difference <= 1e-10


def test_two_outputs_joined_share_their_hidden_units(net, sizes, effect):
    torch.manual_seed(0)

    def forward(own, x):
        hidden = own.a(x).relu()
        return torch.cat([own.b(hidden), own.c(own.d(hidden).tanh())], 1)

    module = net(forward, a=nn.Linear(6, 8), b=nn.Linear(8, 3), c=nn.Linear(5, 2), d=nn.Linear(8, 5))
    assert sizes(module, X) == [8, 5]
    assert find(module, X)[1].continuous == 8
    assert effect(module, X).difference <= 1e-10


def squeeze(own, x):
    hidden = own.a(x).relu()
    gate = torch.sigmoid(own.c(own.b(hidden.mean((2, 3), keepdim=True)).relu()))
    return own.d((hidden * gate).mean((2, 3)))


def shortcut(own, x):
    """A stage whose shortcut fills new channels with zeros (He et al. 2016, option A)."""
    hidden = own.a(x).relu()
    other = functional.pad(hidden[:, :, ::2, ::2], (0, 0, 0, 0, 2, 2))
    return own.d((own.b(hidden) + other).relu().mean((2, 3)))


CONVOLUTIONS = {
    "depthwise with two filters a channel, then two groups": (
        lambda: nn.Sequential(
            *(nn.Conv2d(3, 8, 3), nn.ReLU(), nn.Conv2d(8, 16, 3, groups=8), nn.ReLU()),
            *(nn.Conv2d(16, 8, 1, groups=2), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 3)),
        ),
        [(4, ("units", 2)), (4, ("units", 2)), 4, 4],
        32,
    ),
    "groups on the input": (
        lambda: nn.Sequential(nn.Conv2d(3, 9, 3, groups=3), nn.ReLU(), nn.Flatten(), nn.Linear(324, 3)),
        [3, 3, 3],
        9,
    ),
    "two groups, shuffled": (
        lambda: nn.Sequential(
            *(nn.Conv2d(3, 8, 3), nn.ReLU(), nn.ChannelShuffle(2), nn.Conv2d(8, 8, 3, groups=2)),
            *(nn.ReLU(), nn.Flatten(), nn.Linear(128, 3)),
        ),
        [(2, ("units", 4), ("units", 4))],
        16,
    ),
    "GroupNorm": (
        lambda: nn.Sequential(nn.Conv2d(3, 8, 3), nn.GroupNorm(2, 8), nn.ReLU(), nn.Flatten(), nn.Linear(288, 3)),
        [(2, ("units", 4))],
        8,
    ),
    "GroupNorm of one group": (
        lambda: nn.Sequential(nn.Conv2d(3, 8, 3), nn.GroupNorm(1, 8), nn.ReLU(), nn.Flatten(), nn.Linear(288, 3)),
        [8],
        8,
    ),
    "InstanceNorm": (
        lambda: nn.Sequential(
            nn.Conv2d(3, 8, 3), nn.InstanceNorm2d(8, affine=True), nn.ReLU(), nn.Flatten(), nn.Linear(288, 3)
        ),
        [8],
        8,
    ),
    "LayerNorm of whole images": (
        lambda: nn.Sequential(nn.Conv2d(3, 8, 3), nn.LayerNorm([8, 6, 6]), nn.ReLU(), nn.Flatten(), nn.Linear(288, 3)),
        [8],
        8,
    ),
    "PixelShuffle": (
        lambda: nn.Sequential(
            *(nn.Conv2d(3, 8, 3), nn.PixelShuffle(2), nn.ReLU(), nn.Conv2d(2, 4, 3), nn.ReLU()),
            *(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 3)),
        ),
        [2, 4],
        6,
    ),
    "transposed convolution": (
        lambda: nn.Sequential(
            *(nn.Conv2d(3, 8, 3), nn.ReLU(), nn.ConvTranspose2d(8, 4, 2, stride=2), nn.ReLU()),
            *(nn.Upsample(scale_factor=2), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 3)),
        ),
        [8, 4],
        12,
    ),
    "PReLU": (
        lambda: nn.Sequential(
            nn.Conv2d(3, 6, 3), nn.PReLU(6), nn.Conv2d(6, 4, 3), nn.PReLU(), nn.Flatten(), nn.Linear(64, 3)
        ),
        [6, 4],
        10,
    ),
}


@pytest.mark.parametrize("name", CONVOLUTIONS)
def test_convolutions(name, sizes, effect, moved_off):
    torch.manual_seed(0)
    make, expected, continuous = CONVOLUTIONS[name]
    module = moved_off(make())
    assert sizes(module, IMAGES) == expected
    assert find(module, IMAGES)[1].continuous == continuous
    assert effect(module, IMAGES).difference <= 1e-10


def test_squeeze_and_excitation(net, sizes, effect):
    torch.manual_seed(0)
    parts = {"a": nn.Conv2d(3, 6, 3), "b": nn.Conv2d(6, 2, 1), "c": nn.Conv2d(2, 6, 1), "d": nn.Linear(6, 3)}
    module = net(squeeze, **parts)
    assert sizes(module, IMAGES) == [6, 2]
    assert find(module, IMAGES)[1].continuous == 6 + 2
    assert effect(module, IMAGES).difference <= 1e-10


def test_channels_that_a_shortcut_fills_with_zeros_are_a_group_of_their_own(net, sizes, effect):
    torch.manual_seed(0)
    convolutions = {"a": nn.Conv2d(3, 4, 3, padding=1), "b": nn.Conv2d(4, 8, 3, stride=2, padding=1)}
    module = net(shortcut, **convolutions, d=nn.Linear(8, 3))
    assert sizes(module, IMAGES) == [4, 4]
    assert find(module, IMAGES)[1].continuous == 8
    assert effect(module, IMAGES).difference <= 1e-10


class Placed(nn.Module):
    """A number of its own is added to each unit, or to each place."""

    def __init__(self, shape):
        super().__init__()
        self.a, self.b = nn.Linear(8, 8), nn.Linear(8, 3)
        self.register_buffer("added", torch.randn(shape))

    def forward(self, x):
        return self.b((self.a(x) + self.added).relu().mean(1))


@pytest.mark.parametrize(("shape", "expected"), [((8,), []), ((5, 1), [8]), ((5, 8), [])])
def test_a_buffer_that_differs_between_units_pins_them(shape, expected, sizes):
    torch.manual_seed(0)
    module = Placed(shape)
    assert sizes(module, TOKENS) == expected
    assert find(module, TOKENS)[1].continuous == 0


def test_what_is_named_as_fixed_is_not_moved():
    torch.manual_seed(0)
    module = nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 8), nn.ReLU(), nn.Linear(8, 3))
    _, found, _ = find(module, X, frozenset({"0.weight"}))
    assert [group.name for group in found.groups] == ["2.weight"]
    module[0].weight.requires_grad_(False)
    _, found, _ = find(module, X)
    assert [group.name for group in found.groups] == ["2.weight"]


SHARED = {
    "a residual that uses one layer twice": (lambda own, x: own.b((h := own.a(x)) + own.w(own.w(h).relu())), [8], 8),
    "one layer twice": (lambda own, x: own.b(own.w(own.w(own.a(x)).relu()).relu()), [8], 8),
    "two layers of one parameter": (
        lambda own, x: own.b(functional.linear(x, own.p[:8]).relu() * functional.linear(x, own.p[8:]).relu()),
        [8],
        8,
    ),
    "weights tied across an auto-encoder": (
        lambda own, x: functional.linear(functional.linear(x, own.p).relu(), own.p.t()),
        [16],
        0,
    ),
    "a weight of low rank": (
        lambda own, x: own.b(functional.linear(x, own.left @ own.right).relu()),
        [8, 2],
        8,
    ),
}


@pytest.mark.parametrize("name", SHARED)
def test_shared_weights(name, net, effect):
    torch.manual_seed(0)
    function, expected, continuous = SHARED[name]
    numbers = {"p": (16, 6), "left": (8, 2), "right": (2, 6)}
    parts = {"a": nn.Linear(6, 8), "w": nn.Linear(8, 8), "b": nn.Linear(8, 3)}
    parts |= {name: nn.Parameter(torch.randn(shape)) for name, shape in numbers.items()}
    module = net(function, **parts)
    used = torch.autograd.grad(module(X).sum(), list(module.parameters()), allow_unused=True)
    for (name_, _), gradient in zip(list(module.named_parameters()), used):
        if gradient is None and "." not in name_:
            delattr(module, name_)
        elif gradient is None and hasattr(module, name_.partition(".")[0]):
            delattr(module, name_.partition(".")[0])
    _, found, _ = find(module, X)
    assert sorted(group.size for group in found.groups) == sorted(expected)
    assert found.continuous == continuous
    assert effect(module, X).difference <= 1e-10


def test_weight_norm(sizes, effect):
    torch.manual_seed(0)
    norm = nn.utils.parametrizations.weight_norm
    module = nn.Sequential(norm(nn.Linear(6, 8)), nn.ReLU(), norm(nn.Linear(8, 3)))
    assert sizes(module, X) == [8]
    _, found, _ = find(module, X)
    # the length of each row of v does not matter; the second layer's norm reads all columns: no factor passes the ReLU
    assert (len(found.free), len(found.absorbed)) == (8 + 3, 8 + 3)
    assert effect(module, X).difference <= 1e-10


@pytest.mark.parametrize(("kind", "expected"), [(nn.RNN, [5, 5]), (nn.LSTM, [5, 5]), (nn.GRU, [5, 5])])
def test_recurrent_layers_are_taken_apart(kind, expected, net, sizes, effect):
    torch.manual_seed(0)
    module = net(lambda own, x: own.b(own.r(x)[0][:, -1]), r=kind(8, 5, 2, batch_first=True), b=nn.Linear(5, 3))
    assert sizes(module, TOKENS) == expected
    assert effect(module, TOKENS).difference <= 1e-10


def einsum(own, x):
    q, k, v = (part(x).view(2, 5, 2, 3) for part in (own.q, own.k, own.v))
    scores = torch.einsum("bnhd,bmhd->bhnm", q, k).softmax(-1)
    return own.o(torch.einsum("bhnm,bmhd->bnhd", scores, v).flatten(2)).mean(1)


def test_einsum(net, sizes, effect):
    torch.manual_seed(0)
    module = net(einsum, **{name: nn.Linear(8, 6) for name in "qkv"}, o=nn.Linear(6, 3))
    assert sizes(module, TOKENS) == [(2, ("qk", 3), ("ov", 3))]
    assert effect(module, TOKENS).difference <= 1e-10


def test_a_mixer_has_units_along_tokens_and_channels(net, sizes, effect):
    torch.manual_seed(0)

    def forward(own, x):
        hidden = own.a(x)
        return own.d((hidden + own.c(own.b(hidden.transpose(1, 2)).relu()).transpose(1, 2)).mean(1))

    module = net(forward, a=nn.Linear(8, 6), b=nn.Linear(5, 7), c=nn.Linear(7, 5), d=nn.Linear(6, 3))
    assert sizes(module, TOKENS) == [6, 7]
    assert effect(module, TOKENS).difference <= 1e-10


def half_in_place(own, x):
    hidden = own.a(x)
    hidden[:, :4].mul_(2.0)
    return own.b(hidden.relu())


REFUSED = {
    "sort": (between(lambda h: h.sort(-1)[0]), "sort"),
    "topk": (between(lambda h: h.topk(4, -1)[0], out=4), "topk"),
    "number of the largest": (between(lambda h: h * h.argmax(-1, keepdim=True)), "argmax"),
    "a part in place": ((half_in_place, {"a": nn.Linear(6, 8), "b": nn.Linear(8, 3)}), "in place"),
    "chance": (between(lambda h: functional.dropout(h, 0.5, training=True)), "other outputs at each call"),
    "a tuple": ((lambda own, x: (own.a(x), x), {"a": nn.Linear(6, 3)}), "tuple"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_has_no_rule_is_refused_in_one_line(name, net):
    (function, parts), words = REFUSED[name]
    with pytest.raises(Refused, match=words) as refused:
        find(net(function, **parts), X)
    assert "\n" not in refused.value.message
    assert "rashomon " in refused.value.hint


def test_a_refusal_names_the_submodule(net):
    inner = net(lambda own, x: own.a(x).sort(-1)[0], a=nn.Linear(6, 4))
    with pytest.raises(Refused, match=r"sort .* in deep\.1"):
        find(net(lambda own, x: own.b(own.deep(x)), deep=nn.Sequential(nn.Linear(6, 6), inner), b=nn.Linear(4, 3)), X)
