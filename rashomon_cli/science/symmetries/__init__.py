"""Symmetries of a network: permutations of its units and positive factors that leave its function as it is.

They are read off the data flow of the user's module and then tried in float64; what cannot be traced or proved so is
refused. What is found holds; not all that exists is looked for: sign changes, exchanges of blocks that hold blocks, of
heads that share their keys, and of units behind a flattened outer product are left out, as are units within attention
without softmax or behind normalised or rotated queries and keys, and a factor common to all that a normalisation reads.
"""

from __future__ import annotations

import copy

import torch
from torch import Tensor, nn

from rashomon_cli.science.batchnorm import constants
from rashomon_cli.science.symmetries import check as checks
from rashomon_cli.science.symmetries.coupling import coupled
from rashomon_cli.science.symmetries.graph import Graph, Untraceable, trace
from rashomon_cli.science.symmetries.structure import Group, Inner, Symmetries, permute, rescale, structure
from rashomon_cli.science.symmetries.walk import Reading, walk

__all__ = ["Graph", "Group", "Inner", "Reading", "Symmetries", "find", "permute", "rescale"]


def find(module: nn.Module, x: Tensor, fixed: frozenset[str] = frozenset()) -> tuple[Graph, Symmetries, list[Reading]]:
    """The symmetries of a module.

    Args:
        module: any module; it is left as it was.
        x: some inputs (B, …), B ≥ 2.
        fixed: names of parameters and buffers that nothing may move, besides those that are never trained.

    Returns:
        The data flow in float64, the symmetries, and where activations can be observed: nowhere in a module whose
        control flow depends on the data.

    Raises:
        Refused: if the module cannot be traced, uses an operation without a rule, or a symmetry does not hold.
    """
    fixed |= frozenset(constants(module))
    own = copy.deepcopy(module).to(device="cpu", dtype=torch.float64)
    x = x.detach().cpu()
    x = x.double() if x.is_floating_point() else x
    try:
        graph = trace(own, x, fixed)
    except Untraceable as stopped:
        return *coupled(own.eval(), x, fixed, stopped), []
    walked = walk(graph, x)
    found = structure(graph, walked)
    checks.check(graph, found, [x])
    units = torch.from_numpy(found.unit_of)
    return graph, found, [Reading(each.node, each.argument, units[each.units]) for each in walked.readings]
