"""Number and size of the groups and the number of continuous dimensions, against what theory says."""

from __future__ import annotations

import itertools
import math

import hypothesis
import pytest
import torch
from hypothesis import strategies as st
from torch import nn
from torch.nn import functional

from rashomon_cli.science.symmetries import check, find, permute, rescale
from rashomon_cli.science.symmetries.moves import mix
from rashomon_cli.sources.models.mlp import mlp

X = torch.randn(3, 6, generator=torch.Generator().manual_seed(0))
IMAGES = torch.randn(2, 3, 8, 8, generator=torch.Generator().manual_seed(0))
TOKENS = torch.randn(2, 5, 8, generator=torch.Generator().manual_seed(0))


def layers(widths, activation):
    parts = []
    for one, other in itertools.pairwise(widths):
        parts += [nn.Linear(one, other), activation()]
    return nn.Sequential(*parts[:-1])


@hypothesis.given(st.lists(st.integers(1, 9), min_size=1, max_size=3), st.booleans())
@hypothesis.settings(max_examples=12)
def test_an_mlp_has_a_group_a_layer_and_a_factor_a_relu(widths, relu):
    torch.manual_seed(0)
    module = layers([6, *widths, 4], nn.ReLU if relu else nn.GELU)
    _, found, _ = find(module, X)
    assert [group.size for group in found.groups] == [width for width in widths if width > 1]
    assert found.continuous == (sum(widths) if relu else 0)
    assert math.isclose(found.permutations_log10, math.log10(math.prod(map(math.factorial, widths))), abs_tol=1e-9)


def test_relu_units_are_rescaled_by_hand():
    torch.manual_seed(0)
    module = mlp((6,), 3, width=4, depth=1)
    graph, found, _ = find(module, X)
    logarithms = torch.zeros(found.scales, dtype=torch.float64)
    logarithms[found.free] = torch.tensor([0.1, 0.2, 0.3, 0.4], dtype=torch.float64)
    moved = rescale(found, graph.values, logarithms)
    first, bias, second = (n for n in graph.names if not n.endswith("3.bias"))
    factors = logarithms[found.free].exp()
    torch.testing.assert_close(moved[first], graph.values[first] * factors[:, None])
    torch.testing.assert_close(moved[bias], graph.values[bias] * factors)
    torch.testing.assert_close(moved[second], graph.values[second] / factors)


def test_batch_norm_takes_away_a_filter_s_factor_and_its_output_has_another(moved_off):
    torch.manual_seed(0)
    module = moved_off(nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), nn.Linear(144, 3)))
    graph, found, _ = find(module, IMAGES)
    assert (len(found.free), len(found.absorbed)) == (8, 4)
    logarithms = torch.zeros(found.scales, dtype=torch.float64)
    logarithms[found.absorbed] = 0.2
    moved = rescale(found, graph.values, logarithms)
    scale = math.exp(0.2)
    torch.testing.assert_close(moved["0.weight"], scale * graph.values["0.weight"])
    torch.testing.assert_close(moved["1.running_mean"], scale * graph.values["1.running_mean"])
    eps = module[1].eps
    torch.testing.assert_close(moved["1.running_var"] + eps, scale**2 * (graph.values["1.running_var"] + eps))
    for name in ("1.weight", "1.bias", "4.weight"):
        torch.testing.assert_close(moved[name], graph.values[name])
    logarithms[:] = 0
    logarithms[sorted(set(found.free.tolist()) - set(found.absorbed.tolist()))] = 0.2
    moved = rescale(found, graph.values, logarithms)
    torch.testing.assert_close(moved["1.weight"], scale * graph.values["1.weight"])
    torch.testing.assert_close(moved["1.bias"], scale * graph.values["1.bias"])
    torch.testing.assert_close(moved["4.weight"], graph.values["4.weight"] / scale)


def test_units_swap_with_their_weights_biases_and_readers():
    torch.manual_seed(0)
    module = mlp((6,), 3, width=3, depth=1)
    graph, found, _ = find(module, X)
    (group,) = found.groups
    source = found.identity()
    source[group.units] = group.units[[1, 0, 2]]
    moved = permute(found, graph.values, source)
    first, bias, second, last = graph.names
    torch.testing.assert_close(moved[first], graph.values[first][[1, 0, 2]])
    torch.testing.assert_close(moved[bias], graph.values[bias][[1, 0, 2]])
    torch.testing.assert_close(moved[second], graph.values[second][:, [1, 0, 2]])
    torch.testing.assert_close(moved[last], graph.values[last])


