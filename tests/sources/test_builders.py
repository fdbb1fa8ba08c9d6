import itertools

import pytest
import torch

from rashomon_cli.core.errors import Refused, UsageError
from rashomon_cli.sources import builders, imports


def make(text, shape=(3, 32, 32), classes=10):
    return builders.resolve(text).make(shape, classes)


def size(module):
    return sum(p.numel() for p in module.parameters())


@pytest.mark.parametrize("name", builders.BUILT_IN)
def test_every_built_in_model_gives_one_output_a_class(name):
    arguments = "(width=2)" if name != "mlp" else "(width=4, depth=1)"
    assert make(name + arguments, (1, 8, 8), 7)(torch.zeros(2, 1, 8, 8)).shape == (2, 7)


def test_preresnet20_has_the_published_size():
    first = 3 * 16 * 9
    stage1 = 3 * (2 * 2 * 16 + 2 * 16 * 16 * 9)
    stage2 = (2 * 16 + 2 * 32 + 16 * 32 * 9 + 32 * 32 * 9 + 16 * 32) + 2 * (2 * 2 * 32 + 2 * 32 * 32 * 9)
    stage3 = (2 * 32 + 2 * 64 + 32 * 64 * 9 + 64 * 64 * 9 + 32 * 64) + 2 * (2 * 2 * 64 + 2 * 64 * 64 * 9)
    assert first + stage1 + stage2 + stage3 + 2 * 64 + 64 * 10 + 10 == 272_282
    assert size(make("preresnet20")) == 272_282
    assert sum(isinstance(m, torch.nn.Conv2d) and m.kernel_size == (3, 3) for m in make("preresnet20").modules()) == 19


def test_preresnet164_has_the_published_size():
    def block(inputs, inner, projects):
        norms = 2 * (inputs + inner + inner)
        return norms + inputs * inner + 9 * inner**2 + 4 * inner**2 + (inputs * 4 * inner if projects else 0)

    stages = [(16, 16), (64, 32), (128, 64)]
    blocks = sum(block(inputs, n, True) + 17 * block(4 * n, n, False) for inputs, n in stages)
    expected = 3 * 16 * 9 + blocks + 2 * 256 + 256 * 10 + 10
    module = make("preresnet164")
    assert size(module) == expected == 1_703_258
    layers = [m for m in module.modules() if isinstance(m, torch.nn.Conv2d | torch.nn.Linear)]
    assert len(layers) - 3 == 164  # without the projections of the three stages


@pytest.mark.parametrize(("batch_norm", "norms"), [(False, 0), (True, 2 * 4224)])
def test_vgg16_has_the_published_size(batch_norm, norms):
    channels = [3, 64, 64, 128, 128, 256, 256, 256, 512, 512, 512, 512, 512, 512]
    convolutions = sum(9 * a * b + b for a, b in itertools.pairwise(channels))
    assert convolutions == 14_714_688
    expected = convolutions + 2 * (512 * 512 + 512) + 512 * 10 + 10
    assert size(make(f"vgg16(batch_norm={batch_norm})")) == expected + norms == 15_245_130 + norms


@pytest.mark.parametrize("name", ["smallcnn", "preresnet8", "preresnet164", "vgg16"])
def test_twice_the_width_is_four_times_the_convolutions(name):
    def weights(width):
        layers = [m for m in make(f"{name}(width={width})").modules() if isinstance(m, torch.nn.Conv2d)]
        return sum(layer.weight.numel() for layer in layers[1:])

    assert weights(6) == 4 * weights(3)
    assert size(make(f"{name}(width=1)")) > 0


@pytest.mark.parametrize(("bias", "expected"), [(True, 4 * 3 + 3 + 3 * 3 + 3 + 3 * 2 + 2), (False, 12 + 9 + 6)])
def test_the_size_of_an_mlp(bias, expected):
    assert size(make(f"mlp(width=3, bias={bias})", (4,), 2)) == expected


@pytest.mark.parametrize(
    ("text", "words", "hint"),
    [
        ("preresnet21", "no model 'preresnet21'", "did you mean preresnet20?"),
        ("zzz", "no model 'zzz'", "one of mlp, smallcnn"),
        ("mlp(widht=3)", "mlp has no argument 'widht'", "did you mean width?"),
        ("mlp(q=3)", "mlp has no argument 'q'", "width, depth, bias"),
        ("no.such.module:net", "no module 'no.such.module'", "install it"),
        ("nowhere.py:net", "no file nowhere.py", "models/mine.py:factory"),
        ("math:nothing", "math has no 'nothing'", "name a function"),
        ("math:pi", "math:pi is no function", "torch.nn.Module"),
    ],
)
def test_a_wrong_builder_is_a_usage_error(text, words, hint):
    with pytest.raises(UsageError, match=words) as caught:
        make(text)
    assert hint in caught.value.hint


@pytest.mark.parametrize(
    "text", ["mlp(width=0)", "mlp(width='a')", "preresnet20(width=-1)", "vgg16(width=0)", "smallcnn(width=0)"]
)
def test_a_builder_that_fails_is_refused(text):
    with pytest.raises(Refused, match="the builder"):
        make(text)


@pytest.fixture
def own(tmp_path):
    path = tmp_path / "own.py"
    path.write_text(
        "from torch import nn\n"
        "def net(num_classes, hidden=2):\n"
        "    return nn.Sequential(nn.Linear(4, hidden), nn.Linear(hidden, num_classes))\n"
        "def any_arguments(**given):\n    return nn.Linear(given['a'], 1)\n"
        "def wrong():\n    return 3\n"
    )
    return path


def test_a_builder_of_the_users_own(own):
    assert size(make(f"{own}:net(hidden=3)", (4,), 5)) == 4 * 3 + 3 + 3 * 5 + 5
    assert size(make(f"{own}:any_arguments(a=6)", (4,), 5)) == 7
    with pytest.raises(Refused, match="returned int"):
        make(f"{own}:wrong")
    assert builders.resolve(f"{own}:net").short == "net"


def test_a_source_file_that_changed_is_a_warning(own):
    record = builders.resolve(f"{own}:net(hidden=3)").record()
    assert len(record["sha256"]) == 64
    assert builders.of_record(record) == (builders.resolve(f"{own}:net(hidden=3)"), None)
    own.write_text(own.read_text() + "\n# changed\n")
    _, warning = builders.of_record(record)
    assert f"{own}:net changed since the run was made" in warning
    assert builders.of_record(builders.resolve("mlp").record())[1] is None


def test_a_module_that_fails_on_import_is_a_usage_error(tmp_path):
    (tmp_path / "bad.py").write_text("1 / 0\n")
    for _ in range(2):
        with pytest.raises(UsageError, match="ZeroDivisionError"):
            imports.load(f"{tmp_path / 'bad.py'}:net")
