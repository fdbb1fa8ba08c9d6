import numpy as np

from rashomon_cli.core.results import scalar, series
from rashomon_cli.figures import style
from rashomon_cli.figures.width import width

T = np.linspace(0, 1, 5)


def group(censored=0.0, kinds=("random", "hessian_free"), curved=True):
    found = {
        "t": series("t", T, "1", "position on the path, t"),
        "width_epsilon": series("t", 0 * T + 0.05, "nat", "rise"),
        "width_max": series("t", 0 * T + 20, "1", "cut-off"),
    }
    for kind in kinds:
        found[f"width_{kind}"] = series("t", 2 + T, "1", "width", 0.1 + 0 * T)
        found[f"width_{kind}_censored"] = series("t", np.where(T == 0.5, censored, 0), "1", "share")
        if curved:
            found[f"width_{kind}_curvature"] = series("t", 0.1 + T, "nat", "curvature", 0.01 + 0 * T)
    return found


def labels(figure):
    return [text.get_text() for text in figure.legends[0].get_texts()]


def test_both_kinds_are_drawn_with_their_curvature_beside():
    figure = width(group())
    assert [axes.get_ylabel() for axes in figure.axes] == ["distance until the loss rises by 0.05 nat", "vᵀHv [nat]"]
    assert set(labels(figure)) == {"random directions", "Hessian-free directions", "±1 standard error"}


def test_what_was_cut_off_is_marked_at_its_position_and_nowhere_else():
    figure = width(group(censored=0.25))
    assert {"cut-off", "cut off in part: at least so wide"} < set(labels(figure))
    marked = [line for line in figure.axes[0].lines if line.get_marker() == "^" and len(line.get_xdata())]
    assert [list(line.get_xdata()) for line in marked] == [[0.5], [0.5]]
    style.encode(figure, "png")
    box = figure.legends[0].get_window_extent()
    assert 0 <= box.x0 < box.x1 <= figure.bbox.x1


def test_random_directions_alone_have_one_panel():
    figure = width(group(kinds=("random",), curved=False))
    assert len(figure.axes) == 1


def test_a_single_model_and_other_measurements_have_no_such_figure():
    assert width({"width_random": scalar(2.0), "t": scalar(0.5)}) is None
    assert width({}) is None
