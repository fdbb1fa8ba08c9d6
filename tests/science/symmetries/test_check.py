"""The proof by trial: it generates all permutations, and what a wrong rule claims does not pass."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
from torch import nn

from rashomon_cli.core.errors import Refused
from rashomon_cli.science.symmetries import check, dispatch, find, norms, rules
from rashomon_cli.science.symmetries.axes import Group, Inner, Symmetries
from rashomon_cli.science.symmetries.labels import Layer, Value

X = torch.randn(3, 6, generator=torch.Generator().manual_seed(0))


def of(groups, units):
    none = np.zeros(0, np.int64)
    return Symmetries(units, 1, (), groups, none, none, (), np.arange(units))


@pytest.mark.parametrize("size", [2, 3, 4, 5])
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_a_cycle_and_an_exchange_generate_all_permutations(size, seed):
    group = Group("w", np.arange(1, size + 1))
    found = of((group,), size + 1)
    moves = [tuple(move(found, (group,), seed)) for move in (check.cycled, check.exchanged)]
    assert all(move[0] == 0 for move in moves)
    assert sum(np.array(moves[1]) != np.arange(size + 1)) == 2
    reached = {tuple(range(size + 1))}
    open_ = list(reached)
    while open_:
        one = open_.pop()
        new = {tuple(one[i] for i in move) for move in moves} - reached
        reached |= new
        open_ += new
    assert reached == {(0, *order) for order in itertools.permutations(range(1, size + 1))}


def test_units_move_with_their_blocks():
    inner = Inner("w", "units", np.array([[3, 4, 5], [6, 7, 8]]))
    group = Group("w", np.array([1, 2]), (inner,))
    found = of((group,), 9)
    for move in (check.cycled, check.exchanged):
        source = move(found, (group,), 0)
        assert sorted(source) == list(range(9))
        assert source[1] == 2
        assert {int(source[unit]) for unit in (3, 4, 5)} == {6, 7, 8}
        assert list(source[[3, 4, 5]]) != [6, 7, 8]


def test_a_rule_that_lets_factors_pass_a_gelu_is_caught(monkeypatch):
    monkeypatch.setattr(rules, "HOMOGENEOUS", rules.HOMOGENEOUS | {"gelu"})
    torch.manual_seed(0)
    with pytest.raises(Refused, match="factors seemed free"):
        find(nn.Sequential(nn.Linear(6, 4), nn.GELU(), nn.Linear(4, 3)), X)


def test_a_layer_norm_that_forgets_its_affine_parameters_is_caught(monkeypatch):
    """Of a fresh network they are all 1 and 0, so that their order would not be seen there."""

    def forgetful(ledger, out, x, axes, affine):
        ledger.fix_scales(x.layers[0].scales)
        return Value(out.shape, (Layer(x.layers[0].units, torch.zeros_like(x.layers[0].units)),))

    monkeypatch.setattr(norms, "layer_norm", forgetful)
    torch.manual_seed(0)
    with pytest.raises(Refused, match="seemed interchangeable"):
        find(nn.Sequential(nn.Linear(6, 4), nn.LayerNorm(4), nn.Linear(4, 3)), X)


def test_a_sum_that_runs_along_units_as_if_each_were_alone_is_caught(monkeypatch):
    monkeypatch.setitem(dispatch._RULES, "cumsum", dispatch._RULES["gelu"])
    torch.manual_seed(0)
    module = nn.Sequential(nn.Linear(6, 2), Running(), nn.Linear(2, 3))
    with pytest.raises(Refused, match=r"the units of 0\.weight seemed interchangeable"):
        find(module, X)


class Scaled(nn.Module):
    """Its input times a number."""

    def __init__(self, factor):
        super().__init__()
        self.factor = factor

    def forward(self, x):
        return self.factor * x


@pytest.mark.parametrize("factor", [1.0, 1e-12])
def test_a_wrong_rule_is_caught_however_small_outputs_are(factor, monkeypatch):
    monkeypatch.setitem(dispatch._RULES, "cumsum", dispatch._RULES["gelu"])
    torch.manual_seed(0)
    module = nn.Sequential(nn.Linear(6, 4), Running(), nn.Linear(4, 3), Scaled(factor))
    with pytest.raises(Refused, match=r"the units of 0\.weight seemed interchangeable"):
        find(module, X)


def test_a_wrong_rule_is_caught_behind_dead_units(monkeypatch):
    monkeypatch.setattr(rules, "HOMOGENEOUS", rules.HOMOGENEOUS | {"gelu"})
    torch.manual_seed(0)
    module = nn.Sequential(nn.Linear(6, 4), nn.ReLU(), nn.GELU(), nn.Linear(4, 3))
    nn.init.constant_(module[0].bias, -5.0)
    assert not module[:2](X).any()
    with pytest.raises(Refused, match="factors seemed free"):
        find(module, X)


@pytest.mark.parametrize("factor", [0.0, torch.nan])
def test_of_a_network_whose_outputs_say_nothing_no_symmetry_is_proved(factor):
    torch.manual_seed(0)
    module = nn.Sequential(nn.Linear(6, 4), nn.ReLU(), nn.Linear(4, 3), Scaled(factor))
    with pytest.raises(check.Unvaried, match="not finite, or the same whatever") as refused:
        find(module, X)
    assert "rashomon " in refused.value.hint


def test_of_a_network_without_symmetries_nothing_is_to_be_proved():
    torch.manual_seed(0)
    _, found, _ = find(nn.Sequential(nn.Linear(6, 3), Scaled(0.0)), X)
    assert not found.groups
    assert found.continuous == 0


def test_equal_inputs_do_not_make_a_network_constant():
    torch.manual_seed(0)
    _, found, _ = find(nn.Sequential(nn.Linear(6, 4), nn.ReLU(), nn.Linear(4, 3)), torch.zeros(2, 6))
    assert [group.size for group in found.groups] == [4]


class Running(nn.Module):
    def forward(self, x):
        return x.cumsum(-1)


def test_a_jolt_leaves_variances_positive_and_moves_the_rest():
    torch.manual_seed(0)
    module = nn.Sequential(nn.Linear(6, 4), nn.BatchNorm1d(4), nn.ReLU(), nn.Linear(4, 3))
    graph, found, _ = find(module, X)
    moved = check.jolted(graph, found, 0)
    assert bool((moved["1.running_var"] > 0).all())
    for name in graph.parameters | {"1.running_mean", "1.running_var"}:
        assert bool((moved[name] != graph.values[name]).all()), name
