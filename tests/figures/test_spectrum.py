import numpy as np
import pytest

from rashomon_cli.core.results import scalar, series
from rashomon_cli.figures import style
from rashomon_cli.figures.spectrum import spectrum


def group(t=0.0, bottom=3, layer=False):
    """Five large eigenvalues, some negative ones, and the trace; of a layer's block that of the layer."""
    top, low = 20 / np.arange(1, 6) * (1 + t), -0.3 / np.arange(1, bottom + 1)
    found = {
        "eigenvalues_top": series("top", top, "nat", "largest eigenvalues"),
        "residuals_top": series("top", 0.01 * top, "nat"),
        "trace_layer" if layer else "trace": scalar(90 + t, "nat", "trace", 1.0),
    }
    if bottom:
        found["eigenvalues_bottom"] = series("bottom", low, "nat", "smallest eigenvalues")
        found["residuals_bottom"] = series("bottom", 0.1 - 0 * low, "nat")
    return found


def blocks(along, t=0.0):
    return along(lambda k: group(k + t, layer=True), "layer", range(4))


def labels(figure):
    return [text.get_text() for text in figure.legends[0].get_texts()]


def heights(container):
    return [float(np.ptp(segment[:, 1])) for segment in container.lines[2][0].get_segments()]


def test_a_model_has_both_ends_against_their_rank_with_residuals_as_bars():
    figure = spectrum(group())
    top, bottom = figure.axes
    assert [axes.get_xlabel() for axes in (top, bottom)] == ["rank", "rank from below"]
    assert top.get_ylabel() == "eigenvalue [nat]"
    (line,) = top.containers
    assert list(line.lines[0].get_xdata()) == [1, 2, 3, 4, 5]
    assert heights(line) == pytest.approx(list(0.02 * group()["eigenvalues_top"].values))
    assert labels(figure) == ["largest eigenvalues", "smallest eigenvalues", "bars: residual"]


def test_a_path_has_a_line_a_rank_and_the_trace_with_its_error(along):
    figure = spectrum(along(group))
    top, bottom, trace = figure.axes
    assert (len(top.containers), len(bottom.containers), len(trace.containers)) == (5, 3, 1)
    assert heights(trace.containers[0]) == pytest.approx([2.0] * 5)
    assert {axes.get_xlabel() for axes in figure.axes} == {"position on the path, t"}
    assert labels(figure)[-1] == "bars: residual of an eigenvalue; ±1 standard error of a trace"


def test_without_negative_ones_there_is_no_panel_for_them(along):
    assert len(spectrum(group(bottom=0)).axes) == 1
    assert len(spectrum(along(lambda t: group(t, bottom=0))).axes) == 2


def test_eigenvalues_that_were_not_found_are_left_out(along):
    found = along(group)
    found["eigenvalues_top"].values[:, 3:] = np.nan
    assert len(spectrum(found).axes[0].containers) == 3


def test_layers_have_a_row_each(along):
    values, trace = spectrum(blocks(along)).axes
    assert [label.get_text() for label in values.get_yticklabels()] == [f"layer{k}.weight" for k in range(4)]
    assert values.get_xlabel() == "eigenvalue [nat]"
    assert len(trace.containers[0].lines[0].get_xdata()) == 4


def test_layers_along_a_path_have_their_largest_eigenvalue_at_each_position(along):
    figure = spectrum(along(lambda t: blocks(along, t)))
    values, _ = figure.axes
    assert values.get_xlabel() == "largest eigenvalue [nat]"
    assert labels(figure)[:5] == ["t = 0", "t = 0.25", "t = 0.5", "t = 0.75", "t = 1"]
    assert list(values.containers[-1].lines[0].get_xdata()) == [40, 60, 80, 100]


def test_traces_of_layers_stand_alone_too(along):
    found = {name: v for name, v in blocks(along).items() if name in {"layer", "trace_layer"}}
    assert len(spectrum(found).axes) == 1


def test_the_legend_lies_inside_the_picture(along):
    for found in (group(), along(group), blocks(along)):
        figure = spectrum(found)
        style.encode(figure, "png")
        box = figure.legends[0].get_window_extent()
        assert 0 <= box.x0 < box.x1 <= figure.bbox.x1


def test_other_measurements_have_no_such_figure():
    assert spectrum({}) is None
    assert spectrum({"trace": scalar(3.0, "nat", "trace", 0.1)}) is None
