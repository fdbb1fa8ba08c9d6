"""The symmetries of a model of the store."""

from __future__ import annotations

import math

import pytest
from PIL import Image

from rashomon_cli.core.errors import UsageError
from rashomon_cli.operations.symmetries import Part, symmetries


def test_of_an_mlp(zoo, at):
    found = symmetries(at(zoo), "a")
    assert [(row.what, row.size, row.rescalings) for row in found.groups] == [("units", 8, 8)] * 2
    assert math.isclose(found.log10_permutations, 2 * math.log10(math.factorial(8)))
    assert (found.rescalings, found.absorbed, found.continuous_dimensions) == (16, 0, 16)
    assert (found.qk_dimensions, found.ov_dimensions) == (0, 0)


def test_of_a_cnn_and_of_a_model_on_a_path(zoo, at):
    one, other = (symmetries(at(zoo), name) for name in ("c", "cd@0.5"))
    assert one == other
    assert {row.what for row in one.groups} == {"channels"}
    # before each BatchNorm a factor that it takes away, behind it one that its ReLU lets pass
    assert one.rescalings == 2 * one.absorbed == 2 * sum(row.size for row in one.groups)


def test_of_a_transformer(store, at, teach, tmp_path):
    (tmp_path / "own.py").write_text(
        "from torch import nn\n"
        "class Net(nn.Module):\n"
        "    def __init__(self):\n"
        "        super().__init__()\n"
        "        self.a = nn.Linear(8, 6)\n"
        "        self.m = nn.MultiheadAttention(6, 2, batch_first=True)\n"
        "        self.b = nn.Linear(6, 10)\n"
        "    def forward(self, x):\n"
        "        x = self.a(x.flatten(1, 2))\n"
        "        return self.b((x + self.m(x, x, x)[0]).mean(1))\n"
    )
    teach(store, "t", model=f"{tmp_path / 'own.py'}:Net", epochs=1)
    found = symmetries(at(store), "t")
    assert [(row.what, row.size) for row in found.groups] == [("units", 6), ("heads", 2)]
    parts = {Part("m.in_proj_weight", what, 3) for what in ("QK", "OV")}
    assert set(found.groups[1].parts) == parts
    assert found.qk_dimensions == found.ov_dimensions == 2 * 3**2
    assert found.continuous_dimensions == found.rescalings + 36


@pytest.mark.parametrize(("name", "hint"), [("cd", "cd@0.5"), ("nobody", "rashomon ls")])
def test_what_is_no_model_is_refused(name, hint, zoo, at):
    with pytest.raises(UsageError) as refused:
        symmetries(at(zoo), name)
    assert hint in refused.value.hint


def test_of_a_model_whose_images_are_not_here(store, at, teach, tmp_path):
    for split in ("train", "test"):
        for name in ("one", "two"):
            (tmp_path / "images" / split / name).mkdir(parents=True)
            for number in range(4):
                Image.new("RGB", (8, 8), (30 * number, 90, 10)).save(
                    tmp_path / "images" / split / name / f"{number}.png"
                )
    teach(store, "m", model="smallcnn(width=4)", data=f"folder:{tmp_path / 'images'}", batch_size=4, epochs=1)
    (tmp_path / "images").rename(tmp_path / "elsewhere")
    assert [row.size for row in symmetries(at(store), "m").groups] == [4, 8, 16]
