"""Which of PyTorch's kernels run: those with second derivatives."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import torch
from torch import nn
from torch.nn.attention import SDPBackend, sdpa_kernel


@contextmanager
def differentiable(module: nn.Module, cuda: bool) -> Iterator[None]:
    """Within: neither fused attention nor, on CUDA, cuDNN's recurrent layers.

    The former has no second derivative and no rule for ``torch.func.vmap``, the latter no gradient in evaluation.
    """
    recurrent = any(isinstance(part, nn.RNNBase) for part in module.modules())
    with ExitStack() as settings:
        settings.enter_context(sdpa_kernel(SDPBackend.MATH))
        if recurrent and cuda:
            settings.enter_context(torch.backends.cudnn.flags(enabled=False))
        yield
