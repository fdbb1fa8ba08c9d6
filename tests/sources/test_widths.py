import pytest

from rashomon_cli.core.errors import Refused
from rashomon_cli.sources import builders, widths

OWN = """
1 / 0

def written(input_shape, num_classes, depth=2, width=6, bias=True):
    ...

def keyword(input_shape, *, width=0.25, num_classes=10):
    ...

def needed(width, num_classes):
    ...

def without(num_classes, size=3):
    ...

def words(width="large"):
    ...
"""
HINT = "rashomon connect a b"


@pytest.fixture
def own(tmp_path):
    path = tmp_path / "own.py"
    path.write_text(OWN)
    return lambda call: builders.resolve(f"{path}:{call}")


@pytest.mark.parametrize(
    ("call", "width"),
    [
        ("written", 12),
        ("written(depth=3)", 12),
        ("written(width=4)", 8),
        ("keyword", 0.5),
        ("keyword(width=1.5)", 3.0),
        ("needed(width=3)", 6),
    ],
)
def test_the_width_is_read_without_running_the_code(own, call, width):
    before = own(call)
    wide = widths.doubled(before, HINT)
    assert wide.spec.arguments == before.spec.arguments | {"width": width}
    assert wide.record() == before.record() | {"arguments": wide.spec.arguments}


@pytest.mark.parametrize("call", ["needed", "without", "without(size=4)"])
def test_a_builder_without_a_width_is_refused(own, call):
    with pytest.raises(Refused, match="no argument width with a default") as error:
        widths.doubled(own(call), HINT)
    assert error.value.hint == HINT


@pytest.mark.parametrize("call", ["words", "written(width='wide')", "written(width=True)", "written(width=None)"])
def test_a_width_that_is_no_number_is_refused(own, call):
    with pytest.raises(Refused, match="no number that could be doubled"):
        widths.doubled(own(call), HINT)


@pytest.mark.parametrize(
    ("spec", "width"), [("mlp", 128), ("smallcnn", 32), ("preresnet20", 32), ("vgg16(batch_norm=True)", 128)]
)
def test_built_in_models(spec, width):
    assert widths.doubled(builders.resolve(spec), HINT).spec.arguments["width"] == width


@pytest.mark.parametrize(("call", "width"), [("written", 6), ("written(width=4)", 4), ("keyword", 0.25)])
def test_a_width_is_given_or_a_default_and_can_be_another(own, call, width):
    before = own(call)
    assert widths.width_of(before, HINT) == width
    assert widths.with_width(before, 7).spec.arguments == before.spec.arguments | {"width": 7}


def test_an_error_says_what_the_width_was_for(own):
    with pytest.raises(Refused, match="so none can be multiplied"):
        widths.width_of(own("without"), HINT, "multiplied")


def test_packages_of_models_have_no_width():
    with pytest.raises(Refused, match="torchvision:resnet18 has no argument width"):
        widths.doubled(builders.resolve("torchvision:resnet18"), HINT)


def test_what_the_file_does_not_spell_out_is_asked_of_the_function(tmp_path):
    (tmp_path / "made.py").write_text(
        "from functools import partial\n"
        "SIZE = 3\n"
        "class Net:\n    def __init__(self, num_classes, width=5): ...\n"
        "def named(width=SIZE): ...\n"
        "part = partial(Net, width=7)\n"
    )
    found = {
        name: widths.doubled(builders.resolve(f"{tmp_path / 'made.py'}:{name}"), HINT).spec.arguments["width"]
        for name in ("Net", "named", "part")
    }
    assert found == {"Net": 10, "named": 6, "part": 14}


def test_built_in_models_are_read_without_torch(start):
    code = (
        "import sys; from rashomon_cli.sources import builders, widths; "
        "print(widths.doubled(builders.resolve('preresnet8'), '').spec, 'torch' in sys.modules)"
    )
    out, _ = start(python=code).communicate(timeout=60)
    assert out.split("\n")[0] == "preresnet8(width=32) False"
