"""Whether a gradient can be differentiated once more."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from torch import Tensor


def once_only(gradients: Iterable[Tensor]) -> bool:
    """Whether an operation marked ``@once_differentiable`` took part in gradients that have graphs.

    PyTorch raises an error where a backward pass comes through it, but ``torch.autograd.grad`` with stated inputs never
    does: the operation's second derivative silently counts as 0.

    Args:
        gradients: made with ``create_graph=True``.

    Returns:
        Whether their second derivatives are wrong.
    """
    seen: set[Any] = set()
    todo = [gradient.grad_fn for gradient in gradients]
    while todo:
        node = todo.pop()
        if node is None or node in seen:
            continue
        if node.name().endswith("autograd::Error"):
            return True
        seen.add(node)
        todo += [following for following, _ in node.next_functions]
    return False
