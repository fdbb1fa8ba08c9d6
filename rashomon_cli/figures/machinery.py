"""How predictions and representation change along a path: from its start, and how fast."""

from __future__ import annotations

import numpy as np
from matplotlib.figure import Figure

from rashomon_cli.figures import style
from rashomon_cli.figures.style import Group

_CHANGES = {
    "cosine_change": "1 − cosine",
    "centred_change": "1 − centred cosine",
    "disagreement": "disagreement",
    "cka_change": "1 − CKA",
}
_SETS = {"test": "test examples", "ood": "other data"}


@style.styled
def machinery(group: Group) -> Figure | None:
    """One column a kind of change: above from the start against arc length, below the rate from position to position.

    Cosines and disagreement are of predictions, CKA is of the last representation. The last position is the other end,
    an independent training: dotted lines carry its change over.

    Args:
        group: variables of the quantity ``machinery``.

    Returns:
        The figure; None where the group has none.
    """
    columns = [c for c in _CHANGES if any(style.along(group, f"machinery_{s}_{c}", "t") is not None for s in _SETS)]
    if not columns:
        return None
    figure = style.new_figure(4.4)
    grid = figure.subplots(2, len(columns), sharex=True, squeeze=False)
    length, middle = group["arc_length"], style.coordinate(group, "step")
    for (top, bottom), change in zip(grid.T, columns):
        for index, (name, words) in enumerate(_SETS.items()):
            how = style.look(index)
            for axes, key, x in ((top, "", length), (bottom, "_rate", middle)):
                found = style.along(group, f"machinery_{name}_{change}{key}", x.dims[0])
                if found is not None:
                    style.draw_series(axes, x.values, found, words, how)
            ends = group.get(f"machinery_{name}_{change}_ends")
            if ends is not None and np.isfinite(ends.values):
                top.axhline(float(ends.values), color=how.colour, ls=style.DASHES[2], lw=0.8, zorder=0.9)
        top.set_title(_CHANGES[change])
        bottom.set_xlabel("arc length")
    grid[0, 0].set_ylabel("change from the start")
    grid[1, 0].set_ylabel("change per unit of length")
    grid[0, 0].plot([], [], color=style.GREY, ls=style.DASHES[2], lw=0.8, label="between the two ends")
    style.legend(figure, list(grid.flat))
    return figure
