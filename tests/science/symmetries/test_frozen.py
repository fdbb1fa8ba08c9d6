"""Moves with BatchNorm's statistics frozen: what a network computes stays, and so do the statistics."""

from __future__ import annotations

import copy
import math

import pytest
import torch
from torch import nn
from torch.nn import functional

from rashomon_cli.science.symmetries import find
from rashomon_cli.science.symmetries.frozen import movable, norms, rescale_frozen
from rashomon_cli.sources.models.preresnet import preresnet8

IMAGES = torch.randn(2, 3, 8, 8, generator=torch.Generator().manual_seed(0)).double()


def filtered(**options):
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4, **options), nn.ReLU(), nn.Flatten(), nn.Linear(144, 3))


class Residual(nn.Module):
    """A sum of two normalised branches behind a ReLU."""

    def __init__(self):
        super().__init__()
        self.inner, self.second = nn.Conv2d(3, 5, 3, padding=1), nn.BatchNorm2d(5)
        self.short, self.third = nn.Conv2d(3, 5, 1, bias=False), nn.BatchNorm2d(5)
        self.head = nn.Linear(5, 3)

    def forward(self, x):
        return self.head(functional.relu(self.second(self.inner(x)) + self.third(self.short(x))).mean((2, 3)))


def moved(module, logarithm_of):
    """The graph, its tensors, and these after each movable scale s was moved by ``exp(logarithm_of(s))``."""
    graph, found, _ = find(module, IMAGES)
    several = norms(graph, graph.parameters)
    logarithms = torch.zeros(found.scales, dtype=torch.float64)
    for scale in movable(found, several, graph.parameters).tolist():
        logarithms[scale] = logarithm_of(scale, found)
    return graph, rescale_frozen(found, several, graph.values, logarithms)


def computed(module, tensors):
    plain = copy.deepcopy(module).double().eval()
    with torch.no_grad():
        return torch.func.functional_call(plain, dict(tensors), (IMAGES,))


@pytest.mark.parametrize("build", [filtered, Residual, lambda: preresnet8((3, 8, 8), 3, width=2)])
def test_outputs_and_statistics_stay(moved_off, build):
    torch.manual_seed(0)
    module = moved_off(build())
    graph, after = moved(module, lambda scale, _: math.sin(scale))
    assert float((computed(module, after) - computed(module, graph.values)).abs().max()) < 1e-10
    for name, before in graph.values.items():
        assert torch.equal(after[name], before) == (
            name not in graph.parameters or name == "head.bias" or name == "4.bias"
        )


def test_a_filter_s_factor_goes_into_gamma_and_beta_as_written(moved_off):
    torch.manual_seed(0)
    module = moved_off(filtered())
    graph, after = moved(module, lambda scale, found: math.log(3.0) if scale in found.absorbed else 0.0)
    before = graph.values
    gamma, mean, variance = (before[f"1.{name}"] for name in ("weight", "running_mean", "running_var"))
    sigma = (variance + module[1].eps).sqrt()
    torch.testing.assert_close(after["0.weight"], 3 * before["0.weight"])
    torch.testing.assert_close(after["0.bias"], 3 * before["0.bias"])
    torch.testing.assert_close(after["1.weight"], gamma / 3)
    torch.testing.assert_close(after["1.bias"], before["1.bias"] + gamma * mean / sigma * (1 / 3 - 1))
    alone = {**before, "0.weight": 3 * before["0.weight"], "0.bias": 3 * before["0.bias"]}
    assert float((computed(module, alone) - computed(module, before)).abs().max()) > 0.1


def test_without_gamma_and_beta_a_filter_s_factor_has_no_way(moved_off):
    torch.manual_seed(0)
    graph, found, _ = find(moved_off(filtered(affine=False)), IMAGES)
    assert len(found.free) == 4
    assert len(movable(found, norms(graph, graph.parameters), graph.parameters)) == 0
