"""Weights of a model run as files, and back: a state dict that plain PyTorch loads, and the pruning mask beside it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from rashomon_cli.core.errors import Damaged, Refused
from rashomon_cli.core.results import Array
from rashomon_cli.operations import problems
from rashomon_cli.store import Run

if TYPE_CHECKING:
    import torch
    from torch import Tensor


def load_theta(loaded: problems.Loaded, run: Run, device: torch.device) -> tuple[Tensor, dict[str, Tensor]]:
    """Parameters (P,) and buffers of a model run, in the problem's precision.

    Raises:
        Damaged: if the file was altered.
        Refused: if names or shapes are not those of the builder's module.
    """
    import torch

    arrays = run.tensors("model.safetensors")
    layout, module = loaded.problem.layout, loaded.problem.module
    wanted = dict(zip(layout.names, map(tuple, layout.shapes), strict=True))
    wanted |= {name: tuple(value.shape) for name, value in module.named_buffers()}
    found = {name: array.shape for name, array in arrays.items()}
    check_fit(wanted, found, f"run {run.name}", str(loaded.builder.spec))
    dtype = next(module.parameters()).dtype

    def tensor(name: str) -> Tensor:
        value = torch.from_numpy(np.array(arrays[name])).to(device)
        return value.to(dtype) if value.is_floating_point() else value

    theta = layout.flatten({name: tensor(name) for name in layout.names})
    return theta, {name: tensor(name) for name, _ in module.named_buffers()}


def load_mask(loaded: problems.Loaded, run: Run, device: torch.device) -> Tensor | None:
    """The pruning mask (P,) of a model run: 0 where a weight is gone for good; None where nothing was pruned.

    Raises:
        Damaged: if the file was altered.
    """
    import torch

    if not any(a.path == "mask.safetensors" for a in run.record.artifacts):
        return None
    arrays = run.tensors("mask.safetensors")
    if set(arrays) != set(loaded.problem.layout.names):
        raise Damaged(f"mask.safetensors of {run.name} is not that of {loaded.builder.spec}", "make the run again")
    dtype = next(loaded.problem.module.parameters()).dtype
    named = {name: torch.from_numpy(np.array(array)).to(device=device, dtype=dtype) for name, array in arrays.items()}
    return loaded.problem.layout.flatten(named)


def model_files(
    loaded: problems.Loaded, theta: Tensor, buffers: Mapping[str, Tensor], mask: Tensor | None
) -> dict[str, tuple[dict[str, Array], dict[str, Any]]]:
    """The safetensors files of a model run: a state dict that plain PyTorch loads, and the mask where there is one."""
    layout = loaded.problem.layout
    named = {**layout.split(theta), **buffers}
    files: dict[str, tuple[dict[str, Array], dict[str, Any]]] = {
        "model.safetensors": ({name: value.detach().cpu().numpy() for name, value in named.items()}, {})
    }
    if mask is not None:
        kept = {name: (value != 0).cpu().numpy() for name, value in layout.split(mask).items()}
        files["mask.safetensors"] = (kept, {})
    return files


def check_fit(wanted: dict[str, tuple[int, ...]], found: dict[str, Any], what: str, builder: str) -> None:
    """Refuse tensors that are not those of a module.

    Raises:
        Refused: naming the first tensors and shapes that differ.
    """
    lacking = [name for name in wanted if name not in found]
    extra = [name for name in found if name not in wanted]
    different = [n for n in wanted if n in found and tuple(found[n]) != wanted[n]]
    if lacking or extra or different:
        parts = [f"lacks {', '.join(lacking[:3])}"] if lacking else []
        parts += [f"has {', '.join(extra[:3])} besides"] if extra else []
        parts += [f"{n} is {tuple(found[n])}, not {wanted[n]}" for n in different[:3]]
        raise Refused(f"{what} does not fit {builder}: {'; '.join(parts)}", "check the builder and its arguments")