def heads(queries, shared):
    """Attention of 4 heads of 2, whose keys and values are shared by as many."""
    width = 2 * queries // shared

    def forward(own, x):
        q, k, v = (
            part(x).view(len(x), x.shape[1], -1, 2).transpose(1, 2).repeat_interleave(times, 1)
            for part, times in ((own.q, 1), (own.k, shared), (own.v, shared))
        )
        mixed = (q @ k.transpose(-1, -2)).softmax(-1) @ v
        return own.o(mixed.transpose(1, 2).flatten(2)).mean(1)

    q, k, v = nn.Linear(8, 2 * queries), nn.Linear(8, width), nn.Linear(8, width)
    return forward, {"q": q, "k": k, "v": v, "o": nn.Linear(2 * queries, 3)}


@pytest.mark.parametrize(("shared", "blocks"), [(1, 4), (2, 2), (4, 1)], ids=["each its own", "in pairs", "all one"])
def test_heads_that_share_their_keys_move_together(shared, blocks, net, sizes, effect):
    torch.manual_seed(0)
    function, parts = heads(4, shared)
    module = net(function, **parts)
    assert sizes(module, TOKENS) == [(blocks, ("qk", 2), ("ov", 2))]
    _, found, _ = find(module, TOKENS)
    assert found.continuous == blocks * (2**2 + 2**2)
    assert effect(module, TOKENS).difference <= 1e-10


@pytest.mark.parametrize("batch_first", [False, True])
@pytest.mark.parametrize("need_weights", [False, True])
@pytest.mark.parametrize("masked", [False, True])
def test_multihead_attention(batch_first, need_weights, masked, net, sizes, effect, moved_off):
    torch.manual_seed(0)

    def forward(own, x):
        hidden = own.a(x)
        length = x.shape[1] if batch_first else len(x)
        mask = torch.ones(length, length, dtype=torch.bool).triu(1) if masked else None
        return own.c(own.m(hidden, hidden, hidden, need_weights=need_weights, attn_mask=mask)[0].mean(1))

    attention = nn.MultiheadAttention(8, 2, batch_first=batch_first)
    module = moved_off(net(forward, a=nn.Linear(8, 8), m=attention, c=nn.Linear(8, 3)))
    assert sizes(module, TOKENS) == [8, (2, ("qk", 4), ("ov", 4)), 8]
    assert effect(module, TOKENS).difference <= 1e-10


@pytest.mark.parametrize("norm_first", [False, True])
def test_transformer_encoder_layers(norm_first, net, sizes, effect, moved_off):
    torch.manual_seed(0)
    layer = nn.TransformerEncoderLayer(8, 2, 12, batch_first=True, norm_first=norm_first)
    encoder = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)
    module = moved_off(
        net(lambda own, x: own.c(own.e(own.a(x)).mean(1)), a=nn.Linear(8, 8), e=encoder, c=nn.Linear(8, 3))
    )
    assert sizes(module, TOKENS) == [8, *[(2, ("qk", 4), ("ov", 4)), 12] * 2]
    assert effect(module, TOKENS).difference <= 1e-10
    assert torch.backends.mha.get_fastpath_enabled()


USED = {"one head": "qkv", "one head, queries as keys": "qv", "one head, keys as values": "qk"}


@pytest.mark.parametrize("number", [0.0, 1.0])
def test_keys_whose_bias_is_one_constant_are_units_like_others(number, net, sizes, effect):
    """BEiT and EVA join biases of queries and values with zeros between them."""
    torch.manual_seed(0)

    def forward(own, x):
        bias = torch.cat([own.b, torch.full_like(own.b, number), own.c])
        q, k, v = functional.linear(x, own.w, bias).view(2, 5, 3, 2, 4).permute(2, 0, 3, 1, 4).unbind(0)
        mixed = functional.scaled_dot_product_attention(q, k, v)
        return own.o(mixed.transpose(1, 2).flatten(2)).mean(1)

    numbers = {name: nn.Parameter(torch.randn(shape)) for name, shape in (("w", (24, 8)), ("b", 8), ("c", 8))}
    module = net(forward, **numbers, o=nn.Linear(8, 3))
    assert [size for size, *_ in sizes(module, TOKENS)] == [2]
    assert effect(module, TOKENS).difference <= 1e-10


SINGLE = {
    "one head": (lambda own, x: (own.q(x), own.k(x), own.v(x)), [(1, ("qk", 4), ("ov", 4))], 16 + 16),
    "one head, queries as keys": (lambda own, x: ((q := own.q(x)), q, own.v(x)), [(1, ("units", 4), ("ov", 4))], 16),
    "one head, keys as values": (lambda own, x: (own.q(x), (k := own.k(x)), k), [4], 0),
}


