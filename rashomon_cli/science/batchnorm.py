"""BatchNorm statistics belong to a point: they are computed anew at every θ that is evaluated.

One pass over un-augmented data under ``no_grad``, cumulative average (``momentum=None``), as in Garipov et al. 2018 and
Izmailov et al. 2018 (arXiv 1803.05407, §3.2).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from rashomon_cli.science.problem import Batches, Problem, Tick, silent, untrained


def refresh(
    problem: Problem, theta: Tensor, buffers: Mapping[str, Tensor], batches: Batches, tick: Tick = silent
) -> dict[str, Tensor]:
    """Buffers of a point, with BatchNorm statistics of its own.

    Statistics are averaged over the batches with the variance within them, as BatchNorm's own cumulative average does;
    batches of unequal size are weighted by their size.

    Args:
        problem: the model.
        theta: parameters (P,).
        buffers: to start from; not changed.
        batches: un-augmented training examples.
        tick: called after each batch.

    Returns:
        New buffers by name; the same values where the model has no BatchNorm.
    """
    fresh = {name: value.clone() for name, value in buffers.items()}
    layers = {
        f"{name}." if name else "": module
        for name, module in problem.module.named_modules()
        if isinstance(module, _BatchNorm) and module.track_running_stats
    }
    if not layers:
        return fresh
    sums = {name: [torch.zeros_like(fresh[name + kind]) for kind in _KINDS] for name in layers}
    with _recording(problem.module), torch.no_grad():
        for x, _ in batches:
            problem.outputs(theta, fresh, x)
            for name in layers:
                for total, kind in zip(sums[name], _KINDS):
                    total += fresh[name + kind] * len(x)
            tick(None)
    for name in layers:
        for total, kind in zip(sums[name], _KINDS):
            fresh[name + kind] = total / batches.count
    return fresh


def has_statistics(module: nn.Module) -> bool:
    """Whether a module has BatchNorm layers that keep statistics."""
    return any(isinstance(m, _BatchNorm) and m.track_running_stats for m in module.modules())


def constants(module: nn.Module) -> dict[str, Tensor]:
    """What is neither trained nor a BatchNorm statistic: other buffers, frozen parameters, by name."""
    layers = [n for n, m in module.named_modules() if isinstance(m, _BatchNorm) and m.track_running_stats]
    own = {f"{name}.{kind}" if name else kind for name in layers for kind in (*_KINDS, "num_batches_tracked")}
    return {name: value for name, value in untrained(module).items() if name not in own}


_KINDS = ("running_mean", "running_var")


@contextmanager
def _recording(module: nn.Module) -> Iterator[None]:
    """Only BatchNorm in training mode, each batch's statistics written over the last ones (momentum 1)."""
    was = {m: m.training for m in module.modules()}
    chosen = [m for m in module.modules() if isinstance(m, _BatchNorm) and m.track_running_stats]
    momenta = [m.momentum for m in chosen]
    try:
        module.eval()
        for layer in chosen:
            layer.training = True
            layer.momentum = 1.0
        yield
    finally:
        for layer, momentum in zip(chosen, momenta):
            layer.momentum = momentum
        for m, training in was.items():
            m.training = training
