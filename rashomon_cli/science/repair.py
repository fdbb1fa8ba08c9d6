"""Resetting the statistics of a network between two others: their variance collapses on the way, and is put back.

With BatchNorm that is a refresh of its statistics. For any other network every linear map's outputs get, unit by unit,
the mean and standard deviation between those of the two ends (Jordan et al. 2022, arXiv 2211.08403, eqs. 3 and 4).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from rashomon_cli.science.problem import Batches, Problem, Tick, silent

_LINEAR = (nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d)


@dataclass(frozen=True)
class Moments:
    """Mean and standard deviation of each unit's outputs (C,)."""

    mean: Tensor
    std: Tensor

    def between(self, other: Moments, t: float) -> Moments:
        """On the straight line to another's."""
        return Moments((1 - t) * self.mean + t * other.mean, (1 - t) * self.std + t * other.std)


Statistics = Mapping[str, Moments]


def layers(module: nn.Module, names: Sequence[str]) -> list[str]:
    """The linear maps whose outputs can be reset: modules of :mod:`torch.nn` whose weight is among the names given."""
    wanted = {name.removesuffix(".weight") for name in names if name.endswith(".weight")}
    return [name for name, each in module.named_modules() if name in wanted and isinstance(each, _LINEAR)]


@torch.no_grad()
def measure(
    problem: Problem,
    theta: Tensor,
    buffers: Mapping[str, Tensor],
    batches: Batches,
    names: Sequence[str],
    aim: Statistics | None = None,
    tick: Tick = silent,
) -> dict[str, Moments]:
    """Statistics of the outputs of linear maps, before they are reset.

    Args:
        problem: the model.
        theta: parameters (P,).
        buffers: of the point.
        batches: un-augmented training examples.
        names: of the linear maps.
        aim: reset each batch to these as it is measured, so that later layers see inputs that were reset.
        tick: called after each batch.

    Returns:
        Mean and standard deviation of each unit, over all examples and positions.
    """
    sums: dict[str, list[Tensor]] = {}
    problem.module.eval()

    def watch(name: str, output: Tensor, channel: int) -> Tensor | None:
        rest = [axis for axis in range(output.ndim) if axis != channel % output.ndim]
        mean, square = output.mean(rest), output.square().mean(rest)
        share = output.shape[0] / batches.count
        for total, new in zip(sums.setdefault(name, [torch.zeros_like(mean), torch.zeros_like(mean)]), (mean, square)):
            total += share * new
        if aim is None:
            return None
        return _reset(output, Moments(mean, (square - mean.square()).clamp(min=0).sqrt()), aim[name], channel)

    with _hooked(problem.module, names, watch):
        for x, _ in batches:
            problem.outputs(theta, buffers, x)
            tick(None)
    return {n: Moments(mean, (square - mean.square()).clamp(min=0).sqrt()) for n, (mean, square) in sums.items()}


@contextmanager
def reset(problem: Problem, found: Statistics, aim: Statistics) -> Iterator[None]:
    """The model of a problem with outputs of linear maps reset, as long as this lasts.

    Args:
        problem: the model.
        found: statistics as :func:`measure` found them with the same ``aim``.
        aim: statistics that they are given.

    Yields:
        Nothing.
    """
    with _hooked(problem.module, list(found), lambda name, y, channel: _reset(y, found[name], aim[name], channel)):
        yield


def _reset(output: Tensor, found: Moments, aim: Moments, channel: int) -> Tensor:
    shape = [1] * output.ndim
    shape[channel % output.ndim] = -1
    mean, std, to_mean, to_std = (v.reshape(shape) for v in (found.mean, found.std, aim.mean, aim.std))
    factor = torch.where(std > 0, to_std / std.clamp(min=torch.finfo(std.dtype).tiny), torch.ones_like(std))
    return (output - mean) * factor + to_mean


@contextmanager
def _hooked(module: nn.Module, names: Sequence[str], act: object) -> Iterator[None]:
    handles = []
    for name in names:
        each = module.get_submodule(name)
        channel = -1 if isinstance(each, nn.Linear) else 1

        def hook(_m: nn.Module, _x: object, y: Tensor, name: str = name, channel: int = channel) -> Tensor | None:
            found: Tensor | None = act(name, y, channel)  # type: ignore[operator]
            return found

        handles.append(each.register_forward_hook(hook))
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()
