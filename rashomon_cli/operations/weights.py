"""Weights of a model run as files, and back: a state dict that plain PyTorch loads, and the pruning mask beside it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from rashomon_cli.core.errors import Damaged, Refused
from rashomon_cli.core.results import Array
from rashomon_cli.operations import problems
from rashomon_cli.store import Run

if TYPE_CHECKING:
    import torch
    from torch import Tensor, nn


def aliases(module: nn.Module) -> dict[str, str]:
    """Names in a module's state dict, each with the one name that its layout has: tied tensors have several.

    What the state dict lacks (buffers that are not persistent) and what is no parameter or buffer is left out.
    """
    own = {id(value): name for name, value in (*module.named_buffers(), *module.named_parameters())}
    kept = module.state_dict(keep_vars=True)
    return {name: own[id(value)] for name, value in kept.items() if id(value) in own}


def pack(module: nn.Module, named: Mapping[str, Tensor]) -> dict[str, Array]:
    """A state dict of a module from parameters and buffers by the names of its layout."""
    return {alias: named[name].detach().cpu().numpy() for alias, name in aliases(module).items()}


def unpack(
    module: nn.Module,
    found: Mapping[str, tuple[int, ...]],
    read: Callable[[str], Tensor],
    what: str,
    builder: str,
) -> dict[str, Tensor]:
    """Parameters and buffers of a module, by the names of its layout, from the tensors of a state dict.

    A tied tensor may be there under all its names or under some; buffers that are not persistent are the module's own
    where they are not there.

    Args:
        module: of the builder.
        found: names and shapes of the tensors.
        read: gives one of them, once all names and shapes fit.
        what: says in an error what the tensors are.
        builder: says in an error what the module is.

    Returns:
        Tensors by name.

    Raises:
        Refused: if names or shapes are not those of the module, or copies of a tied tensor differ.
    """
    import torch

    own = dict(module.named_parameters()) | dict(module.named_buffers())
    names: dict[str, list[str]] = {name: [] for name in own}
    for alias, name in aliases(module).items():
        names[name].append(alias)
    # Files of the first versions hold buffers that are not persistent, too.
    present = {n: [alias for alias in dict.fromkeys((*each, n)) if alias in found] for n, each in names.items()}
    needed = {name: present[name] or each[:1] for name, each in names.items()}
    wanted = {alias: tuple(own[name].shape) for name, each in needed.items() for alias in each}
    check_fit(wanted, found, what, builder)
    tensors = {name: read(each[0]) if each else own[name].detach().clone() for name, each in needed.items()}
    for name, each in present.items():
        for alias in each[1:]:
            if not torch.equal(tensors[name], read(alias)):
                raise Refused(
                    f"{what}: {each[0]} and {alias} are one tensor of {builder}, but differ",
                    "save it with safetensors.torch.save_model",
                )
    return tensors


def load_theta(loaded: problems.Loaded, run: Run, device: torch.device) -> tuple[Tensor, dict[str, Tensor]]:
    """Parameters (P,) and buffers of a model run, in the problem's precision.

    Raises:
        Damaged: if the file was altered.
        Refused: if names or shapes are not those of the builder's module.
    """
    import torch

    from rashomon_cli.science.problem import untrained

    arrays = run.tensors("model.safetensors")
    module = loaded.problem.module
    dtype = next(module.parameters()).dtype

    def read(name: str) -> Tensor:
        value = torch.from_numpy(np.array(arrays[name])).to(device)
        return value.to(dtype) if value.is_floating_point() else value

    shapes = {name: array.shape for name, array in arrays.items()}
    named = unpack(module, shapes, read, f"run {run.name}", str(loaded.builder.spec))
    return loaded.problem.layout.flatten(named), {name: named[name] for name in untrained(module)}


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
    state = pack(loaded.problem.module, {**layout.split(theta), **buffers})
    files: dict[str, tuple[dict[str, Array], dict[str, Any]]] = {"model.safetensors": (state, {})}
    if mask is not None:
        kept = {name: (value != 0).cpu().numpy() for name, value in layout.split(mask).items()}
        files["mask.safetensors"] = (kept, {})
    return files


def check_fit(
    wanted: Mapping[str, tuple[int, ...]], found: Mapping[str, tuple[int, ...]], what: str, builder: str
) -> None:
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
