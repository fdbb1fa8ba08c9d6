"""What a network sees of its inputs before its last layer, and how alike two such representations are.

Debiased linear CKA: HSIC₁ of Song et al. 2012 (JMLR 13, eq. 5) in the CKA of Kornblith et al. 2019 (arXiv 1905.00414).
The plain one is biased upwards where features outnumber inputs: independent data, d = 1,024 and n = 256, read 0.80.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from rashomon_cli.core.results import Array
from rashomon_cli.core.seeds import derive
from rashomon_cli.science.problem import Batches, Point, Problem, Tick, silent

GROUPS = 20
_CONSTANT = 1e-10


@dataclass
class Watched:
    """The input of the last layer in the forward pass under way.

    Attributes:
        module: name of that layer; None before the first pass, and where no layer below the root has parameters.
        value: its input (B, …).
    """

    module: str | None = None
    value: Tensor | None = None


@contextmanager
def last_input(module: nn.Module) -> Iterator[Watched]:
    """Watch which module with trained parameters of its own is called last, and on what: no layer is named.

    The root counts as none: its input is that of the network.

    Args:
        module: the network.

    Yields:
        What is watched; overwritten by every forward pass.
    """
    seen = Watched()

    def watch(name: str) -> Any:
        def hook(_: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
            given = [value for value in (*args, *kwargs.values()) if isinstance(value, Tensor)]
            if given:
                seen.module, seen.value = name, given[0]

        return hook

    chosen = {n: m for n, m in module.named_modules() if n and any(p.requires_grad for p in m.parameters(False))}
    handles = [m.register_forward_pre_hook(watch(name), with_kwargs=True) for name, m in chosen.items()]
    try:
        yield seen
    finally:
        for handle in handles:
            handle.remove()


@dataclass(frozen=True)
class View:
    """What a network does on some inputs.

    Attributes:
        outputs: (n, …) on the CPU.
        features: input of its last layer with parameters, flattened, (n, d) on the CPU; None where there is none.
        module: name of that layer.
    """

    outputs: Tensor
    features: Tensor | None
    module: str | None


@torch.no_grad()
def view(problem: Problem, point: Point, batches: Batches, tick: Tick = silent) -> View:
    """Outputs and last representation of a point in eval mode.

    Args:
        problem: the model.
        point: θ with its own BatchNorm statistics.
        batches: the inputs.
        tick: called after each batch.

    Returns:
        One row an input, in order.
    """
    problem.module.eval()
    outputs, features = [], []
    with last_input(problem.module) as seen:
        for x, _ in batches:
            outputs.append(problem.outputs(point.theta, point.buffers, x).cpu())
            if seen.value is not None:
                features.append(seen.value.flatten(1).cpu())
            tick(None)
    return View(torch.cat(outputs), torch.cat(features) if features else None, seen.module)


@dataclass(frozen=True)
class Estimate:
    """A number that is estimated from inputs, with what it is when each of some groups of them is left out.

    Attributes:
        value: from all inputs.
        left_out: (G,).
        stderr: its standard error; inputs count as draws from an unlimited population.
    """

    value: float
    left_out: Array
    stderr: float


def jackknife(left_out: Array) -> float:
    """Standard error of a statistic from its values (G,) with each of G groups left out: ``√((G−1)/G Σ (vᵢ − v̄)²)``.

    Efron and Stein 1981 (doi 10.1214/aos/1176345462), with groups in place of single inputs.
    """
    count = len(left_out)
    return math.sqrt((count - 1) / count * float(((left_out - left_out.mean()) ** 2).sum()))


def groups(count: int) -> Tensor:
    """The group (n,) of each of n inputs: up to 20 of them, alike in size, at random: files lie class by class."""
    found = torch.arange(count) * min(GROUPS, count) // max(count, 1)
    return found[torch.randperm(count, generator=torch.Generator().manual_seed(derive(0, "groups")))]


def debiased_cka(x: Tensor, y: Tensor) -> Estimate:
    """Debiased linear CKA of two representations of the same inputs: ``HSIC₁(x, y) / √(HSIC₁(x, x) HSIC₁(y, y))``.

    It does not change under rotations, shifts and isotropic scaling of either. Gram matrices are made a group of rows
    at a time, so memory grows with n, not with n² or d².

    Args:
        x: (n, d).
        y: (n, e).

    Returns:
        At most about 1, and around 0 for independent ones; NaN where one is constant, or n < 8.

    Raises:
        ValueError: if the numbers of inputs differ.
    """
    if len(x) != len(y):
        raise ValueError(f"{len(x)} and {len(y)} inputs are not the same ones")
    member = groups(len(x))
    parts = min(GROUPS, len(x))
    one, two = _centred(x), _centred(y)
    if one is None or two is None or len(x) < 8:
        return Estimate(math.nan, np.full(parts, np.nan), math.nan)
    sums = torch.zeros(3, parts, parts, dtype=torch.float64)
    rows = torch.zeros(2, len(x), parts, dtype=torch.float64)
    at = nn.functional.one_hot(member, parts).double()
    for group in range(parts):
        mine = (member == group).nonzero()[:, 0]
        k, m = one[mine] @ one.T, two[mine] @ two.T
        for gram in (k, m):
            gram[torch.arange(len(mine)), mine] = 0.0
        for index, product in enumerate((k * k, k * m, m * m)):
            sums[index, group] = product.sum(0) @ at
        rows[0, mine], rows[1, mine] = k @ at, m @ at
    keep = torch.ones(parts + 1, parts, dtype=torch.float64)
    keep[1:] -= torch.eye(parts, dtype=torch.float64)  # all groups; each left out
    value, *left_out = [_cka(sums, rows, chosen, chosen[member]) for chosen in keep]
    return Estimate(value, np.array(left_out), jackknife(np.array(left_out)))


def _centred(features: Tensor) -> Tensor | None:
    """Features less their mean, of mean square 1; None where they are constant."""
    wide = features.double()
    centred = wide - wide.mean(0)
    size = float(centred.norm())
    return centred * math.sqrt(len(wide)) / size if size > _CONSTANT * float(wide.norm()) else None


def _cka(sums: Tensor, rows: Tensor, chosen: Tensor, mine: Tensor) -> float:
    """CKA on the groups that are chosen (G,), given as 0 and 1; ``mine`` is the same for each input (n,)."""
    count = float(mine.sum())
    each = (rows @ chosen) * mine
    totals = each.sum(1)
    found = []
    for index, (a, b) in enumerate(((0, 0), (0, 1), (1, 1))):
        product = chosen @ sums[index] @ chosen
        crossed = totals[a] * totals[b] / ((count - 1) * (count - 2))
        found.append(float(product + crossed - 2 * (each[a] @ each[b]) / (count - 2)))
    spread = found[0] * found[2]
    return found[1] / math.sqrt(spread) if min(found[0], found[2]) > 0 else math.nan
