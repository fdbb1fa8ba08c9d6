import numpy as np
import pytest

from rashomon_cli.core.results import scalar, series
from rashomon_cli.figures import style
from rashomon_cli.figures.reach import reach


def group(t=0.0, censored=1.0):
    """A steep direction, two near-null ones, of which one is cut off along it, and a random one."""
    plus, minus = np.array([0.06, 100.0, 9.0, 3.0]) - 0.01 * t, np.array([0.08, 50.0, 8.0, 2.0])
    error = np.array([0.01, np.nan, 20.0, 0.4])
    return {
        "reach_kind": series("direction", ["top", "near_null", "near_null", "random"]),
        "reach_plus": series("direction", plus, "1", "reach", error),
        "reach_minus": series("direction", minus, "1", "reach", error),
        "reach_censored_plus": series("direction", [0, censored, 0, 0]),
        "reach_censored_minus": series("direction", [0.0, 0, 0, 0]),
        "reach_curvature": series("direction", [25.0, -0.001, 0.001, 1e-9], "nat"),
        "reach_epsilon": scalar(0.05, "nat"),
        "reach_max": scalar(100.0),
    }


def labels(figure):
    return [text.get_text() for text in figure.legends[0].get_texts()]


def marks(axes, marker, side="x"):
    """Positions of the values that are drawn with a marker."""
    lines = [container.lines[0] for container in axes.containers]
    return [float(v) for line in lines if line.get_marker() == marker for v in getattr(line, f"get_{side}data")()]


def test_a_model_has_a_row_a_direction_kinds_together_and_both_sides():
    (axes,) = reach(group()).axes
    rows = [label.get_text() for label in axes.get_yticklabels()]
    assert rows == ["near null 2", "near null 3", "random 4", "steepest 1"]
    assert axes.get_xlabel() == "distance until the loss rises by 0.05 nat"
    assert axes.get_xscale() == "log"
    markers = [container.lines[0].get_marker() for container in axes.containers]
    assert len(set(markers) - {">"}) == 3
    faces = {container.lines[0].get_markerfacecolor() for container in axes.containers}
    assert "white" in faces


def test_what_was_cut_off_is_marked_where_it_is_and_nowhere_else():
    figure = reach(group())
    assert {"cut-off", "cut off: at least so far"} < set(labels(figure))
    assert marks(figure.axes[0], ">") == [100.0]
    assert marks(reach(group(censored=0.0)).axes[0], ">") == []
    assert "cut-off" not in labels(reach(group(censored=0.0)))


def test_what_curvature_alone_foretells_stands_in_the_row():
    (axes,) = reach(group()).axes
    stroke = next(line for line in axes.lines if line.get_label().startswith("by curvature alone"))
    found = {y: x for x, y in zip(*stroke.get_data()) if np.isfinite(x)}
    # √(2·0.05/25) of the steep one, in the last row, and √(2·0.05/0.001) = 10; 10⁴ lies beyond the cut-off.
    assert found == {3.0: pytest.approx(0.0632, rel=1e-3), 1.0: pytest.approx(10.0)}


def test_a_path_has_every_direction_over_t_and_medians_of_kinds(along):
    figure = reach(along(group))
    (axes,) = figure.axes
    assert axes.get_xlabel() == "position on the path, t"
    assert len(marks(axes, "^")) == 5 + 2 * 5  # cut off, and the random ones
    medians = [line for line in axes.lines if line.get_linewidth() == 0.9 and line.get_label().startswith("_")]
    steep = next(line for line in medians if max(line.get_ydata()) < 1)
    np.testing.assert_allclose(steep.get_ydata(), np.sqrt(0.08 * (0.06 - 0.01 * np.linspace(0, 1, 5))))


def test_a_direction_that_is_absent_somewhere_is_left_out_there(along):
    found = along(group)
    found["reach_plus"].values[0, 3] = found["reach_minus"].values[0, 3] = np.nan
    found["reach_plus"].values[1, 0] = 0.0
    (axes,) = reach(found).axes
    assert len(style.encode(axes.figure, "png")) > 5000
    alone = reach({name: v for name, v in group().items() if name != "reach_curvature"})
    assert not any("curvature" in text for text in labels(alone))


def test_the_legend_lies_inside_the_picture(along):
    for found in (group(), along(group)):
        figure = reach(found)
        style.encode(figure, "png")
        box = figure.legends[0].get_window_extent()
        assert 0 <= box.x0 < box.x1 <= figure.bbox.x1


def test_other_measurements_have_no_such_figure():
    assert reach({}) is None
    assert reach({"reach_plus": group()["reach_plus"]}) is None
