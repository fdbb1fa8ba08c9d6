"""Resetting the statistics of a network between two others: their variance collapses on the way, and is put back.

With BatchNorm that is a refresh of its statistics. For any other network every linear map's outputs get, unit by unit,
the mean and standard deviation between those of the two ends (Jordan et al. 2022, arXiv 2211.08403, eqs. 3 and 4).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
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
        aim: reset each batch to these by its own statistics as it is measured, as BatchNorm in training mode would, so
            that later layers see inputs that were reset.
        tick: called after each batch.

    Returns:
        For each call of a linear map (``NAME``, ``NAME#1`` where it is called again), mean and standard deviation of
        each unit over all examples and positions; none for a map whose weight is read without calling it.
    """
    sums: dict[str, list[Tensor]] = {}
    counts: dict[str, float] = {}
    problem.module.eval()

    def watch(call: str, output: Tensor, channel: int) -> Tensor | None:
        rest = [axis for axis in range(output.ndim) if axis != channel % output.ndim]
        here = _moments(output.mean(rest), output.square().mean(rest))
        weight = output.numel() / output.shape[channel]
        counts[call] = counts.get(call, 0.0) + weight
        for total, new in zip(
            sums.setdefault(call, [torch.zeros_like(here.mean), torch.zeros_like(here.mean)]),
            (output.mean(rest), output.square().mean(rest)),
        ):
            total += weight * new
        return None if aim is None or call not in aim else _reset(output, here, aim[call], channel)

    with _hooked(problem.module, names, watch):
        for x, _ in batches:
            problem.outputs(theta, buffers, x)
            tick(None)
    return {call: _moments(mean / counts[call], square / counts[call]) for call, (mean, square) in sums.items()}


def _moments(mean: Tensor, square: Tensor) -> Moments:
    return Moments(mean, (square - mean.square()).clamp(min=0).sqrt())


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

    def act(call: str, output: Tensor, channel: int) -> Tensor | None:
        return _reset(output, found[call], aim[call], channel) if call in found and call in aim else None

    with _hooked(problem.module, sorted({call.partition("#")[0] for call in found}), act):
        yield


def _reset(output: Tensor, found: Moments, aim: Moments, channel: int) -> Tensor:
    shape = [1] * output.ndim
    shape[channel % output.ndim] = -1
    mean, std, to_mean, to_std = (v.reshape(shape) for v in (found.mean, found.std, aim.mean, aim.std))
    factor = torch.where(std > 0, to_std / std.clamp(min=torch.finfo(std.dtype).tiny), torch.ones_like(std))
    return (output - mean) * factor + to_mean


@contextmanager
def _hooked(
    module: nn.Module, names: Sequence[str], act: Callable[[str, Tensor, int], Tensor | None]
) -> Iterator[None]:
    """Call a function with each output of some linear maps, and the axis of its units, to change it."""
    calls: Counter[str] = Counter()
    handles = [module.register_forward_pre_hook(lambda *_: calls.clear())]
    for name in names:
        each = module.get_submodule(name)
        channel = -1 if isinstance(each, nn.Linear) else 1

        def hook(_m: nn.Module, _x: object, y: Tensor, name: str = name, channel: int = channel) -> Tensor | None:
            call = f"{name}#{calls[name]}" if calls[name] else name
            calls[name] += 1
            return act(call, y, channel)

        handles.append(each.register_forward_hook(hook))
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()
