"""Which of a run's numbers a person looks for first."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

HEADLINES = (
    "test_accuracy",
    "curve_barrier_loss",
    "components",
    "share_within",
    "via_barrier_loss_max",
    "barrier_loss_max",
    "sparsity",
    "barrier_loss_aligned_reset",
    "barrier_loss_naive",
    "line_barrier_loss",
    "test_loss",
    "train_loss",
    "eigenvalue_max",
    "gradient_norm",
)


def headlines(metrics: Mapping[str, Any], count: int) -> dict[str, Any]:
    """The most telling numbers of a run.

    Args:
        metrics: of the run.
        count: how many.

    Returns:
        Those of :data:`HEADLINES`, lists over points among them, then other single numbers in their order.
    """
    numbers = {
        k: v
        for k, v in metrics.items()
        if (isinstance(v, int | float) or (isinstance(v, list) and k in HEADLINES)) and not k.endswith("_stderr")
    }
    ranked = [name for name in HEADLINES if name in numbers]
    ranked += [name for name in numbers if name not in ranked]
    return {name: numbers[name] for name in ranked[:count]}
