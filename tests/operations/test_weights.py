"""A run's weights as a state dict, and back: shared tensors, buffers that are not persistent, extra state."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from rashomon_cli.core.errors import Refused
from rashomon_cli.operations import weights
from rashomon_cli.operations.modules import load_module
from rashomon_cli.science.problem import Layout

X = torch.ones(2, 3)


class Shared(nn.Module):
    """A linear layer used twice under two names, a buffer that is not saved, and state that is no tensor."""

    def __init__(self):
        super().__init__()
        self.a = nn.Linear(3, 3)
        self.b = nn.Linear(3, 3)
        self.b.weight = self.a.weight
        self.norm = nn.BatchNorm1d(3)
        self.register_buffer("fixed", torch.full((2,), 7.0), persistent=False)

    def get_extra_state(self):
        return {"calls": 3}

    def set_extra_state(self, state):
        pass

    def forward(self, x):
        return self.norm(self.b(self.a(x))) + self.fixed[0]


def parts(module):
    return {name: value.detach().clone() for name, value in (*module.named_parameters(), *module.named_buffers())}


def unpack(module, state):
    shapes = {name: tuple(value.shape) for name, value in state.items()}
    return weights.unpack(module, shapes, state.__getitem__, "the file", "the model")


@pytest.fixture
def module():
    torch.manual_seed(0)
    return Shared()


def test_packed_weights_are_the_module_s_own_state_dict(module):
    packed = weights.pack(module, parts(module))
    assert set(packed) == set(module.state_dict()) - {"_extra_state"}
    other = Shared()
    found = other.load_state_dict({n: torch.from_numpy(v) for n, v in packed.items()}, strict=False)
    assert found.missing_keys == ["_extra_state"]
    assert torch.equal(module.eval()(X), other.eval()(X))


def test_a_shared_tensor_may_come_under_each_of_its_names(module):
    state = {name: value for name, value in module.state_dict().items() if name != "_extra_state"}
    expected = parts(module)
    for lacking in ((), ("a.weight",), ("b.weight",)):
        found = unpack(module, {name: value for name, value in state.items() if name not in lacking})
        assert {name: value.tolist() for name, value in found.items()} == {n: v.tolist() for n, v in expected.items()}
    with pytest.raises(Refused, match=r"lacks a\.weight"):
        unpack(module, {name: value for name, value in state.items() if not name.endswith("weight")})


def test_copies_of_a_shared_tensor_that_differ_are_refused(module):
    state = {name: value for name, value in module.state_dict().items() if name != "_extra_state"}
    state["b.weight"] = state["b.weight"] + 1
    with pytest.raises(Refused, match=r"a\.weight and b\.weight are one tensor of the model, but differ"):
        unpack(module, state)


def test_files_of_the_first_versions_hold_every_buffer_and_load(module):
    old = parts(module) | {"fixed": torch.full((2,), 9.0)}
    assert unpack(module, old)["fixed"].tolist() == [9.0, 9.0]
    del old["fixed"]
    assert unpack(module, old)["fixed"].tolist() == [7.0, 7.0]


def test_names_and_shapes_that_differ_are_told(module):
    state = {name: value for name, value in module.state_dict().items() if name != "_extra_state"}
    state["a.bias"], state["stranger"] = torch.zeros(4), torch.zeros(1)
    del state["norm.weight"]
    with pytest.raises(Refused) as caught:
        unpack(module, state)
    told = "lacks norm.weight; has stranger besides; a.bias is (4,), not (3,)"
    assert caught.value.message == f"the file does not fit the model: {told}"


def test_values_are_read_only_once_all_shapes_fit(module):
    with pytest.raises(Refused, match="does not fit"):
        weights.unpack(module, {"a.bias": (10**9,)}, lambda name: pytest.fail(f"{name} was read"), "f", "m")


def test_a_path_between_shared_weights_keeps_them_shared(store, teach, join, tmp_path):
    (tmp_path / "own.py").write_text(
        "from torch import nn\n"
        "def net(num_classes):\n"
        "    one = nn.Linear(64, 64)\n    two = nn.Linear(64, 64)\n    two.weight = one.weight\n"
        "    return nn.Sequential(nn.Flatten(), one, nn.ReLU(), two, nn.Linear(64, num_classes))\n"
    )
    for seed in (1, 2):
        run = teach(store, f"m{seed}", model=f"{tmp_path / 'own.py'}:net", seed=seed, epochs=1)
    state = run.tensors()
    np.testing.assert_array_equal(state["1.weight"], state["3.weight"])
    module = nn.Sequential(nn.Flatten(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 64), nn.Linear(64, 10))
    module[3].weight = module[1].weight
    path = join(store, "m1", "m2", name="path", epochs=1)
    assert path.tensors("path.safetensors")["bends"].shape[1] == Layout.of(module).total


FROZEN = """
import torch
from torch import nn

class Net(nn.Module):
    def __init__(self, outputs, seed):
        super().__init__()
        generator = None if seed is None else torch.Generator().manual_seed(seed)
        self.features = nn.Linear(64, 12, bias=False)
        self.features.weight.data.normal_(generator=generator)
        self.features.requires_grad_(False)
        self.register_buffer("shift", torch.randn(12, generator=generator))
        self.norm, self.head = nn.BatchNorm1d(12), nn.Linear(12, outputs)

    def forward(self, x):
        return self.head(self.norm(torch.cos(self.features(x.flatten(1)) + self.shift)))

def net(num_classes, seed=None):
    return Net(num_classes, seed)
"""


def test_what_is_frozen_stays_as_it_was_made_and_belongs_to_every_point_of_a_path(store, at, teach, join, tmp_path):
    (tmp_path / "frozen.py").write_text(FROZEN)
    model = f"{tmp_path}/frozen.py:net(seed=3)"
    first, other = (teach(store, f"m{seed}", seed=seed, model=model, weight_decay=0.1) for seed in (1, 2))
    ones = [run.tensors()["features.weight"] for run in (first, other)]
    assert np.array_equal(*ones)
    assert first.metrics["parameters"] == 12 + 12 + 12 * 10 + 10
    path = join(store, "m1", "m2", name="p", epochs=1, points=3)
    ends = [path.metrics[f"end_test_error_{end}"] for end in "ab"]
    for run, error in zip((first, other), ends):
        assert abs(error - 100 * (1 - run.metrics["test_accuracy"])) < 8  # but for the refreshed statistics
    middle = load_module(store, "p@0.5")
    assert np.array_equal(middle.features.weight.numpy(), ones[0])
    assert np.array_equal(middle.shift.numpy(), first.tensors()["shift"])


def test_ends_that_differ_in_what_is_not_trained_are_refused(store, teach, join, tmp_path):
    (tmp_path / "frozen.py").write_text(FROZEN)
    for seed in (1, 2):
        teach(store, f"m{seed}", seed=seed, model=f"{tmp_path}/frozen.py:net")
    with pytest.raises(Refused, match=r"m1 and m2 differ in features\.weight, which is not trained"):
        join(store, "m1", "m2", epochs=1)
