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


@pytest.fixture
def network(along):
    """A network whose reaches are the larger, the later the layer; its second layer has no random direction."""

    def layer(k, t):
        found = group(t, censored=float(k == 0))
        for side in ("plus", "minus"):
            found[f"reach_{side}"].values[:] *= k + 1
            if k == 1:
                found[f"reach_{side}"].values[3] = np.nan
        if k == 1:
            found["reach_kind"] = series("direction", ["top", "near_null", "near_null", ""])
        return found

    return lambda t=0.0, count=3: along(lambda k: layer(k, t), "layer", range(count))


def faces(axes, marker):
    """(value, row) of each mark of a shape, filled ones and hollow ones."""
    found = {True: [], False: []}
    for line in (container.lines[0] for container in axes.containers):
        if line.get_marker() == marker:
            found[line.get_mfc() != "white"] += [(x, round(y)) for x, y in line.get_xydata()]
    return found[True], found[False]


def test_layers_have_a_row_with_every_direction_and_both_sides(network):
    figure = reach(network())
    (axes,) = figure.axes
    assert [text.get_text() for text in axes.get_yticklabels()] == [f"layer{k}.weight" for k in range(3)]
    along_it, against = faces(axes, "D")
    assert along_it == [pytest.approx((0.06 * (k + 1), k)) for k in range(3)]
    assert against == [pytest.approx((0.08 * (k + 1), k)) for k in range(3)]
    assert axes.get_xlabel() == "distance until the loss rises by 0.05 nat"
    assert axes.get_xscale() == "log"


def test_layers_tell_what_was_cut_off_and_medians_of_kinds(network):
    figure = reach(network())
    (axes,) = figure.axes
    assert faces(axes, ">") == ([(100.0, 0)], [])
    assert "cut-off" in labels(figure)
    strokes = [line for line in axes.lines if line.get_marker() == "|" and line.get_markersize() == 9]
    assert [list(line.get_xdata()) for line in strokes if line.get_color() == style.COLOURS[3]] == [
        pytest.approx([np.sqrt(0.06 * 0.08) * (k + 1) for k in range(3)])
    ]


def test_a_layer_with_fewer_directions_leaves_out_what_it_has_not(network):
    figure = reach(network())
    assert [row for _, row in faces(figure.axes[0], "^")[0]] == [0, 2]
    assert not {"", "nan"} & set(labels(figure))


def test_layers_along_a_path_have_panels_at_both_ends_and_in_the_middle_on_one_scale(along, network):
    figure = reach(along(network))
    assert [axes.get_title() for axes in figure.axes] == ["t = 0", "t = 0.5", "t = 1"]
    assert [faces(axes, "D")[0][0][0] for axes in figure.axes] == pytest.approx([0.06, 0.055, 0.05])
    style.encode(figure, "png")
    assert len({axes.get_xlim() for axes in figure.axes}) == 1
    assert {axes.get_xscale() for axes in figure.axes} == {"log"}


def test_a_layer_without_any_reach_says_so(along, network):
    for found in (network(), along(network)):
        for side in ("plus", "minus"):
            found[f"reach_{side}"].values[..., 2, :] = np.nan
        figure = reach(found)
        assert [(text.get_text(), text.get_position()[1]) for text in figure.axes[-1].texts] == [("no reach", 2)]
        assert len(style.encode(figure, "png")) > 5000
        for side in ("plus", "minus"):
            found[f"reach_{side}"].values[:] = np.nan
        assert reach(found) is None


def test_many_layers_can_be_drawn_and_a_reach_of_none_at_all(along, network):
    for found in (network(count=60), along(lambda t: network(t, 60))):
        found["reach_plus"].values[..., 5, 0] = 0.0
        figure = reach(found)
        style.encode(figure, "png")
        box = figure.legends[0].get_window_extent()
        assert 0 <= box.x0 < box.x1 <= figure.bbox.x1
        assert len(figure.axes[0].get_yticklabels()) == 60
        assert figure.axes[0].get_xscale() == "symlog"
