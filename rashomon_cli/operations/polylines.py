"""Files of paths whose ends are no runs: all control points, what is not trained, and the shapes of a model on them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from rashomon_cli.core.errors import Refused
from rashomon_cli.core.results import Array
from rashomon_cli.operations import problems, weights
from rashomon_cli.store import Run, tensors

if TYPE_CHECKING:
    import torch
    from torch import Tensor

FILE = "path.safetensors"


def files(loaded: problems.Loaded, points: Tensor) -> dict[str, tuple[dict[str, Array], dict[str, Any]]]:
    """The safetensors file of a polyline.

    Args:
        loaded: the problem of its points.
        points: control points (N + 2, P), ends included.

    Returns:
        Arrays and header by file name.
    """
    from rashomon_cli.science.batchnorm import constants

    layout, module = loaded.problem.layout, loaded.problem.module
    own = dict(module.named_parameters()) | dict(module.named_buffers())
    header = {
        "kind": "polyline",
        "layout": [[n, list(s)] for n, s in zip(layout.names, layout.shapes, strict=True)],
        "shapes": {name: list(array.shape) for name, array in weights.pack(module, own).items()},
    }
    kept = {f"constant/{name}": value.cpu().numpy() for name, value in constants(module).items()}
    return {FILE: ({"points": points.cpu().numpy()} | kept, header)}


def points_of(loaded: problems.Loaded, run: Run, stored: Mapping[str, Array], device: torch.device) -> Tensor:
    """Control points (N + 2, P), in the problem's precision; its module is given what is not trained.

    Args:
        loaded: the problem of the run.
        run: the path.
        stored: arrays of its file.
        device: where to compute.

    Returns:
        The points.

    Raises:
        Refused: if they do not fit the problem.
    """
    import torch

    from rashomon_cli.science.batchnorm import constants

    dtype, total = next(loaded.problem.module.parameters()).dtype, loaded.problem.layout.total
    points = torch.from_numpy(np.array(stored["points"])).to(device=device, dtype=dtype)
    if points.shape[1] != total:
        raise Refused(
            f"the points of {run.name} have {points.shape[1]} parameters, {loaded.builder.spec} has {total}",
            f"rashomon show {run.name}",
        )
    with torch.no_grad():
        for name, value in constants(loaded.problem.module).items():
            value.copy_(torch.from_numpy(np.array(stored[f"constant/{name}"])))
    return points


def shapes_of(run: Run) -> dict[str, tuple[int, ...]] | None:
    """Shapes of the parameters and buffers of a model on a path, by name; None where its ends are runs.

    Raises:
        Damaged: if the file was altered.
    """
    shapes = tensors.load(run.verified(FILE))[1].get("shapes")
    return None if shapes is None else {name: tuple(shape) for name, shape in shapes.items()}
