import pytest
import torch
from torch import nn

from rashomon_cli.core.errors import UsageError
from rashomon_cli.science.problem import Layout
from rashomon_cli.science.spectra.blocks import layers
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


def test_a_pattern_that_matches_nothing_is_refused_with_the_nearest_layer():
    layout = Layout.of(preresnet8((3, 8, 8), 10, width=2))
    with pytest.raises(UsageError, match=r"no layer 'blocks\.0\.conv3'") as caught:
        layers(layout, "head,blocks.0.conv3")
    assert caught.value.hint.startswith("did you mean blocks.0.conv")
    with pytest.raises(UsageError) as caught:
        layers(layout, "xyz*")
    assert caught.value.hint.startswith("it has: conv, blocks.0.bn1")
