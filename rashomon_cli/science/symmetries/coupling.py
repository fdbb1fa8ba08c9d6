"""Permutations of a module whose control flow depends on the data: groups of coupled channels, found by torch-pruning.

torch-pruning follows autograd's graph of the branch that an input took (Fang et al. 2023, arXiv 2301.12900). It knows
layers, not what lies between them, so a group counts only after a proof by trial, at several inputs and at parameters
on which outputs depend, and only where every parameter took part, so that no branch is out of sight. It knows neither
factors nor attention heads.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, fx, nn

from rashomon_cli.core.errors import Refused
from rashomon_cli.science.symmetries import check
from rashomon_cli.science.symmetries.axes import Axis, Group, Symmetries
from rashomon_cli.science.symmetries.graph import HINT, Graph, Untraceable
from rashomon_cli.science.symmetries.labels import FIXED, Ids

PACKAGE = "torch-pruning"
_LAYERS = (nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d)
_NORMS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d, nn.LayerNorm, nn.PReLU)

Places = dict[tuple[str, int], Ids]
"""For an axis of a tensor, the channel of each index; −1 where there is none."""


def coupled(module: nn.Module, x: Tensor, fixed: frozenset[str], stopped: Untraceable) -> tuple[Graph, Symmetries]:
    """The permutations of a module that cannot be traced.

    Args:
        module: in float64, in eval mode; its parameters require gradients afterwards.
        x: some inputs (B, …).
        fixed: names of tensors that nothing may move.
        stopped: why it cannot be traced.

    Returns:
        The module as a graph of one operation, and its groups, without factors.

    Raises:
        Refused: if torch-pruning is not installed or fails, no group passes, its outputs are always the same, or a
            branch was not taken.
    """
    try:
        import torch_pruning
    except ImportError:
        words = f"{stopped.message}; {PACKAGE}, which groups such networks, is not installed"
        raise Refused(words, "pip install 'rashomon-cli[pruning]'") from stopped
    graph = _whole(module, fixed)
    _see_that_all_take_part(module, x, stopped)
    try:
        several = list(_groups(torch_pruning, module, x))
    except Exception as error:
        raise Refused(f"{stopped.message}, and {PACKAGE} fails on it: {type(error).__name__}: {error}", HINT) from error
    inputs = _inputs(x)
    free = [places for places in several if not fixed & {name for name, _ in places}]
    refusals = [_refusal(graph, _symmetries([places], graph.values), inputs) for places in free]
    passed = [places for places, refusal in zip(free, refusals, strict=True) if refusal is None]
    if not passed:
        words = f"no group that {PACKAGE} finds is one of interchangeable units"
        if refusals and all(isinstance(each, check.Unvaried) for each in refusals):
            words = str(refusals[0])
        raise Refused(f"{stopped.message}, and {words}", HINT)
    found = _symmetries(passed, graph.values)
    if _refusal(graph, found, inputs) is not None:
        raise Refused(f"{stopped.message}, and the groups that {PACKAGE} finds do not hold together", HINT)
    return graph, found


class _Called(nn.Module):
    """A module as a function of its tensors."""

    def __init__(self, module: nn.Module, names: tuple[str, ...]) -> None:
        super().__init__()
        self.inner, self.names = module, names

    def forward(self, tensors: list[Tensor], x: Tensor) -> Tensor:
        found: Tensor = torch.func.functional_call(self.inner, dict(zip(self.names, tensors, strict=True)), (x,))
        return found


def _whole(module: nn.Module, fixed: frozenset[str]) -> Graph:
    """A graph whose one operation is the module."""
    values = {n: v.detach().clone() for n, v in (*module.named_parameters(), *module.named_buffers())}
    nodes = fx.Graph()
    tensors, x = nodes.placeholder("tensors"), nodes.placeholder("inputs")
    nodes.output(nodes.call_module("whole", (tensors, x)))
    root = nn.ModuleDict({"whole": _Called(module, tuple(values))})
    parameters = frozenset(name for name, _ in module.named_parameters())
    return Graph(fx.GraphModule(root, nodes), tuple(values), values, fixed, parameters)


def _see_that_all_take_part(module: nn.Module, x: Tensor, stopped: Untraceable) -> None:
    """Refuse a module of which a part was not used.

    Raises:
        Refused: naming the part.
    """
    with torch.enable_grad():
        for parameter in module.parameters():
            parameter.requires_grad_(True)
        out = module(x)
        names, tensors = zip(*module.named_parameters())
        gradients = torch.autograd.grad(out.sum(), tensors, allow_unused=True)
    unused = next((name for name, gradient in zip(names, gradients) if gradient is None), None)
    if unused is not None:
        where = unused.rpartition(".")[0] or unused
        raise Refused(f"{stopped.message}, and {where} was not used: its branch cannot be seen", HINT)


def _groups(package: Any, module: nn.Module, x: Tensor) -> Iterator[Places]:
    """Coupled channels: of each tensor that has them, along which axis and at which indices."""
    with torch.enable_grad():
        graph = package.DependencyGraph().build_dependency(module, example_inputs=x, verbose=False)
    names = {layer: name for name, layer in module.named_modules()}
    for group in graph.get_all_groups(root_module_types=_LAYERS):
        places: Places = {}
        whole = True
        for item in group:
            layer = item.dep.target.module
            out = graph.is_out_channel_pruning_fn(item.dep.handler)
            for name, axis in _axes(layer, out) if isinstance(layer, nn.Module) else ():
                tensor = layer.get_parameter(name) if name in dict(layer.named_parameters()) else layer.get_buffer(name)
                key = (f"{names[layer]}.{name}" if names[layer] else name, axis)
                line = places.setdefault(key, np.full(tensor.shape[axis], -1))
                line[list(item.idxs)] = list(item.root_idxs)
            whole &= _understood(layer)
        if whole and places and all((line >= 0).all() for line in places.values()):
            yield places


def _understood(layer: object) -> bool:
    """Whether channels of a layer are the indices of one axis: not in groups, but depthwise, and no parameter alone."""
    if isinstance(layer, nn.Parameter):
        return False
    if isinstance(layer, nn.Conv1d | nn.Conv2d | nn.Conv3d):
        return layer.groups == 1 or layer.groups == layer.out_channels == layer.in_channels
    return isinstance(layer, _LAYERS + _NORMS) or not any(True for _ in layer.parameters())  # type: ignore[attr-defined]


def _axes(layer: nn.Module, out: bool) -> Iterator[tuple[str, int]]:
    """The tensors of a layer that have its outputs, or inputs, as indices, and along which axis."""
    depthwise = isinstance(layer, nn.Conv1d | nn.Conv2d | nn.Conv3d) and layer.groups > 1
    if isinstance(layer, _LAYERS) and not out and not depthwise:
        yield "weight", 1
    elif isinstance(layer, _LAYERS + _NORMS):
        for name in ("weight", "bias", "running_mean", "running_var"):
            tensor = getattr(layer, name, None)
            if isinstance(tensor, Tensor) and (len(tensor) > 1 or not isinstance(layer, nn.PReLU)):
                yield name, 0


def _symmetries(several: list[Places], values: Mapping[str, Tensor]) -> Symmetries:
    """Groups of places as units: each channel is one, and everything else is fixed."""
    axes, groups, units = [], [], 1
    order = list(values)
    for places in several:
        count = 1 + max(int(line.max()) for line in places.values())
        axes += [Axis(name, axis, units + line) for (name, axis), line in places.items()]
        if count > 1:
            name = min((name for name, axis in places if axis == 0), key=order.index)
            groups.append(Group(name, np.arange(units, units + count)))
        units += count
    axes.sort(key=lambda axis: (order.index(axis.tensor), axis.axis))
    none = np.zeros(0, np.int64)
    groups.sort(key=lambda group: order.index(group.name))
    return Symmetries(units, FIXED + 1, tuple(axes), tuple(groups), none, none, (), np.arange(units))


def _refusal(graph: Graph, symmetries: Symmetries, inputs: Sequence[Tensor]) -> Refused | None:
    """Why symmetries do not pass, None where they do."""
    try:
        check.check(graph, symmetries, inputs)
    except Refused as refused:
        return refused
    return None


def _inputs(x: Tensor) -> list[Tensor]:
    """Inputs that may take other branches."""
    if not x.is_floating_point():
        return [x, x.flip(0), x.flip(-1)]
    noise = torch.randn(x.shape, generator=torch.Generator().manual_seed(0), dtype=x.dtype)
    return [x, -x, 3 * x, torch.zeros_like(x), noise, x.flip(0) + noise]
