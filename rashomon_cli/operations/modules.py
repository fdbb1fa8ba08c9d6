"""A model of the store as a ``torch.nn.Module``, and as the state dict of one."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from rashomon_cli.core.errors import Refused
from rashomon_cli.core.results import Array
from rashomon_cli.operations import subjects, weights
from rashomon_cli.operations.context import Context
from rashomon_cli.operations.subjects import Subject
from rashomon_cli.sources import builders
from rashomon_cli.store import Run, Store

if TYPE_CHECKING:
    from torch import nn


def load_module(context: Context | Store, model: str | Run) -> nn.Module:
    """Build a model's module and load its weights.

    Args:
        context: store and circumstances, or a store.
        model: a model run, its name or id, or ``NAME@t`` on a path, whose BatchNorm statistics are refreshed.

    Returns:
        The module in eval mode, on the CPU.

    Raises:
        UsageError: if there is no such model.
        Refused: if the weights do not fit the builder.
        Damaged: if a file was altered.
    """
    import torch

    context = Context(context) if isinstance(context, Store) else context
    subject = subjects.find(context, model if isinstance(model, str) else model.id, "model")
    _, module, state = load(context, subject)
    module.load_state_dict({name: torch.from_numpy(np.array(value)) for name, value in state.items()})
    return module.cpu().eval()


def load(context: Context, subject: Subject) -> tuple[builders.Builder, nn.Module, dict[str, Array]]:
    """The builder of a model, its module as it is built, and the state dict to load into it.

    Data are read only where BatchNorm statistics are computed anew.

    Args:
        context: store and circumstances.
        subject: a model run, or a position on a path.

    Returns:
        Builder, module and named arrays.

    Raises:
        Refused: if the run keeps no model, or its weights do not fit it.
        Damaged: if a file was altered.
    """
    import torch

    record = subject.run.record
    if record.builder is None or record.data is None:
        raise Refused(f"run {subject.run.name} keeps no model", "rashomon ls --kind model")
    if subject.t is not None:
        device = context.torch_device()
        loaded = subjects.load_problem(context, subject.run, device)
        theta, buffers = subjects.load_model(context, loaded, subject, device)
        module = loaded.problem.module
        return loaded.builder, module, weights.pack(module, loaded.problem.layout.split(theta) | buffers)
    builder, warning = builders.of_record(record.builder)
    if warning is not None:
        context.note(warning)
    module = builder.make(tuple(record.data["input_shape"]), int(record.data["num_classes"]))
    arrays = subject.run.tensors()
    named = weights.unpack(
        module,
        {name: array.shape for name, array in arrays.items()},
        lambda name: torch.from_numpy(np.array(arrays[name])),
        f"run {subject.run.name}",
        str(builder.spec),
    )
    return builder, module, weights.pack(module, named)
