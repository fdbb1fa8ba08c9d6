import pytest
import torch
from torch import nn

from rashomon_cli.core.errors import UsageError
from rashomon_cli.science.problem import Layout, Point
from rashomon_cli.science.spectra.blocks import layers, matching, restricted
from rashomon_cli.sources.models.preresnet import preresnet8


def test_a_layer_is_all_that_one_module_holds_and_the_layers_are_the_whole():
    module = preresnet8((3, 8, 8), 10, width=2)
    layout = Layout.of(module)
    found = layers(layout)
    assert next(iter(found)) == "conv"
    assert list(found)[-1] == "head"
    assert int(found["conv"].sum()) == 3 * 2 * 9
    assert int(found["head"].sum()) == 8 * 10 + 10
    assert int(found["blocks.0.bn1"].sum()) == 4
    assert torch.equal(torch.stack(list(found.values())).sum(0), torch.ones(layout.total))
    values = layout.flatten(
        {n: torch.full_like(p, float(n.startswith("blocks.1.conv2"))) for n, p in module.named_parameters()}
    )
    assert torch.equal(values.bool(), found["blocks.1.conv2"])


def test_patterns_choose_layers_in_the_order_of_the_model():
    layout = Layout.of(preresnet8((3, 8, 8), 10, width=2))
    assert list(layers(layout, "blocks.0.*")) == ["blocks.0.bn1", "blocks.0.conv1", "blocks.0.bn2", "blocks.0.conv2"]
    assert list(layers(layout, "head, block*.1.conv?")) == ["blocks.1.conv1", "blocks.1.conv2", "head"]


def test_a_parameter_of_the_model_itself_is_a_layer():
    module = nn.Linear(2, 3)
    assert list(layers(Layout.of(module))) == ["weight", "bias"]


def test_what_is_a_layer_s_name_means_that_layer_whatever_signs_it_has():
    names = ["w[0]", "w0", "a,b", "a", "b", "c*", "c1"]
    layout = Layout.of(nn.ModuleDict({name: nn.Linear(1, 1) for name in names}))
    assert all(list(layers(layout, name)) == [name] for name in names)
    assert list(layers(layout, "w[0],c*")) == ["w[0]", "c*"]
    assert list(layers(layout, "b,c?")) == ["b", "c*", "c1"]


def test_a_pattern_that_matches_nothing_is_refused_with_the_nearest_layer():
    layout = Layout.of(preresnet8((3, 8, 8), 10, width=2))
    with pytest.raises(UsageError, match=r"no layer 'blocks\.0\.conv3'") as caught:
        layers(layout, "head,blocks.0.conv3")
    assert caught.value.hint.startswith("did you mean blocks.0.conv")
    with pytest.raises(UsageError) as caught:
        layers(layout, "xyz*")
    assert caught.value.hint.startswith("it has: conv, blocks.0.bn1")


def test_the_problem_in_some_layers_has_their_block_of_the_hessian_and_the_same_outputs(cnn_case, dense):
    problem, point = cnn_case
    tangent = torch.arange(1, problem.layout.total + 1).double()
    elsewhere = matching(problem.layout, "head").double()
    directions = {"tangent": tangent / tangent.norm(), "elsewhere": elsewhere / elsewhere.norm()}
    point = Point(point.theta, point.buffers, 0.5, directions)
    mask = matching(problem.layout, "bn1,conv2")
    inner, there = restricted(problem, point, "bn1,conv2")
    assert inner.layout.names == ("bn1.weight", "bn1.bias", "conv2.weight")
    block = dense(problem, point)[mask][:, mask]
    assert torch.allclose(dense(inner, there), block, rtol=0, atol=1e-12 * float(block.abs().max()))
    (x, _), *_ = problem.test
    assert torch.equal(inner.outputs(there.theta, there.buffers, x), problem.outputs(point.theta, point.buffers, x))
    assert there.t == 0.5
    assert list(there.directions) == ["tangent"]
    assert torch.allclose(there.directions["tangent"], tangent[mask] / tangent[mask].norm())
    assert restricted(problem, point, None) == (problem, point)
