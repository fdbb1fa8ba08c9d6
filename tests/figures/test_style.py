import itertools

import matplotlib
import numpy as np
import pytest

from rashomon_cli.core.results import series
from rashomon_cli.figures import style


def scale_of(*variables):
    axes = style.new_figure(2).subplots()
    style.set_scale(axes.yaxis, variables)
    return axes.get_yscale()


@pytest.mark.parametrize(
    ("units", "words", "expected"),
    [
        ("1", "accuracy", "accuracy"),
        ("nat", "loss", "loss [nat]"),
        ("percent", "error", "error [%]"),
        ("epoch", "epochs done", "epochs done"),
    ],
)
def test_a_label_ends_in_the_unit_unless_it_says_nothing_new(units, words, expected):
    assert style.label(series("x", [1.0], units, words)) == expected


def test_values_of_one_size_are_linear_and_others_logarithmic():
    assert scale_of(series("t", [1.0, 2.0])) == "linear"
    assert scale_of(series("t", [0.01, 2.0])) == "log"


def test_an_error_that_reaches_zero_forbids_logarithms():
    assert scale_of(series("t", [0.01, 2.0], stderr=[0.02, 0.1])) != "log"


def test_curvatures_of_both_signs_and_several_sizes_are_linear_around_zero():
    small = series("t", [0.01, -0.02, 0.01], stderr=[0.02, 0.02, 0.02])
    assert scale_of(series("t", [2.0, 3.0, 2.0]), small) == "symlog"


@pytest.mark.parametrize("values", [[0.0, 0.0], [0.0, 5.0], [-1.0, 1.0], [np.nan, -3.0], [0.0, 0.0, -5.0]])
def test_any_values_have_a_scale(values):
    assert scale_of(series("t", values)) in {"linear", "symlog"}


@pytest.mark.parametrize(
    ("values", "expected"),
    [([1.0, 2.0], "linear"), ([0.01, 2.0], "log"), ([0.0, 0.01, 2.0], "symlog"), ([0.0, 5.0], "linear")],
)
def test_values_of_which_some_are_zero_have_a_scale_that_begins_there(values, expected):
    axes = style.new_figure(2).subplots()
    style.set_scale_from_zero(axes.xaxis, np.array([*values, np.nan]))
    assert axes.get_xscale() == expected


@pytest.mark.parametrize("values", [[0.0, 0.0], [np.nan], []])
def test_nothing_above_zero_leaves_the_scale_as_it_is(values):
    axes = style.new_figure(2).subplots()
    style.set_scale_from_zero(axes.yaxis, np.array(values))
    assert axes.get_yscale() == "linear"


@pytest.mark.parametrize("panels", [1, 2, 3])
@pytest.mark.parametrize("values", [[0.0, 3e-4, 2000.0], [2.3e-7, 2000.0], [0.011, 3.0], [7.0, 2500.0], [0.0, 40.0]])
@style.styled
def test_ticks_of_panels_beside_one_another_do_not_overlap(panels, values):
    grid = style.new_figure(2).subplots(1, panels, squeeze=False)[0]
    for axes in grid:
        axes.plot(values, values)
        style.set_scale_from_zero(axes.xaxis, np.array(values))
    grid[0].figure.canvas.draw()
    boxes = sorted((label.get_window_extent() for label in grid[-1].get_xticklabels()), key=lambda box: box.x0)
    assert len(boxes) > 2
    assert all(left.x1 < right.x0 for left, right in itertools.pairwise(boxes))


def test_ticks_have_no_superscripts():
    assert [style.plain(v) for v in (1e-5, 0.02, -0.1, 3e6)] == ["1e−5", "0.02", "−0.1", "3e6"]


def test_a_shortened_name_keeps_both_ends_and_the_length():
    name = "preresnet20-cifar10-s1-l1e-4-thr0.05-e5"
    short = style.shorten(name, 26)
    assert len(short) == 26
    assert short.startswith("preresnet")
    assert short.endswith("-thr0.05-e5")
    assert style.shorten("short", 26) == "short"


def test_drawing_leaves_matplotlibs_settings_alone():
    before = dict(matplotlib.rcParams)
    style.encode(style.new_figure(2), "svg")
    assert dict(matplotlib.rcParams) == before


def test_a_users_settings_do_not_change_the_file():
    draw = style.styled(style.new_figure)
    plain = style.encode(draw(2), "png")
    with matplotlib.rc_context({"figure.facecolor": "red", "savefig.dpi": 20, "savefig.facecolor": "red"}):
        assert style.encode(draw(2), "png") == plain


def test_there_are_looks_for_any_number_of_series_and_neighbours_differ_without_colour():
    looks = [style.look(index) for index in range(40)]
    assert all(a.marker != b.marker and a.dash != b.dash for a, b in itertools.pairwise(looks))
