"""Models of torchvision and timm by name."""

import importlib.util
import subprocess
import sys

import pytest
import torch

from rashomon_cli.core.errors import Refused, UsageError
from rashomon_cli.sources import builders, registries

VIT = "timm:vit_tiny_patch16_224(patch_size=4, embed_dim=12, depth=1, num_heads=2)"


def make(text, shape=(3, 32, 32), classes=5):
    return builders.resolve(text).make(shape, classes)


@pytest.mark.parametrize(
    ("text", "shape"),
    [
        ("torchvision:squeezenet1_1", (3, 32, 32)),
        ("torchvision:vit_b_32", (3, 64, 64)),  # its image_size is filled in
        ("timm:resnet10t", (1, 32, 32)),  # takes one channel, and any size
        (VIT, (2, 16, 24)),  # takes any channels, and a size
        (VIT.replace("(", "(in_chans=3, img_size=8, num_classes=5, "), (3, 8, 8)),
    ],
)
def test_what_the_data_say_is_filled_in(text, shape):
    with torch.no_grad():
        assert make(text, shape).eval()(torch.zeros(2, *shape)).shape == (2, 5)


def test_weights_of_torchvision_bring_their_own_number_of_classes():
    given = {"weights": "DEFAULT"}
    assert registries.defaults("torchvision", "resnet18", given, (3, 32, 32), 5) == {}
    assert registries.defaults("torchvision", "resnet18", {"weights": None}, (3, 32, 32), 5) == {"num_classes": 5}


@pytest.mark.parametrize(
    ("text", "words", "hint"),
    [
        ("torchvision:resnet81", "no torchvision model 'resnet81'", "did you mean resnet18?"),
        ("timm:vit_tiny_patch16_244", "no timm model", "did you mean vit_tiny_patch16_224?"),
        ("timm:zzz", "no timm model 'zzz'", "timm.list_models()"),
    ],
)
def test_an_unknown_model_is_a_usage_error_with_the_nearest_name(text, words, hint):
    with pytest.raises(UsageError, match=words) as caught:
        make(text)
    assert hint in caught.value.hint


def test_arguments_that_a_model_does_not_take_are_refused():
    with pytest.raises(Refused, match="unexpected keyword argument 'widht'"):
        make("torchvision:resnet18(widht=3)")


def test_without_timm_the_extra_is_named_before_torch_is_imported(tmp_path):
    code = (
        "import importlib.util as u, sys\n"
        "real = u.find_spec\n"
        "u.find_spec = lambda name, *rest: None if name == 'timm' else real(name, *rest)\n"
        "from rashomon_cli.cli.app import main\n"
        "code = main(['train', '--model', 'timm:resnet18', '--data', 'digits'])\n"
        "print(code, 'torch' in sys.modules)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["2", "False"]
    assert "pip install 'rashomon-cli[timm]'" in done.stderr


def test_the_package_that_built_a_model_is_recorded_and_another_version_is_told():
    builder = builders.resolve("torchvision:resnet18")
    record = builder.record()
    assert record["package"] == f"torchvision {importlib.metadata.version('torchvision')}"
    assert builders.of_record(record) == (builder, None)
    now, warning = builders.of_record(record | {"package": "torchvision 0.1"})
    assert now == builder
    assert warning == f"torchvision:resnet18 was made with torchvision 0.1, here is {record['package']}"
