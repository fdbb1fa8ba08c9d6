"""Networks whose control flow depends on the data: groups of coupled channels, proved by trial, or a refusal."""

from __future__ import annotations

import builtins

import pytest
import torch
from torch import nn

from rashomon_cli.core.errors import Refused
from rashomon_cli.science.symmetries import find

X = torch.randn(4, 3, 8, 8, generator=torch.Generator().manual_seed(0))


class Branching(nn.Module):
    """Doubles what is small; with ``other``, a part of its own for some inputs."""

    def __init__(self, other=False):
        super().__init__()
        self.a, self.norm, self.b = nn.Conv2d(3, 6, 3), nn.BatchNorm2d(6), nn.Conv2d(6, 5, 3)
        self.c, self.d = nn.Linear(5, 4), nn.Linear(4, 3)
        self.other = nn.Linear(5, 4) if other else None

    def forward(self, x):
        hidden = self.norm(self.a(x)).relu()
        if hidden.mean() < 0.5:
            hidden = 2 * hidden
        hidden = self.b(hidden).relu().mean((2, 3))
        if self.other is not None and hidden.max() > 1e3:
            return self.d(self.other(hidden).relu())
        return self.d(self.c(hidden).relu())


class Looping(nn.Module):
    """Applies a residual block as often as its input says."""

    def __init__(self):
        super().__init__()
        self.a, self.b, self.c = nn.Linear(192, 6), nn.Linear(6, 6), nn.Linear(6, 3)

    def forward(self, x):
        hidden = self.a(x.flatten(1))
        for _ in range(2 + int(hidden.detach().abs().max())):
            hidden = hidden + self.b(hidden.relu())
        return self.c(hidden)


class Ordered(nn.Module):
    """Reads its units one after the other, so none can take another's place."""

    def __init__(self):
        super().__init__()
        self.a, self.b = nn.Linear(192, 4), nn.Linear(4, 3)

    def forward(self, x):
        hidden = self.a(x.flatten(1))
        return self.b(hidden.cumsum(-1) if hidden.sum() > 0 else hidden.cumsum(-1).relu())


class Weighed(nn.Module):
    """Outputs times a factor, of hidden units that are weighed by numbers of their own, or all alike."""

    def __init__(self, factor, alike, bias=0.0):
        super().__init__()
        self.a, self.b, self.factor, self.alike = nn.Linear(192, 5), nn.Linear(5, 3), factor, alike
        nn.init.constant_(self.a.bias, bias)

    def forward(self, x):
        hidden = self.a(x.flatten(1)).relu()
        out = self.b(hidden if self.alike else hidden * torch.arange(1, 6))
        return out * (self.factor if out.sum() > 0 else 2 * self.factor)


@pytest.mark.parametrize("factor", [1.0, 1e-12])
def test_small_outputs_prove_nothing_more_than_large_ones(factor, effect):
    torch.manual_seed(0)
    with pytest.raises(Refused, match="no group"):
        find(Weighed(factor, alike=False), X)
    module = Weighed(factor, alike=True)
    _, found, _ = find(module, X)
    assert {group.name: group.size for group in found.groups} == {"a.weight": 5}
    before = module.double()(X.double()).detach().abs().max()
    assert effect(module, X).difference <= 1e-10 * float(before)


@pytest.mark.parametrize("alike", [True, False])
def test_units_that_are_dead_are_proved_where_they_are_alive(alike):
    torch.manual_seed(0)
    module = Weighed(1.0, alike, bias=-100.0)
    assert not module.a(X.flatten(1)).relu().any()
    if alike:
        assert {group.name for group in find(module, X)[1].groups} == {"a.weight"}
    else:
        with pytest.raises(Refused, match="no group"):
            find(module, X)


def test_a_constant_network_is_refused():
    torch.manual_seed(0)
    with pytest.raises(Refused, match=r"depends on the data, and the model's outputs are .* the same whatever"):
        find(Weighed(0.0, alike=False), X)


@pytest.mark.parametrize(
    ("make", "expected"), [(Branching, {"a.weight": 6, "b.weight": 5, "c.weight": 4}), (Looping, {"a.weight": 6})]
)
def test_coupled_channels_are_groups(make, expected, effect, moved_off):
    torch.manual_seed(0)
    module = moved_off(make())
    difference, moved, found = effect(module, X)
    assert {group.name: group.size for group in found.groups} == expected
    assert found.continuous == 0
    assert difference <= 1e-10
    assert moved > 1
    assert all(parameter.requires_grad and parameter.grad is None for parameter in module.parameters())


def test_a_branch_that_was_not_taken_is_refused():
    torch.manual_seed(0)
    with pytest.raises(Refused, match="depends on the data, and other was not used"):
        find(Branching(other=True), X)


def test_units_in_order_are_no_group():
    torch.manual_seed(0)
    with pytest.raises(Refused, match="no group"):
        find(Ordered(), X)


def test_a_frozen_parameter_is_not_moved():
    torch.manual_seed(0)
    module = Branching()
    module.b.bias.requires_grad_(False)
    assert [group.name for group in find(module, X)[1].groups] == ["a.weight", "c.weight"]
    assert not module.b.bias.requires_grad


def test_a_missing_package_is_named(monkeypatch):
    real = builtins.__import__

    def without(name, *rest):
        if name == "torch_pruning":
            raise ImportError(name)
        return real(name, *rest)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(Refused, match="torch-pruning") as refused:
        find(Branching(), X)
    assert refused.value.hint == "pip install 'rashomon-cli[pruning]'"
