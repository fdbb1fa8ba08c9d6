import numpy as np

from rashomon_cli.core.results import series
from rashomon_cli.figures.spokes import spokes

T = np.linspace(0, 1, 5)
SPOKE = {
    "t": series("t", T, "1", "position from the hub to the anchor, t"),
    "train_loss": series("t", 0.1 + T, "nat", "training loss", 0.01 + 0 * T),
}


def test_every_spoke_is_a_line_of_one_picture():
    groups = {"anchors": {"anchor": series("anchor", ["a", "b"])}, "spoke-1": SPOKE, "spoke-2": SPOKE}
    figure = spokes(groups)
    assert [c.get_label() for c in figure.axes[0].containers] == ["to a", "to b"]
    assert figure.axes[0].get_xlabel() == "position from the hub to the anchor, t"


def test_a_run_without_spokes_has_no_such_figure():
    assert spokes({}) is None
    assert spokes({"anchors": {"anchor": series("anchor", ["a"])}}) is None
