import itertools

import numpy as np
import pytest

from rashomon_cli.core.results import Variable, scalar
from rashomon_cli.figures import style
from rashomon_cli.figures.density import density

COUNTED = {"tau": scalar(0.1, "nat"), "dimension": scalar(930), "dimension_low": scalar(900)}
COUNTED["dimension_high"] = scalar(950)


def group(t=0.0, probes=3, known=20.0):
    """Of 1,000 eigenvalues half at 0, a few below, and a bulk; one of 20 besides, known exactly."""
    nodes = np.array([[-0.05, 0.0, 0.02, 0.3, np.nan]] * probes) * (1 + t)
    weights = np.array([[0.05, 0.5, 0.25, 0.2, 0.0], [0.04, 0.51, 0.25, 0.2, 0.0], [0.06, 0.49, 0.25, 0.2, 0.0]])
    axes = ("probe", "lanczos_step")
    return {
        "density_nodes": Variable(axes, nodes, "nat", "nodes"),
        "density_weights": Variable(axes, weights[:probes], "1", "weights"),
        "density_dimension": Variable((), np.asarray(1000)),
        "density_known": Variable(("known", "known_other"), np.diag([known, np.nan]), "nat"),
    }


def labels(figure):
    return [text.get_text() for text in figure.legends[0].get_texts()]


def area(line, low, high, linear):
    """The integral of a curve over decades of the drawn axis."""
    x, y = line.get_data()
    at = np.arcsinh(x / linear) / np.log(10)
    inside = (x >= low) & (x <= high)
    return np.trapezoid(y[inside], at[inside])


def test_areas_are_numbers_of_eigenvalues():
    top, _ = density(group() | COUNTED).axes
    # τ = 0.1, the part that is linear, lies within the bounds for a largest eigenvalue of 20.
    (curve,) = top.lines
    assert area(curve, -1, 1e3, 0.1) == pytest.approx(1001, rel=1e-3)
    assert area(curve, 5, 1e3, 0.1) == pytest.approx(1, rel=1e-3)
    assert area(curve, 0.12, 5, 0.1) == pytest.approx(200, rel=0.02)


def test_raw_nodes_are_ticks_below_and_known_eigenvalues_are_set_apart():
    _, below = density(group()).axes
    nodes, known, *_ = below.lines
    assert sorted(set(nodes.get_xdata())) == [-0.05, 0.0, 0.02, 0.3]
    assert known.get_xdata() == pytest.approx([20.0])


def test_the_count_is_said_with_its_interval_where_there_is_one():
    figure = density(group() | COUNTED)
    assert "|λ| ≤ τ = 0.1: 930 (900 to 950)" in labels(figure)
    assert not any("τ" in text for text in labels(density(group())))
    assert not any("known" in text for text in labels(density(group(known=np.nan))))


def test_positions_of_a_path_are_curves_with_their_counts(along):
    figure = density(along(lambda t: group(t) | COUNTED | {"dimension": scalar(930 - 10 * t)}))
    expected = [f"t = {t:g}: {930 - 10 * t:.0f} (900 to 950) within τ" for t in (0, 0.25, 0.5, 0.75, 1)]
    assert labels(figure)[:5] == expected
    curves = figure.axes[0].lines
    assert len({(line.get_color(), line.get_marker()) for line in curves}) == 5


def test_of_many_positions_both_ends_are_among_those_drawn(along):
    found = labels(density(along(group, at=np.linspace(0, 1, 21))))
    assert [text for text in found if text.startswith("t =")] == [f"t = {t:g}" for t in (0, 0.25, 0.5, 0.75, 1)]


def test_layers_have_panels_of_one_scale(along):
    figure = density(along(group, "layer", range(3)))
    tops = [axes for axes in figure.axes if axes.get_title()]
    assert [axes.get_title() for axes in tops] == [f"layer{k}.weight" for k in range(3)]
    assert len({(axes.get_xlim(), axes.get_ylim()) for axes in tops}) == 1
    both = density(along(lambda t: along(lambda k: group(k + t), "layer", range(3)), at=(0.0, 1.0)))
    assert len(both.axes) == 6
    assert "t = 1" in labels(both)


def test_counts_of_layers_are_not_mixed_up_in_the_legend(along):
    def counted(k):
        return group() | COUNTED | {"dimension": scalar(930 - k)}

    for found in (along(counted, "layer", range(2)), along(lambda t: along(counted, "layer", range(2)))):
        figure = density(found)
        assert [text for text in labels(figure) if "τ" in text] == ["|λ| ≤ τ = 0.1"]
        assert not any("930" in text for text in labels(figure))


def test_the_density_behind_a_count_is_drawn_where_there_is_no_other():
    behind = {f"dimension_{name}": variable for name, variable in group(known=30.0).items()}
    figure = density(behind | COUNTED)
    assert "|λ| ≤ τ = 0.1: 930 (900 to 950)" in labels(figure)
    own = density(behind | group() | COUNTED)
    assert [axes.lines[1].get_xdata()[-1] for axes in (figure.axes[1], own.axes[1])] == pytest.approx([30, 20])


def test_one_probe_has_no_band():
    assert "±1 standard error over probes" in labels(density(group()))
    assert "±1 standard error over probes" not in labels(density(group(probes=1)))


@pytest.mark.parametrize("tau", [1e-9, 1.0, 1e6])
def test_any_tolerance_can_be_drawn_and_ticks_do_not_overlap(tau):
    figure = density(group() | COUNTED | {"tau": scalar(tau, "nat")})
    assert len(style.encode(figure, "png")) > 5000
    below = figure.axes[1]
    boxes = sorted((label.get_window_extent() for label in below.get_xticklabels()), key=lambda box: box.x0)
    assert all(left.x1 < right.x0 for left, right in itertools.pairwise(boxes))


def test_a_matrix_of_zeros_can_be_drawn():
    zero = group(known=np.nan)
    zero["density_nodes"] = Variable(("probe", "lanczos_step"), np.zeros((3, 5)), "nat", "nodes")
    assert len(style.encode(density(zero), "png")) > 5000


def test_other_measurements_have_no_such_figure():
    assert density({}) is None
    assert density({"density_nodes": group()["density_nodes"]}) is None
