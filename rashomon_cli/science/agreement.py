"""Whether two networks compute the same: one comparison for all proofs by trial."""

from __future__ import annotations

import torch
from torch import Tensor

TOLERANCE = 1e-10
"""How far outputs in float64 that are the same but for rounding may be apart, relative to the largest of them."""


def deviation(before: Tensor, after: Tensor) -> float:
    """Largest change of outputs, relative to the largest of them.

    It has no smallest scale: outputs of 1e-12 are compared as strictly as outputs of 1.

    Args:
        before: outputs as they should be, of any shape.
        after: outputs to compare with them, of the same shape.

    Returns:
        max |after − before| / max |before|: 0 where both are zero throughout, ∞ where only ``before`` is or where any
        value is not finite. Of constant outputs it says little: see that they vary before calling it a proof.
    """
    if not bool(torch.isfinite(before).all() & torch.isfinite(after).all()):
        return torch.inf
    if not bool(before.any()):
        return torch.inf if bool(after.any()) else 0.0
    return float((after - before).abs().max() / before.abs().max())
