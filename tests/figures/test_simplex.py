import numpy as np
import pytest

from rashomon_cli.core.results import scalar, series
from rashomon_cli.figures.simplex import simplex
from rashomon_cli.figures.style import encode

GROUP = {
    "train_loss": series("point", [0.3, 0.1, 0.2, 0.4], "nat", "training loss", [0.01] * 4),
    "simplex": series("point", [1, 1, 2, 2], "1", "number of the simplex"),
    "share": series("anchor", [0.8, 0.2], "1", "part of the volume"),
    "anchor": series("anchor", ["a", "b"], "1", "anchor"),
    "higher_anchor": scalar(0.05, "nat", "training loss of the higher anchor"),
    "epsilon": scalar(0.1, "nat", "ε"),
}


def test_points_lie_at_the_middle_of_their_part_of_the_volume():
    axes = simplex(GROUP).axes[0]
    found = {c.get_label(): c.lines[0].get_xdata() for c in axes.containers}
    # In order of the loss: 0.1 of a (0.4 of the volume), 0.2 of b (0.1), 0.3 of a, 0.4 of b.
    assert found["simplex of a"] == pytest.approx([0.7, 0.2])
    assert found["simplex of b"] == pytest.approx([0.45, 0.95])


def test_both_bounds_are_drawn():
    axes = simplex(GROUP).axes[0]
    heights = {line.get_label(): line.get_ydata()[0] for line in axes.lines if line.get_label()[0] != "_"}
    assert heights == {"higher anchor + ε = 0.1": pytest.approx(0.15), "higher anchor": 0.05}
    assert encode(simplex(GROUP), "png")


def test_another_group_has_no_such_figure():
    assert simplex({}) is None
    assert simplex({"train_loss": series("epoch", np.ones(3))}) is None
