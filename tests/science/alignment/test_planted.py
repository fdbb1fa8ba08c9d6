"""A network and a copy with units interchanged and rescaled: matching finds the permutation, and the way back."""

import pytest
import torch
import torchvision

from rashomon_cli.core.errors import Refused
from rashomon_cli.science.alignment.move import match_activations, match_weights, move, outputs

SMALL = {
    "mlp": lambda make: make("mlp(width=12)", (5,)),
    "cnn with BatchNorm": lambda make: make("smallcnn(width=4)"),
    "preresnet8": lambda make: make("preresnet8(width=4)"),
}
ZOO = {
    "vgg16": lambda make: make("vgg16(width=8)", (3, 32, 32)),
    "vgg16 with BatchNorm": lambda make: make("vgg16(width=8, batch_norm=True)", (3, 32, 32)),
    "preresnet20": lambda make: make("preresnet20", (3, 32, 32)),
    "resnet18": lambda make: torchvision.models.resnet18(num_classes=10),
    "mobilenet_v2": lambda make: torchvision.models.mobilenet_v2(num_classes=10),
    "densenet121": lambda make: torchvision.models.densenet121(num_classes=10),
    "vit": lambda make: torchvision.models.VisionTransformer(32, 8, 2, 4, 32, 64, num_classes=10),
}


def inputs(module, count):
    torch.manual_seed(5)
    first = next(module.parameters())
    return torch.randn(count, 5) if first.shape[-1] == 5 and first.ndim == 2 else torch.randn(count, 3, 8, 8)


def distance(planted, tensors):
    return sum(float((tensors[n] - planted.own[n]).square().sum()) for n in planted.names) ** 0.5


def recovered(planted, match):
    """All units but those that the match names as tied have their place back."""
    tied = {int(u) for group in planted.symmetries.groups for u in tied_units(group, match)}
    wrong = (match.source != planted.back).nonzero()[0]
    return set(wrong.tolist()) <= tied


def tied_units(group, match):
    units = [*group.units] if not group.inner else [u for inner in group.inner for u in inner.units.reshape(-1)]
    return {units[place] for place in match.ties.get(group.name, []) if place < len(units)}


def back(planted, match):
    source = match.source
    kept = {name: value.float() if value.is_floating_point() else value for name, value in planted.copy.items()}
    moved = move(
        planted.module, planted.symmetries, planted.copy, source, planted.own, planted.names, [planted.x], kept
    )
    largest = float(outputs(planted.module, planted.own, [planted.x]).abs().max())
    assert moved.difference <= 1e-10 * largest
    assert moved.stored <= 1e-4 * largest
    return moved.tensors


@pytest.mark.parametrize("name", SMALL)
def test_weights_find_the_permutation_and_the_factors(name, make, plant):
    module = SMALL[name](make)
    planted = plant(module, inputs(module, 16))
    assert distance(planted, planted.copy) > 1
    _, match = match_weights(planted.symmetries, [planted.own, planted.copy], planted.names, 0, True)
    assert (match.source == planted.back).all()
    assert distance(planted, back(planted, match)) < 1e-9


@pytest.mark.parametrize("name", SMALL)
def test_activations_find_the_permutation_up_to_ties_that_are_named(name, make, plant):
    module = SMALL[name](make)
    planted = plant(module, inputs(module, 64))
    _, match = match_activations(
        planted.module, planted.symmetries, planted.readings, [planted.own, planted.copy], [planted.x], frozenset()
    )
    assert recovered(planted, match)
    units = sum(group.size for group in planted.symmetries.groups)
    assert sum(map(len, match.ties.values())) < units / 4
    assert planted.off(planted.own, back(planted, match)) < 1e-10


@pytest.mark.slow
@pytest.mark.parametrize("name", ZOO)
def test_both_ways_in_the_zoo(name, make, plant):
    torch.manual_seed(0)
    module = ZOO[name](make)
    torch.manual_seed(5)
    planted = plant(module, torch.randn(40, 3, 32, 32))
    _, match = match_activations(
        planted.module, planted.symmetries, planted.readings, [planted.own, planted.copy], [planted.x], frozenset()
    )
    assert recovered(planted, match)
    back(planted, match)
    if name == "densenet121":  # hundreds of groups, most of which share tensors: the weights take minutes
        return
    _, match = match_weights(planted.symmetries, [planted.own, planted.copy], planted.names, 0, True)
    assert (match.source == planted.back).all()
    assert distance(planted, back(planted, match)) < 1e-6


def test_a_silent_unit_and_twins_are_named_as_ties(make, plant):
    module = make("mlp(width=6)", (5,))
    with torch.no_grad():
        module.layers[1].bias[2] = -100.0  # never active
        module.layers[1].weight[4] = module.layers[1].weight[1]
        module.layers[1].bias[4] = module.layers[1].bias[1]
    planted = plant(module, torch.randn(64, 5))
    _, match = match_activations(
        planted.module, planted.symmetries, planted.readings, [planted.own, planted.copy], [planted.x], frozenset()
    )
    group = planted.symmetries.groups[0]
    assert {1, 4} <= set(match.ties[group.name])
    assert recovered(planted, match)


def test_a_network_whose_outputs_are_not_finite_is_refused(make, plant):
    planted = plant(make("mlp(width=6)", (5,)), torch.randn(8, 5))
    broken = dict(planted.own) | {"layers.1.bias": torch.full((6,), torch.nan, dtype=torch.float64)}
    same = planted.symmetries.identity()
    with pytest.raises(Refused, match="differs from what it was"):
        move(planted.module, planted.symmetries, broken, same, None, planted.names, [planted.x], broken)
