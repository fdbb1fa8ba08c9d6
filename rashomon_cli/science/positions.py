"""Where along a path the next batch is evaluated: uniformly, or more often where the loss has been high."""

from __future__ import annotations

import numpy as np

from rashomon_cli.core.results import Array

BINS = 20
POWER = 4
UNIFORM = 0.5
_MEMORY = 0.2
_ROUNDING = 1e-9


class Worst:
    """Positions that are drawn more often where the loss is worst, from a running estimate of the loss over bins of t.

    The density is ``½ + ½ e(t)⁴ / ∫e⁴``, where e is how far the estimate lies above the straight line between those
    of the first and the last bin: there the bends can do something about it, while nothing lowers the ends. A step of
    SGD at such a position follows, up to its length, the gradient of the mean of e⁵: of a high power of the rise, as
    a stand-in for its maximum, which is what a barrier is. With its uniform half every position keeps being visited,
    and the estimates stay fresh. The loss of a step is not weighted back: another objective is the purpose.

    Up- and down-weighting parts of a problem by their running losses is group DRO (Sagawa et al. 2020,
    arXiv 1911.08731); powers in place of its exponentials need no temperature in the units of the loss.

    Args:
        losses: estimates (K,) to go on from, NaN where a bin was not visited yet; 20 fresh bins where left out.
    """

    def __init__(self, losses: Array | None = None) -> None:
        self.losses = np.full(BINS, np.nan) if losses is None else np.array(losses, dtype=np.float64)

    def draw(self, u: float) -> float:
        """A position.

        Args:
            u: uniform in [0, 1).

        Returns:
            t in [0, 1]: the quantile u of the present density.
        """
        edges = np.linspace(0, 1, len(self.losses) + 1)
        cumulated = np.concatenate([[0.0], np.cumsum(self.shares())])
        return float(np.interp(u * cumulated[-1], cumulated, edges))

    def shares(self) -> Array:
        """Probability (K,) of each bin."""
        count = len(self.losses)
        even = np.full(count, 1 / count)
        seen = np.flatnonzero(~np.isnan(self.losses))
        if len(seen) == 0:
            return even
        known = np.interp(np.arange(count), seen, self.losses[seen])
        rise = np.maximum(known - np.linspace(known[0], known[-1], count), 0.0)
        if not rise.max() > _ROUNDING * np.abs(known).max():
            return even
        powers = (rise / rise.max()) ** POWER
        shares: Array = UNIFORM * even + (1 - UNIFORM) * powers / powers.sum()
        return shares

    def saw(self, t: float, loss: float) -> None:
        """Take the loss of a batch at t into the estimate of its bin, the last ten visits or so."""
        place = min(int(t * len(self.losses)), len(self.losses) - 1)
        before = self.losses[place]
        self.losses[place] = loss if np.isnan(before) else before + _MEMORY * (loss - before)
