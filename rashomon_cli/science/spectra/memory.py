"""How much memory the graph of a computation holds."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor
from torch.autograd.graph import saved_tensors_hooks


class Held:
    """What was found, once it is.

    Attributes:
        bytes: of the graphs that were built.
    """

    def __init__(self) -> None:
        self.bytes = 0


@contextmanager
def measured(like: Tensor, shared: Iterable[Tensor]) -> Iterator[Held]:
    """Measure the graphs that are built within: what CUDA has allocated since, elsewhere the tensors that they save.

    Args:
        like: on the device that computes.
        shared: tensors that do not count, as they are there anyway.

    Yields:
        What they hold, filled in at the end.
    """
    held = Held()
    if like.is_cuda:
        before = torch.cuda.memory_allocated(like.device)
        yield held
        held.bytes = torch.cuda.memory_allocated(like.device) - before
        return
    known = {_address(tensor) for tensor in shared}
    sizes: dict[int, int] = {}

    def note(tensor: Tensor) -> Tensor:
        if _address(tensor) not in known:
            sizes[_address(tensor)] = tensor.untyped_storage().nbytes()
        return tensor.detach()  # with its graph, the graph would hold itself

    with saved_tensors_hooks(note, lambda tensor: tensor):
        yield held
    held.bytes = sum(sizes.values())


def _address(tensor: Tensor) -> int:
    return tensor.untyped_storage().data_ptr()
