"""A model of the store as a ``torch.nn.Module``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from rashomon_cli.core.errors import Refused
from rashomon_cli.operations import subjects, weights
from rashomon_cli.operations.context import Context
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
        The module in eval mode, on the CPU where only a store is given.

    Raises:
        UsageError: if there is no such model.
        Refused: if the weights do not fit the builder.
        Damaged: if a file was altered.
    """
    import torch

    context = Context(context) if isinstance(context, Store) else context
    subject = subjects.find(context, model if isinstance(model, str) else model.id, "model")
    record = subject.run.record
    if subject.t is None and record.builder is not None and record.data is not None:
        builder, warning = builders.of_record(record.builder)
        if warning:
            context.note(warning)
        module = builder.make(tuple(record.data["input_shape"]), int(record.data["num_classes"]))
        state: dict[str, Any] = dict(subject.run.tensors())
    else:
        device = context.torch_device()
        loaded = subjects.load_problem(context, subject.run, device)
        theta, buffers = subjects.load_model(context, loaded, subject, device)
        module, state = (
            loaded.problem.module,
            dict(weights.model_files(loaded, theta, buffers, None)["model.safetensors"][0]),
        )
    try:
        module.load_state_dict({name: torch.from_numpy(np.array(value)) for name, value in state.items()})
    except RuntimeError as error:
        reason = " ".join(str(error).split())
        raise Refused(
            f"{subject.label} does not fit its builder: {reason}", f"rashomon show {subject.run.name}"
        ) from error
    return module.eval()
