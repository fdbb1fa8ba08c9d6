"""L1 training with an exact threshold, and pruning for good.

Minimising ``L + λ‖θ‖₁`` by SGD with momentum μ and a proximal step needs the threshold ``lr·λ/(1−μ)``: at rest the
momentum has summed to ``g/(1−μ)``, so the penalty must weigh as much. With ``lr·λ`` one minimises ``L + (1−μ)λ‖θ‖₁``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _NormBase

from rashomon_cli.science.problem import Layout, Problem, Tick, silent
from rashomon_cli.science.training import SGD, Epochs, TrainState, descend, hold


@dataclass(frozen=True)
class L1:
    """The penalty.

    Attributes:
        strength: λ.
        penalised: (P,), 1 where λ|θᵢ| counts and the weight can be pruned, else 0.
        proximal: soft threshold after the optimiser's step, which makes exact zeros; else the subgradient λ·sign(θ).
    """

    strength: float
    penalised: Tensor
    proximal: bool = True


def prunable(module: nn.Module, layout: Layout, everything: bool = False) -> Tensor:
    """Which parameters are weights that L1 and pruning act on.

    Args:
        module: the architecture.
        layout: of its parameters.
        everything: take all parameters; else biases, other vectors (the scales of layers) and the parameters of
            normalisation layers are exempt.

    Returns:
        (P,) of 1 and 0, float32 on the CPU.
    """
    if everything:
        return torch.ones(layout.total)
    exempt = {
        f"{name}.{parameter}" if name else parameter
        for name, layer in module.named_modules()
        for parameter, value in layer.named_parameters(recurse=False)
        if "bias" in parameter or value.ndim < 2 or isinstance(layer, _NORMS)
    }
    return torch.cat(
        [torch.full((size,), 0.0 if name in exempt else 1.0) for name, size in zip(layout.names, layout.sizes)]
    )


_NORMS = (_NormBase, nn.LayerNorm, nn.GroupNorm, nn.RMSNorm)


def soft_threshold(theta: Tensor, threshold: float, where: Tensor) -> Tensor:
    """``sign(θ)·max(|θ| − threshold, 0)`` where ``where`` is 1, θ elsewhere; all (P,)."""
    shrunk = theta.sign() * (theta.abs() - threshold).clamp_min(0.0)
    return torch.where(where != 0, shrunk, theta)


def regularise(
    problem: Problem,
    stream: Epochs,
    steps: int,
    cfg: SGD,
    l1: L1,
    state: TrainState,
    mask: Tensor | None = None,
    every: int | None = None,
    tick: Tick = silent,
) -> Iterator[TrainState]:
    """Train on ``L + λ‖θ‖₁``, without weight decay.

    Args:
        problem: the model and loss.
        stream: epoch number → its batches.
        steps: batches an epoch.
        cfg: hyperparameters; the weight decay is ignored.
        l1: the penalty.
        state: where to begin.
        mask: (P,), 0 where a weight was pruned before: it stays 0.
        every: yield a state after so many steps too.
        tick: called after each step with the loss, without the penalty.

    Yields:
        The state after each epoch and every ``every`` steps.

    Raises:
        Diverged: if a loss is not finite.
    """
    penalised = l1.penalised.to(state.theta)

    def place(theta: Tensor, _: torch.Generator) -> tuple[Tensor, Callable[[Tensor], Tensor]]:
        if l1.proximal:
            return theta, lambda gradient: gradient
        return theta, lambda gradient: gradient + l1.strength * penalised * theta.sign()

    def after(theta: Tensor, velocity: Tensor | None, rate: float) -> None:
        if l1.proximal:
            theta.copy_(soft_threshold(theta, rate * l1.strength / (1 - cfg.momentum), penalised))
        if mask is not None:
            hold(theta, velocity, mask)

    yield from descend(problem, stream, steps, replace(cfg, weight_decay=0.0), state, place, after, every, tick)


def cut(theta: Tensor, threshold: float, where: Tensor, mask: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """Set weights under a threshold to zero.

    Args:
        theta: parameters (P,).
        threshold: magnitudes under it go.
        where: (P,), 1 where a weight can be pruned.
        mask: (P,) of an earlier pruning, or None.

    Returns:
        The pruned parameters and the mask (P,): 0 where a weight is gone for good.
    """
    gone = (where.to(theta.device) != 0) & (theta.abs() < threshold)
    kept = (~gone).to(theta.dtype)
    if mask is not None:
        kept = kept * mask
    return theta * kept, kept


def density(layout: Layout, theta: Tensor, where: Tensor) -> dict[str, tuple[float, int]]:
    """Share of weights that are not zero, and number of weights, of each parameter that can be pruned.

    Args:
        layout: of the parameters.
        theta: (P,).
        where: (P,), 1 where a weight can be pruned.

    Returns:
        (density, weights) by parameter name.
    """
    chosen = layout.split(where.to(theta.device))
    return {
        name: (float((value != 0).double().mean()), value.numel())
        for name, value in layout.split(theta).items()
        if bool((chosen[name] != 0).all())
    }
