"""What every operation that trains needs: its batches, its arithmetic, and its state as arrays."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from rashomon_cli.core.errors import UsageError
from rashomon_cli.core.results import Result, Variable
from rashomon_cli.operations import problems

if TYPE_CHECKING:
    import torch

    from rashomon_cli.science.problem import Layout
    from rashomon_cli.science.training import TrainState
    from rashomon_cli.sources.batches import Stream


def training_stream(loaded: problems.Loaded, batch_size: int, seed: int, augmentation: str) -> Stream:
    """Shuffled training batches; the augmentation ``auto`` is that of the data.

    Raises:
        UsageError: if the augmentation does not fit the data.
    """
    from rashomon_cli.sources.batches import Stream

    augmentation = loaded.data.augmentation if augmentation == "auto" else augmentation
    if augmentation == "crop-flip" and not loaded.data.is_images:
        raise UsageError("--augment crop-flip needs images", "--augment none")
    return Stream(replace(loaded.batches("train"), batch_size=batch_size), seed, augmentation)


def use_bf16(precision: str, device_type: str) -> bool:
    """Whether to train under bf16 autocast: where asked for, or where the processor has the instructions."""
    import torch

    if precision != "auto":
        return precision == "bf16"
    if device_type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    # Below AVX512-BF16 or AMX the type is emulated, which is slower than float32.
    available: bool = torch.backends.mkldnn.is_available()  # type: ignore[no-untyped-call]
    return available and bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())


def space(layout: Layout, vectors: int = 1) -> int:
    """Bytes of disk that a training needs: two checkpoints of parameters and momentum, and the result.

    Args:
        layout: of the parameters.
        vectors: parameter vectors that are trained.
    """
    return 5 * vectors * layout.total * 4 + 2**20


def arithmetic(precision: str, device_type: str) -> str:
    """What training steps are computed in: ``bf16`` (under autocast) or ``float32``."""
    return "bf16" if use_bf16(precision, device_type) else "float32"


def pack_state(state: TrainState, history: dict[str, Variable]) -> Result:
    """A training state as arrays."""
    tensors = {f"buffer/{name}": value.cpu().numpy() for name, value in state.buffers.items()}
    tensors["theta"] = state.theta.cpu().numpy()
    if state.velocity is not None:
        tensors["velocity"] = state.velocity.cpu().numpy()
    return Result(history, tensors, {"epoch": state.epoch, "mean_loss": state.mean_loss})


def unpack_state(part: Result, device: torch.device) -> TrainState:
    """A training state from the arrays of :func:`pack_state`."""
    import torch

    from rashomon_cli.science.training import TrainState

    tensors = {name: torch.from_numpy(np.array(value)).to(device) for name, value in part.tensors.items()}
    buffers = {name.removeprefix("buffer/"): t for name, t in tensors.items() if name.startswith("buffer/")}
    epoch, mean_loss = part.metrics["epoch"], part.metrics["mean_loss"]
    assert isinstance(epoch, int)
    assert isinstance(mean_loss, float)
    return TrainState(epoch, tensors["theta"], tensors.get("velocity"), buffers, mean_loss)
