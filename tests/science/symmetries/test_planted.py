"""A random element of all symmetries, permutations and factors, leaves the function of any architecture as it was."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
import torch
from torch import nn

from rashomon_cli.science.symmetries import check, find
from rashomon_cli.sources.models.mlp import mlp
from rashomon_cli.sources.models.preresnet import preresnet8, preresnet20
from rashomon_cli.sources.models.smallcnn import smallcnn
from rashomon_cli.sources.models.vgg import vgg16

IMAGE = (3, 32, 32)


def images(size=32, count=2):
    return torch.randn(count, 3, size, size, generator=torch.Generator().manual_seed(0))


def vision(name, size=32, **options):
    def make():
        torchvision = pytest.importorskip("torchvision")
        torch.manual_seed(0)
        return torchvision.models.get_model(name, weights=None, num_classes=10, **options), images(size)

    return make


def transformer():
    torchvision = pytest.importorskip("torchvision")
    torch.manual_seed(0)
    return torchvision.models.VisionTransformer(16, 8, 2, 4, 24, 40, num_classes=10), images(16)


def swin():
    torchvision = pytest.importorskip("torchvision")
    torch.manual_seed(0)
    return torchvision.models.SwinTransformer([4, 4], 16, [1, 2], [2, 4], [2, 2], num_classes=5), images()


def convnext():
    convnext = pytest.importorskip("torchvision.models.convnext")
    torch.manual_seed(0)
    blocks = [convnext.CNBlockConfig(12, 20, 1), convnext.CNBlockConfig(20, None, 2)]
    return convnext.ConvNeXt(blocks, num_classes=5), images()


def timm_transformer():
    timm = pytest.importorskip("timm")
    torch.manual_seed(0)
    options = {"img_size": 16, "patch_size": 8, "embed_dim": 24, "depth": 2, "num_heads": 4, "num_classes": 10}
    return timm.create_model("vit_tiny_patch16_224", pretrained=False, **options), images(16)


def timm_small(module, name, **options):
    def make():
        models = pytest.importorskip(f"timm.models.{module}")
        torch.manual_seed(0)
        return getattr(models, name)(img_size=32, num_classes=5, **options), images()

    return make


def own_transformer():
    sys.path.insert(0, str(Path(__file__).parents[3] / "examples"))
    try:
        import own_model
    finally:
        sys.path.pop(0)
    torch.manual_seed(0)
    return own_model.network(width=8, heads=2), torch.randint(0, own_model.TOKENS, (3, own_model.LENGTH))


QUICK = {
    "mlp": (lambda: (mlp(IMAGE, 10, width=8), images()), 2),
    "smallcnn": (lambda: (smallcnn(IMAGE, 10, width=4), images()), None),
    # two inner groups and one of the stream in each of three stages, the first of them with the stem
    "preresnet8": (lambda: (preresnet8(IMAGE, 10, width=2), images()), 6),
    "vit": (transformer, 1 + 2 * 2),
    "timm vit": (timm_transformer, 1 + 2 * 2),
    "own": (own_transformer, 3),
    # the stream of each of 2 stages, and the hidden units of each of 3 blocks
    "convnext": (convnext, 2 + 3),
}
SLOW = {
    "preresnet20": (lambda: (preresnet20(IMAGE, 10), images()), 3 + 9),
    "vgg16": (lambda: (vgg16(IMAGE, 10), images()), 13 + 2),
    "vgg16 with BatchNorm": (lambda: (vgg16(IMAGE, 10, batch_norm=True), images()), 13 + 2),
    "resnet18": (vision("resnet18"), 4 + 8),
    # the stem, 16 expansions, 7 streams, the last convolution
    "mobilenet_v2": (vision("mobilenet_v2"), 1 + 16 + 7 + 1),
    # the stem, two convolutions in each of 58 layers, 3 transitions
    "densenet121": (vision("densenet121"), 1 + 2 * 58 + 3),
    # the stream, and the hidden units of tokens and of channels in each of 2 blocks
    "mixer": (timm_small("mlp_mixer", "MlpMixer", patch_size=8, num_blocks=2, embed_dim=12), 1 + 2 * 2),
    "beit": (
        timm_small("beit", "Beit", patch_size=8, embed_dim=12, depth=2, num_heads=3, use_rel_pos_bias=True),
        1 + 2 * 2,
    ),
    "eva": (
        timm_small("eva", "Eva", patch_size=8, embed_dim=12, depth=2, num_heads=3, use_rot_pos_emb=True),
        1 + 2 * 2,
    ),
    "cait": (timm_small("cait", "Cait", patch_size=8, embed_dim=12, depth=2, num_heads=3), None),
    "shufflenet": (vision("shufflenet_v2_x0_5"), None),
    "resnext50": (vision("resnext50_32x4d"), None),
    "efficientnet_b0": (vision("efficientnet_b0"), None),
    # the stream of each of 2 stages, heads and hidden units of each of 3 blocks
    "swin": (swin, 2 + 2 * 3),
    "googlenet": (vision("googlenet", 64, aux_logits=False, init_weights=False), None),
    "regnet": (vision("regnet_y_400mf"), None),
    "mnasnet": (vision("mnasnet0_5"), None),
    "squeezenet": (vision("squeezenet1_1", 64), None),
}
ALL = [pytest.param(*case, id=name) for name, case in QUICK.items()] + [
    pytest.param(*case, id=name, marks=pytest.mark.slow) for name, case in SLOW.items()
]


@pytest.mark.parametrize(("make", "groups"), ALL)
def test_the_function_stays_as_it_was(make, groups, effect, moved_off):
    module, x = make()
    difference, moved, found = effect(moved_off(module), x)
    assert difference <= 1e-10
    assert moved > 1
    if groups is not None:
        assert len(found.groups) == groups


@pytest.mark.parametrize(("make", "groups"), ALL[: len(QUICK)])
def test_each_group_alone_does(make, groups, effect, moved_off):
    module, x = make()
    moved_off(module)
    for number in range(len(find(module, x)[1].groups)):
        one = {"groups": lambda found, number=number: (found.groups[number],), "stretch": False}
        difference, moved, _ = effect(module, x, **one, moves=check.cycled)
        assert difference <= 1e-10
        assert moved > 1


def test_the_module_is_left_as_it_was(moved_off):
    module, x = QUICK["preresnet8"][0]()
    module.train()
    module.get_submodule(next(n for n, m in module.named_modules() if isinstance(m, nn.BatchNorm2d))).eval()
    before = {name: value.clone() for name, value in module.state_dict().items()}
    modes = {name: part.training for name, part in module.named_modules()}
    find(module, x)
    assert {name: part.training for name, part in module.named_modules()} == modes
    assert all(torch.equal(value, before[name]) for name, value in module.state_dict().items())
    assert not any(part._forward_hooks or part._forward_pre_hooks for part in module.modules())
    assert all(value.dtype == before[name].dtype for name, value in module.state_dict().items())
