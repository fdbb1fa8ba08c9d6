"""Factors between layers at their standard: norms in and out are equal, and 1 before BatchNorm (Stock et al. 2019)."""

import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from rashomon_cli.science.alignment.balance import balance, normalise
from rashomon_cli.science.symmetries import find, rescale


@given(st.integers(1, 8), st.integers(0, 1000))
def test_a_relu_unit_is_read_as_strongly_as_it_is_made(width, seed):
    torch.manual_seed(seed)
    module = nn.Sequential(nn.Linear(3, width), nn.ReLU(), nn.Linear(width, 2)).double()
    graph, symmetries, _ = find(module, torch.randn(2, 3))
    names = frozenset(graph.values)
    balanced = rescale(symmetries, graph.values, balance(symmetries, graph.values, names, graph.values))
    made = balanced["0.weight"].square().sum(1) + balanced["0.bias"].square()
    read = balanced["2.weight"].square().sum(0)
    torch.testing.assert_close(made, read, rtol=1e-9, atol=0)


def test_the_product_of_both_norms_is_what_it_was():
    module = nn.Sequential(nn.Linear(1, 2, bias=False), nn.ReLU(), nn.Linear(2, 1, bias=False)).double()
    with torch.no_grad():
        module[0].weight.copy_(torch.tensor([[2.0], [1.0]]))
        module[2].weight.copy_(torch.tensor([[0.5, 9.0]]))
    graph, symmetries, _ = find(module, torch.tensor([[1.0], [2.0]]))
    balanced = rescale(
        symmetries, graph.values, balance(symmetries, graph.values, frozenset(graph.values), graph.values)
    )
    torch.testing.assert_close(balanced["0.weight"].flatten(), torch.tensor([1.0, 3.0]).double())
    torch.testing.assert_close(balanced["2.weight"].flatten(), torch.tensor([1.0, 3.0]).double())


def test_weights_before_batchnorm_are_all_as_strong_as_on_average_and_a_variance_stays_positive(make, plant):
    planted = plant(make("smallcnn(width=4)"), torch.randn(8, 3, 8, 8))
    balanced = rescale(
        planted.symmetries, planted.own, balance(planted.symmetries, planted.own, planted.names, planted.own)
    )
    first = balanced["features.0.weight"]
    norms = first.square().flatten(1).sum(1)
    bias = balanced.get("features.0.bias")
    norms = norms if bias is None else norms + bias.square()
    before = planted.own["features.0.weight"].square().flatten(1).sum(1)
    torch.testing.assert_close(norms, before.mean().expand(4), rtol=1e-9, atol=0)
    tiny = dict(planted.copy) | {
        "features.1.running_var": torch.full_like(planted.own["features.1.running_var"], 1e-12)
    }
    like = dict(planted.own) | {"features.0.weight": planted.own["features.0.weight"] * 1e-4}
    moved = normalise(planted.symmetries, tiny, like, planted.names)
    assert (moved["features.1.running_var"] >= -1e-18).all()
    assert planted.off(tiny, moved) < 1e-10


def test_an_all_but_silent_channel_gets_no_variance_that_float32_cannot_hold(make, plant):
    planted = plant(make("smallcnn(width=4)"), torch.randn(8, 3, 8, 8))
    silent = dict(planted.copy) | {"features.0.weight": planted.copy["features.0.weight"] * 1e-25}
    silent["features.1.running_mean"] = silent["features.1.running_mean"] * 1e-25
    silent["features.1.running_var"] = silent["features.1.running_var"] * 0
    moved = normalise(planted.symmetries, silent, planted.own, planted.names)
    assert moved["features.1.running_var"].float().max() <= 1e7
    assert planted.off(silent, moved) < 1e-10