@pytest.mark.parametrize("name", SINGLE)
def test_a_matrix_fits_only_between_two_different_factors(name, net, sizes, effect):
    torch.manual_seed(0)
    three, expected, continuous = SINGLE[name]

    def forward(own, x):
        q, k, v = three(own, x)
        return own.o((q @ k.transpose(1, 2)).softmax(-1) @ v).mean(1)

    module = net(forward, **{part: nn.Linear(8, 4) for part in USED[name]}, o=nn.Linear(4, 3))
    assert sizes(module, TOKENS) == expected
    assert find(module, TOKENS)[1].continuous == continuous
    assert effect(module, TOKENS).difference <= 1e-10


def test_no_matrix_fits_where_values_are_bent_too(net, sizes, effect):
    torch.manual_seed(0)

    def forward(own, x):
        v = own.v(x)
        mixed = (own.q(x) @ own.k(x).transpose(1, 2)).softmax(-1) @ v
        return (own.o(mixed) + own.p(v.relu())).mean(1)

    module = net(forward, **{part: nn.Linear(8, 4) for part in "qkv"}, o=nn.Linear(4, 3), p=nn.Linear(4, 3))
    assert sizes(module, TOKENS) == [(1, ("qk", 4), ("units", 4))]
    # a factor for each value passes the ReLU and the sum over places
    assert find(module, TOKENS)[1].continuous == 16 + 4
    assert effect(module, TOKENS).difference <= 1e-10


@pytest.mark.parametrize("shared", [1, 2, 4])
def test_matrices_between_queries_and_keys_and_between_values_and_outputs(shared, net):
    torch.manual_seed(0)
    function, parts = heads(4, shared)
    module = net(function, **parts)
    graph, found, _ = find(module, TOKENS)
    moved = mix(found, graph.values, 3)
    assert all(not torch.equal(moved[f"{part}.weight"], graph.values[f"{part}.weight"]) for part in "qkvo")
    assert check.difference(graph, graph.values, moved, TOKENS.double()) <= 1e-10
    torch.testing.assert_close(moved["o.bias"], graph.values["o.bias"])


def causal(own, x):
    q, k, v = (part(x).view(2, 5, 2, 4).transpose(1, 2) for part in (own.q, own.k, own.v))
    mixed = functional.scaled_dot_product_attention(q, k, v, is_causal=True)
    return own.o(mixed.transpose(1, 2).flatten(2)).mean(1)


def rotary(own, x):
    """Each query and key is turned by an angle for its place, in pairs of coordinates."""

    def turned(q):
        angle = torch.arange(5).to(q)[:, None] * torch.tensor([1.0, 0.1]).to(q)
        angle = torch.cat([angle, angle], -1)
        return q * angle.cos() + torch.cat([-q[..., 2:], q[..., :2]], -1) * angle.sin()

    q, k, v = (part(x).view(2, 5, 2, 4).transpose(1, 2) for part in (own.q, own.k, own.v))
    mixed = (turned(q) @ turned(k).transpose(-1, -2)).softmax(-1) @ v
    return own.o(mixed.transpose(1, 2).flatten(2)).mean(1)


@pytest.mark.parametrize(
    ("function", "expected", "continuous"),
    [
        (causal, [(2, ("qk", 4), ("ov", 4))], 2 * (16 + 16)),
        # a coordinate of a query is bound to its place: only whole heads move
        (rotary, [(2, ("units", 1), ("units", 1), ("ov", 4))], 2 * 16),
    ],
)
def test_attention_with_places(function, expected, continuous, net, sizes, effect):
    torch.manual_seed(0)
    module = net(function, **{name: nn.Linear(8, 8) for name in "qkv"}, o=nn.Linear(8, 3))
    assert sizes(module, TOKENS) == expected
    assert find(module, TOKENS)[1].continuous == continuous
    assert effect(module, TOKENS).difference <= 1e-10


@pytest.mark.parametrize(
    "make",
    [
        lambda: mlp((6,), 3, width=4),
        lambda: nn.Sequential(
            nn.Linear(6, 5), nn.BatchNorm1d(5), nn.ReLU(), nn.Linear(5, 4), nn.PReLU(4), nn.Linear(4, 3)
        ),
        lambda: nn.Sequential(nn.Linear(6, 6), nn.GLU(), nn.LayerNorm(3), nn.Linear(3, 3)),
        lambda: nn.Sequential(nn.utils.parametrizations.weight_norm(nn.Linear(6, 5)), nn.ReLU(), nn.Linear(5, 3)),
    ],
    ids=["mlp", "batch norm", "glu", "weight norm"],
)
def test_factors_are_independent(make):
    torch.manual_seed(0)
    graph, found, _ = find(make(), X)

    def stretch(logarithms):
        moved = rescale(found, graph.values, logarithms)
        return torch.cat([moved[name].flatten() for name in sorted(graph.parameters)])

    jacobian = torch.autograd.functional.jacobian(stretch, torch.zeros(found.scales, dtype=torch.float64))
    assert int(torch.linalg.matrix_rank(jacobian)) == len(found.free)
